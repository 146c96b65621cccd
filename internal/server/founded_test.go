package server

import (
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"gatehouse"
)

// initConfig returns a configuration below a folder of the test's own.
func initConfig(t *testing.T) *Config {
	t.Helper()
	dir := t.TempDir()
	cfg := &Config{Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", Data: dir, Node: "test", Database: "sqlite:" + filepath.Join(dir, "gatehouse.db"),
		Pepper: "file://" + filepath.Join(dir, "pepper"), KEK: "file://" + filepath.Join(dir, "kek")}
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestOpenRefusesWhatNobodyFounded proves that a database with a schema and even an installation, but no organization, is not
// served: that is what an init that failed half-way leaves.
func TestOpenRefusesWhatNobodyFounded(t *testing.T) {
	ctx, cfg := t.Context(), initConfig(t)
	if err := cfg.createSecrets(true); err != nil {
		t.Fatal(err)
	}
	for _, begun := range []bool{false, true} {
		if begun {
			db, err := cfg.openStore(ctx, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			_, err = newInstallation(ctx, db)
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Open(ctx, cfg, Options{Log: io.Discard}); !errors.Is(err, errEmpty) {
			t.Errorf("installation begun: %v: Open = %v, want %v", begun, err, errEmpty)
		}
	}
	// init finishes what was begun.
	if _, err := Init(ctx, cfg, InitRequest{Organization: "Acme", Owner: "Ann"}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(ctx, cfg, Options{Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer closeOpened(t, s)
	if s.install == "" {
		t.Error("the node has no install tag")
	}
}

// closeOpened ends a server that never ran.
func closeOpened(t *testing.T, s *Server) {
	t.Helper()
	for _, l := range s.listeners {
		_ = l.Close() // nobody was served
	}
	if s.access != nil {
		s.access.close()
	}
	defer s.replay.Close()
	if err := errors.Join(s.ledger.Close(t.Context()), s.db.Close()); err != nil {
		t.Error(err)
	}
}

// TestInitChecksFirst proves that an init that is refused has created nothing.
func TestInitChecksFirst(t *testing.T) {
	for name, req := range map[string]InitRequest{
		"no organization": {Owner: "Ann"},
		"no owner":        {Organization: "Acme"},
		"bad email":       {Organization: "Acme", Owner: "Ann", Email: "nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := initConfig(t)
			if _, err := Init(t.Context(), cfg, req); gatehouse.KindOf(err) != gatehouse.Invalid {
				t.Errorf("Init = %v, want an error of kind invalid", err)
			}
			if files, _ := filepath.Glob(filepath.Join(cfg.Data, "*")); len(files) > 0 {
				t.Errorf("a refused init left %v", files)
			}
		})
	}
}
