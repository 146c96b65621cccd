package gateway

import (
	"slices"
	"testing"

	"gatehouse/internal/gateway/http1"
)

func TestAnswerHead(t *testing.T) {
	var h answerHead
	h.reset()
	h.add("A", "1")
	h.add("B", "1")
	h.add("A", "2")
	h.add("C", "1")
	h.add("A", "3")
	h.set("A", "4")
	h.set("D", "1")
	want := []http1.Field{{Name: "A", Value: "4"}, {Name: "B", Value: "1"}, {Name: "C", Value: "1"}, {Name: "D", Value: "1"}}
	if !slices.Equal(h.list, want) || !h.has("D") || h.has("E") {
		t.Errorf("%v, want %v", h.list, want)
	}
	for range 2 * len(h.room) { // more than there is room for
		h.add("E", "1")
	}
	if h.reset(); len(h.list) != 0 || h.room[0] != (http1.Field{}) {
		t.Errorf("after reset: %v, %v", h.list, h.room[0])
	}
}
