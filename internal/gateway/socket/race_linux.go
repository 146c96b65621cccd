//go:build race

package socket

import "syscall"

func read(fd uintptr, p []byte) (int, syscall.Errno) {
	n, err := syscall.Read(int(fd), p)
	return n, errno(err)
}

func write(fd uintptr, p []byte) (int, syscall.Errno) {
	n, err := syscall.Write(int(fd), p)
	return n, errno(err)
}

func peek(fd uintptr) (int, syscall.Errno) {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n, errno(err)
}

// errno returns the number behind an error of package syscall's calls, which return nothing else.
func errno(err error) syscall.Errno {
	no, _ := err.(syscall.Errno) // nil: 0
	return no
}
