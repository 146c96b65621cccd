package inbound

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestHeadersOneAfterTheOther holds that a connection's request shows its own fields and nothing of those before it, whatever is the
// same in them: net/http, which makes a map for each, is asked too.
func TestHeadersOneAfterTheOther(t *testing.T) {
	heads := []string{
		"GET /1 HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nX-Two: 2\r\n\r\n",
		"GET /2 HTTP/1.1\r\nHost: b\r\nX-One: 3\r\nX-Two: 4\r\n\r\n",                            // the same names
		"GET /3 HTTP/1.1\r\nHost: b\r\nx-one: 5\r\nX-Two: 6\r\n\r\n",                            // written otherwise
		"GET /4 HTTP/1.1\r\nHost: b\r\nx-one: \r\nX-Two: 7\r\n\r\n",                             // nothing in one
		"GET /5 HTTP/1.1\r\nHost: b\r\nX-Two: 8\r\nX-One: 9\r\n\r\n",                            // in another order
		"GET /6 HTTP/1.1\r\nX-Two: 8\r\nHost: c\r\nX-One: 9\r\n\r\n",                            // Host elsewhere
		"GET /7 HTTP/1.1\r\nHost: b\r\nX-One: 1\r\n\r\n",                                        // fewer
		"GET /8 HTTP/1.1\r\nHost: b\r\nX-One: 1\r\nX-One: 2\r\nx-one: 3\r\n\r\n",                // one name more than once
		"GET /9 HTTP/1.1\r\nHost: b\r\nX-One: 4\r\nX-One: 5\r\nx-one: 6\r\n\r\n",                // and again
		"GET /10 HTTP/1.1\r\nHost: b\r\nPragma: no-cache\r\n\r\n",                               // which adds a field
		"GET /11 HTTP/1.1\r\nHost: b\r\nPragma: other\r\n\r\n",                                  // and does not
		"GET /12 HTTP/1.1\r\nHost: b\r\nPragma: no-cache\r\n\r\n",                               //
		"POST /13 HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", // which takes one away
		"POST /14 HTTP/1.1\r\nHost: b\r\nContent-Length: 1\r\n\r\nb",
		"POST /15 HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\ncc",
		"POST /16 HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nd\r\n0\r\n\r\n",
		"GET /17 HTTP/1.1\r\nHost: b\r\n\r\n",
		"GET /18 HTTP/1.1\r\nHost: b\r\n" + strings.Repeat("X-"+strings.Repeat("n", 60)+": v\r\n", 1) + fields(40) + "\r\n", // names beyond any buffer
		"GET /19 HTTP/1.1\r\nHost: b\r\n" + strings.Repeat("X-"+strings.Repeat("n", 60)+": w\r\n", 1) + fields(40) + "\r\n",
		"GET /20 HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nX-Two: 2\r\n\r\n",
	}
	var seen []string
	describe := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		text := r.RequestURI + " " + r.Host + " " + string(body)
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			text += fmt.Sprintf("; %s: %q", name, r.Header[name])
		}
		seen = append(seen, text)
	})
	ask := func(serve func(net.Listener) error) []string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = serve(ln) }() // ends with its server
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := io.WriteString(nc, strings.Join(heads, "")+"GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(nc); err != nil {
			t.Fatal(err)
		}
		all := seen
		seen = nil
		return all
	}
	own := New(Config{Handler: describe})
	standard := &http.Server{Handler: describe}
	t.Cleanup(func() { _, _ = own.Close(), standard.Close() })
	got, want := ask(own.Serve), ask(standard.Serve)
	if len(got) != len(heads)+1 || !slices.Equal(got, want) {
		for i := range want {
			if i >= len(got) || got[i] != want[i] {
				t.Errorf("got  %q\nwant %q", got[min(i, len(got)-1)], want[i])
			}
		}
	}
}

// fields returns n fields of different names.
func fields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X-Field-With-A-Name-Of-Some-Length-%d: %d\r\n", i, i)
	}
	return b.String()
}

// TestChangedHeader holds that a handler that changes the map is found out, whatever it does to it.
func TestChangedHeader(t *testing.T) {
	const head = "GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nX-Two: 2\r\n\r\n"
	for name, test := range map[string]struct {
		change func(http.Header)
		found  bool
	}{
		"nothing":  {func(http.Header) {}, false},
		"adds":     {func(h http.Header) { h.Set("X-Three", "3") }, true},
		"beside":   {func(h http.Header) { h.Add("X-One", "3") }, true},
		"replaces": {func(h http.Header) { h.Set("X-One", "3") }, true},
		"empties":  {func(h http.Header) { h["X-One"] = nil }, true},
		"deletes":  {func(h http.Header) { h.Del("X-One") }, true},
	} {
		in := &input{buf: []byte(head), w: len(head)}
		in.begin()
		if v := in.scan(); v != own {
			t.Fatalf("the head is %v", v)
		}
		var h requestHeader
		fields, host := h.of(in, in.text()[len("/"):])
		if host != "a" {
			t.Errorf("host %q", host)
		}
		test.change(fields)
		found := func() (found bool) {
			defer func() { found = recover() != nil }()
			h.mustBeWhole()
			return false
		}()
		if found != test.found {
			t.Errorf("%s: found out: %v, want %v", name, found, test.found)
		}
	}
}
