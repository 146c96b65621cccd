//go:build !race

package outbound_test

import "testing"

// TestAllocations bounds what an exchange allocates, the server's part included, which is nothing: the answer, and its head as one
// string.
func TestAllocations(t *testing.T) {
	body := []byte(long(2 << 10))
	e := endpoint(t, serveRaw(t, fixed(len(body), jsonAnswer)))
	ctx := &exchange{Context: t.Context()}
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
	if got > 2 {
		t.Fatalf("an exchange allocates %v times, want at most 2", got)
	}
}
