package store

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"gatehouse"
)

// fill sets every field that v has, at any depth, to a value of its own.
func fill(v reflect.Value, n *int64) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.Repeat("é", int(*n%7)) + string(rune('a'+*n%26)) + v.Type().Name())
	case reflect.Int, reflect.Int64:
		v.SetInt(*n*1_000_003 - 20_000_000)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic("a kind that pages do not know: " + v.Kind().String())
	}
}

// TestPagesKeepEveryField fails when a field is added to what is measured and not to its page.
func TestPagesKeepEveryField(t *testing.T) {
	var n int64
	usage, requests := make([]gatehouse.Usage, 5), make([]gatehouse.Request, 5)
	pu, pr := newPacker(), newPacker()
	for i := range usage {
		if i != 3 { // which has nothing
			fill(reflect.ValueOf(&usage[i]).Elem(), &n)
			fill(reflect.ValueOf(&requests[i]).Elem(), &n)
		}
		own := i%2 == 0
		pu.record(func() { pu.usage(&usage[i]) })
		pr.record(func() { pr.request(&requests[i], &own) })
	}
	i := 0
	err := eachUsage(pu.body(), func(u *gatehouse.Usage) error {
		if *u != usage[i] {
			t.Errorf("usage %d\n got %+v\nwant %+v", i, *u, usage[i])
		}
		i++
		return nil
	})
	if err != nil || i != len(usage) {
		t.Errorf("%d records, %v", i, err)
	}
	i = 0
	err = eachRequest(pr.body(), func(q *gatehouse.Request, own bool) error {
		if !reflect.DeepEqual(*q, requests[i]) || own != (i%2 == 0) {
			t.Errorf("request %d, own %v\n got %+v\nwant %+v", i, own, *q, requests[i])
		}
		i++
		return nil
	})
	if err != nil || i != len(requests) {
		t.Errorf("%d records, %v", i, err)
	}
}

// TestPagesGrow reads a page that a binary without the last fields wrote.
func TestPagesGrow(t *testing.T) {
	p := newPacker()
	id, at := "req_1", int64(7)
	p.record(func() { p.id(&id); p.number(&at) })
	err := eachUsage(p.body(), func(u *gatehouse.Usage) error {
		if *u != (gatehouse.Usage{ID: "req_1", At: 7}) {
			t.Errorf("got %+v", *u)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPagesAreStorable(t *testing.T) {
	p := newPacker()
	for _, s := range []string{"a\x00b\xff", "a\uFFFDb\uFFFD", "", "a\x00b\xff"} {
		p.record(func() {
			p.usage(&gatehouse.Usage{ID: s, Model: s, Units: gatehouse.Units{Input: math.MinInt64, Trained: math.MaxInt64}})
		})
	}
	var got []string
	err := eachUsage(p.body(), func(u *gatehouse.Usage) error {
		if u.Units != (gatehouse.Units{Input: math.MinInt64, Trained: math.MaxInt64}) {
			t.Errorf("units %+v", u.Units)
		}
		got = append(got, u.ID, u.Model)
		return nil
	})
	want := []string{"a\uFFFDb\uFFFD", "a\uFFFDb\uFFFD", "a\uFFFDb\uFFFD", "a\uFFFDb\uFFFD", "", "", "a\uFFFDb\uFFFD", "a\uFFFDb\uFFFD"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestPageNumbers(t *testing.T) {
	for _, at := range []gatehouse.Millis{math.MinInt64, -1, 0, 1, 1_800_000_000_000, math.MaxInt64} {
		n := pageNumber(at)
		if n < pageAt(at) || n < 0 || at >= 0 && at < 1<<41 && n >= pageAt(at+1) {
			t.Errorf("page at %d is %d, want between %d and %d", at, n, pageAt(at), pageAt(at+1))
		}
	}
}

func FuzzPages(f *testing.F) {
	var n int64
	var u gatehouse.Usage
	var q gatehouse.Request
	fill(reflect.ValueOf(&u).Elem(), &n)
	fill(reflect.ValueOf(&q).Elem(), &n)
	own := true
	for _, write := range []func(p *packer){func(p *packer) { p.usage(&u) }, func(p *packer) { p.request(&q, &own) }} {
		p := newPacker()
		for range 3 {
			p.record(func() { write(p) })
		}
		body := p.body()
		f.Add(body)
		for range 20 {
			bad := append([]byte(nil), body...)
			bad[rand.N(len(bad))] ^= 1 << rand.N(8)
			f.Add(bad)
			f.Add(body[:rand.N(len(body))])
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, err := range []error{
			eachUsage(body, func(*gatehouse.Usage) error { return nil }),
			eachRequest(body, func(*gatehouse.Request, bool) error { return nil }),
		} {
			if err != nil && !errors.Is(err, errDamagedPage) {
				t.Error(err)
			}
		}
	})
}
