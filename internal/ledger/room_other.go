//go:build !linux

package ledger

import (
	"errors"
	"os"
)

// mapRoom is not offered: every record is written with write(2).
func mapRoom(*os.File, int64, int) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapRoom([]byte) {}
