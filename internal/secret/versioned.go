package secret

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// material is one version of a key file.
type material struct {
	version int
	key     []byte
}

// newFile returns the content of a key file with one random version, 1, under a comment that says what it is.
func newFile(comment string) Text { return NewText("# " + comment + "\n" + newLine(1)) }

// newLine returns the line of a random version.
func newLine(version int) string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // crypto/rand.Read never returns an error (Go 1.24 and later)
	return strconv.Itoa(version) + " " + base64.StdEncoding.EncodeToString(key) + "\n"
}

// parseFile reads a key file: one line "N base64" for each version, N rising from line to line; lines that begin with # and
// empty lines are skipped; everything else is an error, which names the line and never shows it.
func parseFile(what string, content Text, minBytes, maxBytes int) ([]material, error) {
	var out []material
	for i, line := range strings.Split(content.Reveal(), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		m, err := parseLine(line, minBytes, maxBytes)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", what, i+1, err)
		}
		if len(out) > 0 && m.version <= out[len(out)-1].version {
			return nil, fmt.Errorf("%s: line %d: version %d does not rise above version %d before it", what, i+1, m.version, out[len(out)-1].version)
		}
		for _, o := range out {
			if bytes.Equal(o.key, m.key) {
				return nil, fmt.Errorf("%s: line %d: version %d repeats the material of version %d", what, i+1, m.version, o.version)
			}
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no version in it; a line is a number, a space and base64", what)
	}
	return out, nil
}

func parseLine(line string, minBytes, maxBytes int) (material, error) {
	number, text, found := strings.Cut(line, " ")
	if !found {
		return material{}, fmt.Errorf("not a number, a space and base64")
	}
	version, err := strconv.ParseUint(number, 10, 31)
	if err != nil || version == 0 || strconv.FormatUint(version, 10) != number {
		return material{}, fmt.Errorf("the version must be a whole number from 1, without sign or leading zeros")
	}
	// The decoder skips line breaks inside its input, so a carriage return must be refused here.
	if strings.ContainsRune(text, '\r') {
		return material{}, fmt.Errorf("a carriage return; save the file with Unix line ends")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return material{}, fmt.Errorf("not standard, padded base64")
	}
	if len(key) < minBytes || len(key) > maxBytes {
		if minBytes == maxBytes {
			return material{}, fmt.Errorf("%d bytes, want exactly %d", len(key), minBytes)
		}
		return material{}, fmt.Errorf("%d bytes, want %d to %d", len(key), minBytes, maxBytes)
	}
	// 32 random bytes with fewer than 8 different values do not happen; a placeholder does.
	var seen [256]bool
	distinct := 0
	for _, b := range key {
		if !seen[b] {
			seen[b] = true
			distinct++
		}
	}
	if distinct < 8 {
		return material{}, fmt.Errorf("not random; make one with: openssl rand -base64 32")
	}
	return material{version: int(version), key: key}, nil
}
