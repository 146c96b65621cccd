package store

import (
	"crypto/sha256"
	"encoding/hex"
)

// SumLine is the last line of a backup whose other lines are text.
func SumLine(text string) string {
	sum := sha256.Sum256([]byte(text))
	return `{"sha256":"` + hex.EncodeToString(sum[:]) + "\"}\n"
}
