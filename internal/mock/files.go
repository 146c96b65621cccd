package mock

import (
	"net/http"
	"slices"
	"strconv"

	"gatehouse"
)

// file is an uploaded file as the API shows it, and its content.
type file struct {
	ID        string  `json:"id"`
	Object    string  `json:"object"`
	Bytes     int     `json:"bytes"`
	CreatedAt int64   `json:"created_at"`
	ExpiresAt *int64  `json:"expires_at"`
	Filename  string  `json:"filename"`
	Purpose   string  `json:"purpose"`
	Status    string  `json:"status"`
	Details   *string `json:"status_details"` // never there

	data []byte
}

var purposes = []string{"assistants", "batch", "fine-tune", "vision", "user_data", "evals"}

func (c *call) uploadFile() error {
	q, err := c.form()
	if err != nil {
		return err
	}
	upload, err := q.file("file")
	if err != nil {
		return err
	}
	purpose := q.values["purpose"]
	if purpose == "" {
		return missing("purpose")
	}
	if !slices.Contains(purposes, purpose) {
		return invalid("purpose", "%q is not one of %q.", purpose, purposes)
	}
	f := &file{ID: gatehouse.NewID("file-"), Object: "file", Bytes: len(upload.data), CreatedAt: c.started.Unix(), Filename: upload.name, Purpose: purpose, Status: "processed", data: upload.data}
	if v := q.values["expires_after[seconds]"]; v != "" {
		seconds, err := strconv.ParseInt(v, 10, 64)
		if err != nil || seconds < 3600 || seconds > 2592000 {
			return invalid("expires_after.seconds", "must be an integer from 3600 to 2592000.")
		}
		at := f.CreatedAt + seconds
		f.ExpiresAt = &at
	}
	if err := c.s.store.put(c.project, kindFile, f.ID, f, len(f.data)+len(f.Filename)+256); err != nil {
		return err
	}
	return c.json(f)
}

// expired reports whether a file's time has passed; such a file is not there any more.
func (c *call) expired(f *file) bool { return f.ExpiresAt != nil && *f.ExpiresAt <= c.started.Unix() }

func (c *call) file() (*file, error) {
	f, ok := find[*file](c.s.store, c.project, kindFile, c.args[0])
	if !ok || c.expired(f) {
		return nil, notFound("No such File object: %s", c.args[0])
	}
	return f, nil
}

func (c *call) listFiles() error {
	query := c.r.URL.Query()
	items := slices.DeleteFunc(all[*file](c.s.store, c.project, kindFile), func(f *file) bool {
		return c.expired(f) || query.Get("purpose") != "" && query.Get("purpose") != f.Purpose
	})
	out, err := page(items, func(f *file) string { return f.ID }, query, "desc", 10_000, 10_000)
	if err != nil {
		return err
	}
	return c.json(out)
}

func (c *call) getFile() error {
	f, err := c.file()
	if err != nil {
		return err
	}
	return c.json(f)
}

func (c *call) fileContent() error {
	f, err := c.file()
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, "application/octet-stream", f.data)
}

func (c *call) deleteFile() error {
	if !c.s.store.remove(c.project, kindFile, c.args[0]) {
		return notFound("No such File object: %s", c.args[0])
	}
	return c.json(deleted{ID: c.args[0], Object: "file", Deleted: true})
}
