package mock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"sync"
)

// buffers holds the memory of request bodies, and of texts out of them, between requests. Larger ones are left to the
// collector.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const maxPooled = 1 << 20

// body reads the whole request body and hands it to use, which must not keep it.
func (c *call) body(use func([]byte) error) error {
	if enc := c.r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return &apiError{status: 415, message: "The mock upstream reads bodies without a content encoding only."}
	}
	p := buffers.Get().(*[]byte)
	b := (*p)[:0]
	defer func() {
		if cap(b) <= maxPooled {
			*p = b
			buffers.Put(p)
		}
	}()
	if n := c.r.ContentLength; n >= int64(cap(b)) && n <= maxBody {
		b = make([]byte, 0, n+1) // one more, so that the end is seen without growing
	}
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := c.r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if len(b) > maxBody {
			return tooLarge
		}
		if err == io.EOF {
			return use(b)
		}
		if err != nil {
			return c.unreadable(err)
		}
	}
}

// unreadable is what a body that breaks off, or is not framed as HTTP wants it, is answered with.
func (c *call) unreadable(err error) error {
	if c.r.Context().Err() != nil {
		return errGone
	}
	return &apiError{status: 400, message: "The request body could not be read: " + err.Error()}
}

var tooLarge = &apiError{status: 413, message: "Maximum content size limit exceeded for the mock upstream."}

// decode reads the request body as one JSON object into v; an empty body leaves v as it is.
func (c *call) decode(v any) error {
	return c.body(func(b []byte) error {
		if len(b) == 0 {
			return nil
		}
		err := json.Unmarshal(b, v)
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && t.Field != "" {
			return invalidType(t.Field, "another type than "+t.Value)
		}
		if err != nil {
			return badJSON
		}
		return nil
	})
}

// json sends v.
func (c *call) json(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return c.write(http.StatusOK, "application/json", body)
}

// form is a multipart body: values by field name, and files.
type form struct {
	values map[string]string
	lists  map[string][]string
	files  map[string][]formFile
}

type formFile struct {
	name string
	data []byte
}

// form reads a multipart body. A name that ends in [] is the name without it. It copies what it keeps.
func (c *call) form() (*form, error) {
	mediaType, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/form-data" || params["boundary"] == "" {
		return nil, &apiError{status: 400, message: "This endpoint expects a body of multipart/form-data with a boundary."}
	}
	f := &form{values: map[string]string{}, lists: map[string][]string{}, files: map[string][]formFile{}}
	reader := multipart.NewReader(http.MaxBytesReader(c.w, c.r.Body, maxBody), params["boundary"])
	for {
		part, err := reader.NextPart()
		if err == io.EOF {
			return f, nil
		}
		var data []byte
		if err == nil {
			data, err = io.ReadAll(part)
		}
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, tooLarge
		}
		if err != nil {
			return nil, c.unreadable(err)
		}
		name := part.FormName()
		if n := len(name); n > 2 && name[n-2:] == "[]" {
			name = name[:n-2]
		}
		if part.FileName() != "" {
			f.files[name] = append(f.files[name], formFile{name: part.FileName(), data: data})
		} else {
			f.values[name] = string(data)
			f.lists[name] = append(f.lists[name], string(data))
		}
	}
}

// file returns the only file of a field, or the error of a missing parameter.
func (f *form) file(name string) (*formFile, error) {
	if len(f.files[name]) == 0 {
		return nil, missing(name)
	}
	return &f.files[name][0], nil
}
