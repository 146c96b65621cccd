package adminapi

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestFileThatFails shows that what goes wrong before anything was sent can still be answered, and that what goes wrong later is told
// apart.
func TestFileThatFails(t *testing.T) {
	wrong := errors.New("the database went away")
	for name, c := range map[string]struct {
		size int
		err  error
		cut  bool
		sent int64
	}{
		"whole":       {size: 3, sent: 3},
		"empty":       {},
		"large":       {size: 3 * fileBuffer, sent: 3 * fileBuffer},
		"at once":     {err: wrong},
		"early":       {size: 100, err: wrong},
		"in the part": {size: 2*fileBuffer - 1, err: wrong, cut: true, sent: fileBuffer}, // the rest was held back
	} {
		f := &file{contentType: "text/csv", name: "a.csv", header: map[string]string{"X-A": "b"}, write: func(_ context.Context, w io.Writer) error {
			if _, err := io.WriteString(w, strings.Repeat("x", c.size)); err != nil {
				return err
			}
			return c.err
		}}
		w := httptest.NewRecorder()
		sent, cut, err := f.send(t.Context(), w)
		if !errors.Is(err, c.err) || cut != c.cut || sent != c.sent {
			t.Errorf("%s: %d, %v, %v", name, sent, cut, err)
		}
		if told := w.Header().Get("Content-Disposition") != ""; told != (err == nil || cut) {
			t.Errorf("%s: the head says a file: %v", name, told)
		}
	}
}
