package gateway

import (
	"slices"

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
	if cap(h.list) > len(h.room) { // it had grown out of it
		clear(h.room[:])
	}
	h.list = h.room[:0]
}

// add appends a field beside those of its name that are there.
func (h *answerHead) add(name, value string) {
	h.list = append(h.list, http1.Field{Name: name, Value: value})
}

// set replaces the fields of a name by one.
func (h *answerHead) set(name, value string) {
	i := h.index(name)
	if i < 0 {
		h.add(name, value)
		return
	}
	h.list[i].Value = value
	others := slices.DeleteFunc(h.list[i+1:], func(f http1.Field) bool { return f.Name == name })
	h.list = h.list[:i+1+len(others)]
}

func (h *answerHead) has(name string) bool { return h.index(name) >= 0 }

// index returns where the first field of a name is; -1: nowhere. A dozen names are asked for with every answer, most of which are not
// there, and so it is a loop without a function in it.
func (h *answerHead) index(name string) int {
	for i := range h.list {
		if h.list[i].Name == name {
			return i
		}
	}
	return -1
}

// writeHead writes the status and the header.
func (x *exchange) writeHead(status int) {
	x.wrote = true
	if own := x.control.own; own != nil {
		own.WriteHead(status, x.head.list)
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
