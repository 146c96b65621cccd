//go:build unix

package outbound

import "syscall"

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
