package inbound

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// canWatch says that the kernel can be asked whether a caller has left.
const canWatch = true

// callerGone asks the kernel whether the peer of a socket has closed it. Bytes that wait to be read are not the end: they are a
// next request. Under TLS they may also be the session's goodbye in front of the end, so there the socket's state is asked for.
func callerGone(fd uintptr, session bool) bool {
	if session {
		poll := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		for {
			n, err := unix.Poll(poll[:], 0)
			if err != unix.EINTR {
				return n > 0 && err == nil
			}
		}
	}
	var b [1]byte
	for {
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err != syscall.EINTR {
			return err == nil && n == 0 || err != nil && err != syscall.EAGAIN
		}
	}
}
