package custody

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Policy says which references may be used. An administrator decides where a credential is sent, so without a policy anybody who
// may create an upstream could send the pepper, the key-encryption keys or any file of the host to a server of their own.
//
// The zero Policy allows nothing.
type Policy struct {
	env    []pattern
	dirs   []string // clean, absolute
	sealed bool
	any    bool

	// What Forbid took out, whatever the rest says.
	forbidFiles []string
	forbidEnv   []string
}

// pattern is a variable's name with at most one star.
type pattern struct {
	before, after string
	exact         bool
}

// ownPrefix begins the names of the variables Gatehouse itself is configured by. Only an exact entry allows one of them.
const ownPrefix = "GATEHOUSE_"

// Unrestricted allows every well-formed reference. It is for references that the operator wrote into the server's own config
// file, such as the pepper's, and for nothing that arrives over the API.
func Unrestricted() Policy { return Policy{any: true, sealed: true} }

// DefaultPolicy is what `gatehouse serve` allows unless secret_refs says otherwise: variables whose names end in _API_KEY, files
// below dir, and sealed secrets. An empty dir allows no files; a relative one is below the working directory.
func DefaultPolicy(dir string) (Policy, error) { return ParsePolicy(defaults("env://*_API_KEY", dir)) }

// DevPolicy is what `gatehouse dev` allows: every variable whose name does not begin with GATEHOUSE_, files below dir, and sealed
// secrets.
func DevPolicy(dir string) (Policy, error) { return ParsePolicy(defaults("env://*", dir)) }

func defaults(env, dir string) []string {
	entries := []string{env, "sealed://"}
	if dir == "" {
		return entries
	}
	if abs, err := filepath.Abs(dir); err == nil { // without a working directory a relative dir stays, and ParsePolicy refuses it
		dir = abs
	}
	return append(entries, "file://"+dir)
}

// ParsePolicy reads the entries of the config's secret_refs:
//
//	env://NAME        the variable of exactly this name
//	env://AZURE_*     variables whose name begins so; the star may stand once, anywhere. A name that begins with GATEHOUSE_ is
//	                  allowed by an exact entry only
//	file:///dir       files below this directory, however deep; symbolic links must end below it too
//	sealed://         Gatehouse's own encrypted store
func ParsePolicy(entries []string) (Policy, error) {
	var p Policy
	for _, entry := range entries {
		scheme, rest, found := strings.Cut(entry, "://")
		switch {
		case found && scheme == "env":
			before, after, star := strings.Cut(rest, "*")
			if !validEnvName("A" + before + after) {
				return Policy{}, fmt.Errorf("secret_refs: %q: want env://NAME of letters, digits and _, with at most one *", entry)
			}
			if !star && !validEnvName(rest) {
				return Policy{}, fmt.Errorf("secret_refs: %q: name a variable", entry)
			}
			p.env = append(p.env, pattern{before: before, after: after, exact: !star})
		case found && scheme == "file":
			if !filepath.IsAbs(rest) || filepath.Clean(rest) == string(filepath.Separator) {
				return Policy{}, fmt.Errorf("secret_refs: %q: want file:///dir with an absolute directory that is not the root", entry)
			}
			p.dirs = append(p.dirs, filepath.Clean(rest))
		case found && scheme == "sealed" && rest == "":
			p.sealed = true
		default:
			return Policy{}, fmt.Errorf("secret_refs: %q: want env://NAME, file:///dir or sealed://", entry)
		}
	}
	return p, nil
}

// Forbid returns the policy without the server's own secrets and files, given as env:// or file:// references or as plain paths:
// the pepper, the keyring, the database. A forbidden file is not read below an allowed directory either, under whatever name or
// link; a forbidden variable not by an entry that matches it. References of other schemes are ignored.
func (p Policy) Forbid(own ...string) Policy {
	p.forbidFiles, p.forbidEnv = slices.Clone(p.forbidFiles), slices.Clone(p.forbidEnv)
	for _, ref := range own {
		scheme, name, found := strings.Cut(ref, "://")
		switch {
		case !found && ref != "":
			p.forbidFiles = append(p.forbidFiles, ref)
		case scheme == "file":
			p.forbidFiles = append(p.forbidFiles, name)
		case scheme == "env":
			p.forbidEnv = append(p.forbidEnv, name)
		}
	}
	return p
}

// allowsEnv reports whether a well-formed name may be read.
func (p *Policy) allowsEnv(name string) bool {
	if slices.Contains(p.forbidEnv, name) {
		return false
	}
	if p.any {
		return true
	}
	for _, e := range p.env {
		switch {
		case e.exact && name == e.before:
			return true
		case e.exact, strings.HasPrefix(strings.ToUpper(name), ownPrefix):
		case len(name) >= len(e.before)+len(e.after) && strings.HasPrefix(name, e.before) && strings.HasSuffix(name, e.after):
			return true
		}
	}
	return false
}

// dirOf returns the allowed directory that a clean, absolute path lies below.
func (p *Policy) dirOf(path string) (dir string, ok bool) {
	for _, d := range p.dirs {
		if below(d, path) {
			return d, true
		}
	}
	return "", false
}

// below reports whether path, clean and absolute, names something inside dir.
func below(dir, path string) bool {
	return len(path) > len(dir) && strings.HasPrefix(path, dir) && path[len(dir)] == filepath.Separator
}
