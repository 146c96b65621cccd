package gateway

import (
	"errors"
	"io"
	"slices"
	"strings"

	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/form"
	"gatehouse/internal/dialect/usage"
)

// formField is the field of a form that names the model.
const formField = "model"

// readForm reads a multipart body. Where its model or an object that it names decides, either of which may come last, it is
// spooled; otherwise it is passed on as it arrives, watched by the scanner.
func (x *exchange) readForm() error {
	boundary, err := form.Boundary(x.r.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	scanner := form.New(boundary, x.call.Op.FormFields)
	scanner.MayBeFile = dialect.FormFiles
	bufp := copyPool.Get().(*[]byte)
	defer copyPool.Put(bufp)
	var head []byte
	if x.call.Op.Usage == usage.Transcription {
		scanner.KeepFiles = formFile // its size says how long the audio may be
	}
	if x.call.Op.BatchInput {
		// The purpose decides what the file is, and may stand behind it. Where it stands before, nothing has to wait.
		scanner.KeepFiles = formFile
		if head, err = x.untilPurpose(scanner, *bufp); err != nil {
			return err
		}
	}
	if purpose, known := scanner.Value(formPurpose); x.call.Op.Model == dialect.ModelNone && !x.call.Op.FormObjects && (!x.call.Op.BatchInput || known && !isBatch(purpose)) {
		x.passedOn = true
		x.body.stream = &watchedForm{limitedBody{x: x, left: x.g.cfg.BodyLimit - int64(len(head))}, scanner, slices.Clone(head)}
		x.body.length = x.r.ContentLength
		return nil
	}
	if err := x.take(spoolMemory); err != nil {
		return err
	}
	x.body.form = &spool{dir: x.g.cfg.Spool, scanner: scanner}
	if _, err := x.body.form.Write(head); err != nil {
		return err
	}
	if err := x.fillSpool(*bufp); err != nil {
		return err
	}
	if name, ok := scanner.Value(formField); ok {
		x.bodyModel, x.hasModel = strings.TrimSpace(name), true
		if x.model == "" {
			x.model = x.bodyModel
		}
	}
	if text, ok := scanner.Value("stream"); ok {
		x.stream = text == "true"
		x.record.Stream = x.stream
	}
	for _, v := range scanner.Values {
		if kind := dialect.FormObject(v.Name); kind != "" && v.Text != "" {
			x.references = append(x.references, dialect.Reference{ID: v.Text, Kind: kind, Param: v.Name})
		}
	}
	return nil
}

// formPurpose is the field of an uploaded file that says what it is for.
const formPurpose = "purpose"

func isBatch(purpose string) bool { return strings.EqualFold(strings.TrimSpace(purpose), "batch") }

// untilPurpose reads the beginning of a form into buf, up to its purpose, its file or its end, and returns it. The scanner has seen
// it.
func (x *exchange) untilPurpose(scanner *form.Scanner, buf []byte) ([]byte, error) {
	n := 0
	for n < len(buf) && len(scanner.Files) == 0 {
		m, err := x.r.Body.Read(buf[n:])
		if _, err := scanner.Write(buf[n : n+m]); err != nil {
			return nil, err
		}
		n += m
		x.record.BytesIn = int64(n)
		if _, known := scanner.Value(formPurpose); known || err == io.EOF {
			break
		}
		if err != nil {
			return nil, x.bodyError(err)
		}
	}
	return buf[:n], nil
}

// fillSpool reads the body to its end.
func (x *exchange) fillSpool(buf []byte) error {
	s := x.body.form
	for {
		n, err := x.r.Body.Read(buf)
		if n > 0 {
			if _, err := s.scanner.Write(buf[:n]); err != nil {
				return err
			}
			if _, err := s.Write(buf[:n]); err != nil {
				return err
			}
			x.record.BytesIn = s.size
			if s.size > x.g.cfg.BodyLimit {
				return x.tooLarge()
			}
		}
		switch {
		case err == io.EOF:
			x.body.size = s.size
			return s.scanner.Close()
		case err != nil:
			return x.bodyError(err)
		}
	}
}

// formBody returns the spooled form as it goes upstream, with the upstream's name of the model where that is another.
func (x *exchange) formBody(edit dialect.ModelEdit, model string) (io.Reader, int64, error) {
	s := x.body.form
	if edit == dialect.ModelKeep {
		return io.NewSectionReader(s, 0, s.size), s.size, nil
	}
	parts := s.scanner.Replace(formField, model)
	readers := make([]io.Reader, len(parts))
	for i, p := range parts {
		if p.Text != "" {
			readers[i] = strings.NewReader(p.Text)
		} else {
			readers[i] = io.NewSectionReader(s, p.Start, p.End-p.Start)
		}
	}
	return io.MultiReader(readers...), form.Size(parts), nil
}

// watchedForm passes a form on while the scanner reads it: at the first thing that parsers could read differently it fails, the
// upstream's request breaks off, and the caller gets the scanner's error.
type watchedForm struct {
	limitedBody
	scanner *form.Scanner
	head    []byte // what was read and watched before, and still has to be passed on
}

func (w *watchedForm) Read(p []byte) (int, error) {
	if len(w.head) > 0 {
		n := copy(p, w.head)
		w.head = w.head[n:]
		return n, nil
	}
	n, err := w.limitedBody.Read(p)
	if n > 0 {
		if _, err := w.scanner.Write(p[:n]); err != nil {
			return 0, err
		}
	}
	if errors.Is(err, io.EOF) {
		if err := w.scanner.Close(); err != nil {
			return 0, err
		}
	}
	return n, err
}
