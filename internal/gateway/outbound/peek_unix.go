//go:build unix

package outbound

import (
	"os"
	"syscall"
)

// nothingToRead asks the kernel whether a socket has neither bytes nor an end for us. Go's sockets never block.
func nothingToRead(fd uintptr) bool {
	var b [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		if err != syscall.EINTR {
			return err == syscall.EAGAIN
		}
	}
}

// canAwait says that a connection can be waited for without a buffer to read into.
const canAwait = true

// readNow reads without waiting; errNothing: there is nothing. No bytes and no error are the end of the connection.
func readNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch err {
		case nil:
			return n, nil
		case syscall.EAGAIN:
			return 0, errNothing
		case syscall.EINTR:
		default:
			return 0, os.NewSyscallError("read", err)
		}
	}
}
