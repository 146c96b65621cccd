// Package custody owns where secrets come from: it reads the reference that stands in a configuration, a manifest or an upstream
// (env://NAME, file:///path, sealed://id) and returns the secret behind it, and it decides which references may be used at all.
//
// It does not own encryption (secret), the rows of sealed secrets (store) or what a secret is used for. It caches nothing: a
// changed file or variable is seen at the next Resolve.
package custody

import (
	"context"
	"fmt"
	"strings"

	"gatehouse"
	"gatehouse/internal/secret"
)

// MaxSize is the most bytes a secret may have, its final line end included.
const MaxSize = 64 << 10

// Source reads the secrets of one scheme. A name is what follows the scheme's :// in a reference.
type Source interface {
	// Check reports whether name is well formed and allowed, without reading anything. It returns a *gatehouse.Error of kind
	// Invalid, whose message shows the name only when it is well formed: something else may be a secret in the wrong place.
	Check(name string) error
	// Read returns the secret. It returns a *gatehouse.Error of kind Unavailable when there is none or it cannot be read. It
	// need not check.
	Read(ctx context.Context, name string) (secret.Text, error)
}

// Config is what a Resolver is made of.
type Config struct {
	// Allow says which references may be used. The zero Policy allows none.
	Allow Policy
	// Sealed returns the secret that Gatehouse itself keeps under an id, decrypted, and gatehouse.NotFound when there is none.
	// Nil: there is no such store, and sealed:// is refused.
	Sealed func(ctx context.Context, id string) (secret.Text, error)
}

// Resolver turns references into secrets. It is safe for concurrent use.
type Resolver struct {
	sources map[string]Source
}

// New returns a Resolver that reads env://, file:// and sealed://.
func New(c Config) *Resolver {
	return &Resolver{sources: map[string]Source{
		"env":    envSource{allow: c.Allow},
		"file":   fileSource{allow: c.Allow},
		"sealed": sealedSource{allow: c.Allow, open: c.Sealed},
	}}
}

// Check reports whether ref is a well-formed reference that may be used, without reading it. It returns a *gatehouse.Error of
// kind Invalid that says what to do and never shows what may be a secret.
func (r *Resolver) Check(ref string) error {
	source, name, err := r.source(ref)
	if err != nil {
		return err
	}
	return source.Check(name)
}

// Resolve checks ref and returns the secret it names. It returns a *gatehouse.Error: Invalid as Check does, or Unavailable when
// the secret is missing, empty, too large or cannot be read; the message names the reference and never the secret. One line end
// at the end of the value is not part of it, so that a file written by an editor or by echo works.
func (r *Resolver) Resolve(ctx context.Context, ref string) (secret.Text, error) {
	source, name, err := r.source(ref)
	if err != nil {
		return secret.Text{}, err
	}
	if err := source.Check(name); err != nil {
		return secret.Text{}, err
	}
	value, err := source.Read(ctx, name)
	if err != nil {
		return secret.Text{}, err
	}
	return trim(ref, value)
}

// plannedSchemes are references of other installations and later builds. They are well known, so the error can say what they are.
var plannedSchemes = map[string]string{
	"vault": "Vault", "awssm": "AWS Secrets Manager", "azkv": "Azure Key Vault", "gcpsm": "Google Secret Manager",
}

// source finds the source of a reference and the name within it.
func (r *Resolver) source(ref string) (Source, string, error) {
	scheme, name, found := strings.Cut(ref, "://")
	if found {
		if s := r.sources[scheme]; s != nil {
			return s, name, nil
		}
		if what := plannedSchemes[scheme]; what != "" {
			return nil, "", invalid("This build does not read %s:// references (%s). Use env://NAME, file:///path or sealed://id.", scheme, what)
		}
	}
	return nil, "", invalid("Not a secret reference. Give a reference and not the secret itself: env://NAME, file:///path or sealed://id.")
}

// trim removes one line end and refuses what cannot be a secret.
func trim(ref string, value secret.Text) (secret.Text, error) {
	text := value.Reveal()
	if len(text) > MaxSize {
		return secret.Text{}, unavailable(nil, "The secret %s is larger than %d bytes.", ref, MaxSize)
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	if text == "" {
		return secret.Text{}, unavailable(nil, "The secret %s is empty.", ref)
	}
	return secret.NewText(text), nil
}

func invalid(format string, args ...any) error {
	return &gatehouse.Error{Kind: gatehouse.Invalid, Code: "invalid_secret_reference", Message: fmt.Sprintf(format, args...)}
}

func unavailable(cause error, format string, args ...any) error {
	return &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "secret_unavailable", Message: fmt.Sprintf(format, args...), Err: cause}
}
