package usage

import "bytes"

// maxAlike is how long a beginning in bytes may be that is remembered.
const maxAlike = 1 << 10

// beginning is how an answer began, up to the first text that the model wrote, and where a Capture stood when it had read that. The
// events of a stream differ in little else than what follows.
type beginning struct {
	text []byte
	want Made
	standing
	buf  []byte
	made []made
}

// remember keeps the beginning of the answer, which is all that was read of it.
func (c *Capture) remember(text []byte) {
	c.begins = false
	if len(text) > maxAlike || c.readAt != (piece{}) {
		return
	}
	if c.last == nil {
		c.last = new(beginning)
	}
	l := c.last
	l.text, l.want = append(l.text[:0], text...), c.Want
	l.standing = c.standing
	l.buf, l.made = append(l.buf[:0], c.buf...), append(l.made[:0], c.made...)
}

// recall reads the beginning of an answer if it is the one that was remembered, and returns its length, else 0.
func (c *Capture) recall(p []byte) int {
	l := c.last
	if l == nil || l.want != c.Want || !bytes.HasPrefix(p, l.text) {
		return 0
	}
	c.standing = l.standing
	c.buf, c.made = append(c.buf, l.buf...), append(c.made, l.made...)
	return len(l.text)
}
