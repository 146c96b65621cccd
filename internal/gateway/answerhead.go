package gateway

import (
	"gatehouse/internal/gateway/http1"
)

// answerHead is the header of an answer on its way to the caller: names in canonical form and their values. It is short, and so a list:
// our own server writes it as it stands.
type answerHead struct {
	list []http1.Field
	room [24]http1.Field
}

func (h *answerHead) reset() {
	clear(h.list)
	h.list = h.room[:0]
}

// add appends a field beside those of its name that are there.
func (h *answerHead) add(name, value string) {
	h.list = append(h.list, http1.Field{Name: name, Value: value})
}

// set replaces the fields of a name by one.
func (h *answerHead) set(name, value string) {
	found := false
	kept := h.list[:0]
	for _, f := range h.list {
		if f.Name == name {
			if found {
				continue
			}
			found, f.Value = true, value
		}
		kept = append(kept, f)
	}
	h.list = kept
	if !found {
		h.add(name, value)
	}
}

func (h *answerHead) has(name string) bool {
	for i := range h.list {
		if h.list[i].Name == name {
			return true
		}
	}
	return false
}

// writeHead writes the status and the header.
func (x *exchange) writeHead(status int) {
	x.wrote = true
	if w, ok := x.w.(interface {
		WriteHead(status int, fields []http1.Field)
	}); ok {
		w.WriteHead(status, x.head.list)
		return
	}
	h := x.w.Header()
	for _, f := range x.head.list {
		h[f.Name] = append(h[f.Name], f.Value)
	}
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // net/http would guess one
	}
	x.w.WriteHeader(status)
}
