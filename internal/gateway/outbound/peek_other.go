//go:build !unix

package outbound

// nothingToRead cannot be asked here: an idle connection that its peer closed is found when it is used, and Error.Reused says so.
func nothingToRead(uintptr) bool { return true }

const canAwait = false

func readNow(uintptr, []byte) (int, error) { return 0, errNothing }
