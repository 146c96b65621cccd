package custody

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"gatehouse"
	"gatehouse/internal/secret"
)

// envSource reads the environment of the server's process.
type envSource struct{ allow Policy }

// Check wants a portable variable name that the policy allows.
func (s envSource) Check(name string) error {
	if !validEnvName(name) || looksSecret(name) {
		return invalid("Malformed env:// reference. Name a variable: letters, digits and _, not beginning with a digit, as in env://OPENAI_API_KEY.")
	}
	if !s.allow.allowsEnv(name) {
		return invalid("The reference env://%s is not allowed here. Choose a variable that secret_refs in the server's config allows (by default names that end in _API_KEY), or add env://%s to it.", name, name)
	}
	return nil
}

// Read returns the variable's value.
func (s envSource) Read(_ context.Context, name string) (secret.Text, error) {
	value, set := os.LookupEnv(name)
	if !set {
		return secret.Text{}, unavailable(nil, "The environment variable %s is not set where the server runs. Set it and restart the server.", name)
	}
	return secret.NewText(value), nil
}

// fileSource reads regular files.
type fileSource struct{ allow Policy }

// Check wants an absolute path in its shortest form that the policy allows. Links are followed, and what they lead to is checked,
// when the file is read.
func (s fileSource) Check(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) || looksSecret(filepath.Base(path)) {
		return invalid("Malformed file:// reference. Give an absolute path without . or .. in it, as in file:///etc/gatehouse/secrets/openai.")
	}
	if s.allow.any {
		return nil
	}
	if _, ok := s.allow.dirOf(path); !ok {
		return invalid("The reference file://%s is not allowed here. Put the file below a directory that secret_refs in the server's config allows, or add its directory there.", path)
	}
	return nil
}

// Read returns the file's content.
func (s fileSource) Read(_ context.Context, path string) (secret.Text, error) {
	f, err := s.open(path)
	if err != nil {
		return secret.Text{}, err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return secret.Text{}, unavailable(err, "The file %s cannot be read. Check that the server's user may read it.", path)
	}
	if !info.Mode().IsRegular() {
		return secret.Text{}, unavailable(nil, "The file %s is not a regular file.", path)
	}
	for _, forbidden := range s.allow.forbidFiles {
		if other, err := os.Stat(forbidden); err == nil && os.SameFile(info, other) {
			return secret.Text{}, invalid("The reference file://%s is not allowed here: that file belongs to the server itself.", path)
		}
	}
	content, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return secret.Text{}, unavailable(err, "The file %s cannot be read.", path)
	}
	return secret.NewText(string(content)), nil
}

// open opens the file behind path and its links. Below a directory of the policy the links are resolved first, and the result is
// opened through that directory (os.Root), so that what is opened lies inside it even when somebody changes a link meanwhile.
func (s fileSource) open(path string) (*os.File, error) {
	// Without O_NONBLOCK opening a named pipe waits for a writer.
	const flags = os.O_RDONLY | syscall.O_NONBLOCK
	if s.allow.any {
		f, err := os.OpenFile(path, flags, 0)
		if err != nil {
			return nil, openError(path, err)
		}
		return f, nil
	}
	dir, ok := s.allow.dirOf(path)
	if !ok {
		return nil, s.Check(path)
	}
	realDir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, openError(path, err)
	}
	realPath, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, openError(path, err)
	}
	if !below(realDir, realPath) {
		return nil, invalid("The reference file://%s is not allowed here: it is a link that leads out of %s.", path, dir)
	}
	root, err := os.OpenRoot(realDir)
	if err != nil {
		return nil, openError(path, err)
	}
	defer func() { _ = root.Close() }() // an opened file outlives its root
	f, err := root.OpenFile(strings.TrimPrefix(realPath, realDir+string(filepath.Separator)), flags, 0)
	if err != nil {
		return nil, openError(path, err)
	}
	return f, nil
}

func openError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return unavailable(nil, "There is no file %s where the server runs.", path)
	}
	return unavailable(err, "The file %s cannot be opened. Check that the server's user may read it.", path)
}

// sealedSource reads Gatehouse's own encrypted store.
type sealedSource struct {
	allow Policy
	open  func(ctx context.Context, id string) (secret.Text, error)
}

// Check wants the id of a sealed secret, where the policy allows them.
func (s sealedSource) Check(id string) error {
	if !validSealedID(id) || looksSecret(id) {
		return invalid("Malformed sealed:// reference. Give the id of a sealed secret, as in sealed://%s0123456789AbCdEfGhIjKlMn.", gatehouse.PrefixSealed)
	}
	if !s.allow.sealed || s.open == nil {
		return invalid("The reference sealed://%s is not allowed here. Add sealed:// to secret_refs in the server's config.", id)
	}
	return nil
}

// Read returns the decrypted secret.
func (s sealedSource) Read(ctx context.Context, id string) (secret.Text, error) {
	if s.open == nil {
		return secret.Text{}, s.Check(id)
	}
	value, err := s.open(ctx, id)
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return secret.Text{}, unavailable(err, "There is no sealed secret %s.", id)
	}
	if err != nil {
		return secret.Text{}, unavailable(err, "The sealed secret %s cannot be opened now.", id)
	}
	return value, nil
}

// looksSecret reports whether what stands where a name belongs is a credential; then no message may show it.
func looksSecret(name string) bool {
	if _, ours := secret.ParseKey(name); ours {
		return true
	}
	_, foreign := secret.Foreign(name)
	return foreign
}

// validEnvName reports whether name is a portable variable name.
func validEnvName(name string) bool {
	if name == "" || len(name) > 255 || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	return onlyBytes(name, "_")
}

// validSealedID reports whether id can be a sealed secret's.
func validSealedID(id string) bool {
	return len(id) > 0 && len(id) <= 128 && onlyBytes(id, "_-")
}

// onlyBytes reports whether s is made of ASCII letters, digits and the bytes of extra.
func onlyBytes(s, extra string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return true
}
