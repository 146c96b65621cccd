package ending_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"gatehouse/internal/gateway/ending"
)

// own is a context that ends with an End.
type own struct{ ending.End }

func (*own) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*own) Value(any) any               { return nil }

// told counts how often it was told.
type told struct {
	hook  ending.Hook
	times int
}

func (t *told) Tell() { t.times++ }

var errOver = errors.New("over")

// TestHooks tells those that are on the list once, and those that left it, or came too late, never.
func TestHooks(t *testing.T) {
	var e own
	var first, left, last, late told
	for _, h := range []*told{&first, &left, &last} {
		if h.hook.Off() {
			t.Error("a hook left a list that it was not on")
		}
		if !e.Hang(&h.hook, h) {
			t.Fatal("a hook could not be hung")
		}
	}
	if !left.hook.Off() || left.hook.Off() {
		t.Error("a hook must leave its list once")
	}
	e.CutIf(errOver, func() bool { return false })
	if e.Err() != nil || first.times != 0 {
		t.Error("it ended though it was not to")
	}
	e.Cut(errOver)
	e.Cut(context.Canceled)
	if e.Hang(&late.hook, &late) {
		t.Error("a hook was hung after the end")
	}
	if first.times != 1 || last.times != 1 || left.times != 0 || late.times != 0 {
		t.Errorf("told: first %d, last %d, left %d, late %d", first.times, last.times, left.times, late.times)
	}
	if first.hook.Off() || !errors.Is(e.Err(), errOver) {
		t.Errorf("after the end: %v", e.Err())
	}
	<-e.Done()
	if e.Begin(func() {}); e.Err() != nil || !e.Hang(&left.hook, &left) {
		t.Error("it did not begin again")
	}
	select {
	case <-e.Done():
		t.Error("it began and is over")
	default:
	}
	e.Cut(errOver)
	if <-e.Done(); left.times != 1 {
		t.Error("a hook that was on a list before was not told")
	}
}

// TestLink ends what hangs on a context of ours and on one of the standard library, each of them over already or not.
func TestLink(t *testing.T) {
	standard, cancel := context.WithCancel(t.Context())
	cancel()
	over := new(own)
	over.Cut(errOver)
	for name, ctx := range map[string]context.Context{"ours": over, "the library's": standard} {
		ended := new(own)
		var h ending.Hook
		leave := ending.Link(ctx, &h, (*cutter)(ended))
		<-ended.Done()
		if leave != nil && leave() || h.Off() {
			t.Errorf("%s: a link was taken off after the end", name)
		}
	}
	e := new(own)
	if allocs := testing.AllocsPerRun(100, func() {
		var n told
		if ending.Link(e, &n.hook, &n) != nil || !n.hook.Off() {
			t.Error("a link to a context of ours is not its hook")
		}
	}); allocs > 1 { // n itself
		t.Errorf("a link costs %v allocations", allocs)
	}
}

type cutter own

func (c *cutter) Tell() { (*own)(c).Cut(errOver) }

// TestDerived ends contexts of the standard library that are derived from ours.
func TestDerived(t *testing.T) {
	e := new(own)
	child, cancel := context.WithCancel(e)
	defer cancel()
	called := make(chan struct{})
	context.AfterFunc(e, func() { close(called) })
	stop := context.AfterFunc(e, func() { t.Error("a stopped function ran") })
	if !stop() || stop() {
		t.Error("stop did not say that it stopped")
	}
	e.Cut(errOver)
	<-called
	<-child.Done()
	late := make(chan struct{})
	if context.AfterFunc(e, func() { close(late) })() {
		t.Error("a function that ran was stopped")
	}
	<-late
}
