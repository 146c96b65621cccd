//go:build !race

package outbound_test

import (
	"context"
	"testing"
)

// TestAllocations bounds what an exchange allocates, the server's part included, which is nothing: the answer, its head as one
// string, and the two of context.AfterFunc.
func TestAllocations(t *testing.T) {
	body := []byte(long(2 << 10))
	e := endpoint(t, serveRaw(t, fixed(len(body), jsonAnswer)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req := post(string(body))
	req.Header = twelve
	buf := make([]byte, 4<<10)
	got := testing.AllocsPerRun(200, func() {
		resp, err := e.Do(ctx, req, generous)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := drain(resp.Body, buf); err != nil || n != 800 {
			t.Fatal(n, err)
		}
		resp.Close()
	})
	if got > 4 {
		t.Fatalf("an exchange allocates %v times, want at most 4", got)
	}
}
