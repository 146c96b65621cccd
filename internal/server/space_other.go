//go:build !(linux || darwin)

package server

import "errors"

// space is not known on this system.
func space(string) (int64, error) { return 0, errors.ErrUnsupported }
