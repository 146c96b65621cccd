package ledger

import (
	"os"
	"syscall"
)

// mapRoom gives a file n bytes more from at on, which is a multiple of the page size, and maps them. The blocks are the file's before
// they are written, so that a full disk is found here.
func mapRoom(f *os.File, at int64, n int) ([]byte, error) {
	if err := syscall.Fallocate(int(f.Fd()), 0, at, int64(n)); err != nil {
		return nil, os.NewSyscallError("fallocate", err)
	}
	b, err := syscall.Mmap(int(f.Fd()), at, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	return b, os.NewSyscallError("mmap", err)
}

func unmapRoom(b []byte) { _ = syscall.Munmap(b) } // it fails for what is not mapped only
