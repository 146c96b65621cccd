package server

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
)

// TestRetirePepper: a version that active keys are under is not taken away, whether by command or by hand.
func TestRetirePepper(t *testing.T) {
	dir := t.TempDir()
	cfg := &Config{Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", Data: filepath.Join(dir, "data"), Database: "sqlite:" + filepath.Join(dir, "g.db"),
		Pepper: "file://" + filepath.Join(dir, "pepper"), KEK: "file://" + filepath.Join(dir, "kek"), Node: "one"}
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	f, err := Init(t.Context(), cfg, InitRequest{Organization: "Acme", Owner: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(filepath.Join(dir, "pepper"))
	if err != nil {
		t.Fatal(err)
	}
	serve := func(do func(s *Server)) error {
		s, err := Open(t.Context(), cfg, Options{Log: io.Discard})
		if err != nil {
			return err
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }() // ends with stop
		do(s)
		stop()
		return <-done
	}
	who := gatehouse.Host(f.Organization.ID)
	create := func(s *Server, class gatehouse.Class) string {
		k, err := s.admin.CreateKey(t.Context(), who, admin.KeyRequest{Class: class, Project: f.Project.ID, User: f.Owner.ID})
		if err != nil {
			t.Fatal(err)
		}
		return k.Key.ID
	}
	var key string
	if err := serve(func(s *Server) { key = create(s, gatehouse.ClassProject) }); err != nil {
		t.Fatal(err)
	}
	if _, err := RetirePepper(t.Context(), cfg, 1, 0); err == nil || !strings.Contains(err.Error(), "newest") {
		t.Errorf("the only version was retired: %v", err)
	}
	if version, err := RotatePepper(t.Context(), cfg); err != nil || version != 2 {
		t.Fatalf("rotate: %d, %v", version, err)
	}
	if _, err := RetirePepper(t.Context(), cfg, 1, 0); gatehouse.KindOf(err) != gatehouse.Conflict {
		t.Errorf("with two active keys: %v", err)
	}
	// A restart with the new version: another admin key is made under it, so that the old one may go.
	if err := serve(func(s *Server) { create(s, gatehouse.ClassAdmin) }); err != nil {
		t.Fatal(err)
	}
	if n, err := RetirePepper(t.Context(), cfg, 1, time.Hour); n != 0 || gatehouse.KindOf(err) != gatehouse.Conflict {
		t.Errorf("keys that are not an hour old: %d suspended, %v", n, err)
	}
	n, err := RetirePepper(t.Context(), cfg, 1, time.Nanosecond)
	if n != 2 || err != nil {
		t.Fatalf("keys that were never used: %d suspended, %v", n, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pepper"))
	if err != nil || strings.Contains(string(text), "\n1 ") || !strings.Contains(string(text), "\n2 ") || !strings.HasPrefix(string(text), "#") {
		t.Errorf("the file is %q, %v", strings.Map(noBase64, string(text)), err)
	}
	if err := serve(func(s *Server) {
		if _, _, err := s.admin.ResumeKey(t.Context(), who, key); gatehouse.KindOf(err) != gatehouse.Conflict {
			t.Errorf("a key under a retired version was resumed: %v", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	// By hand: the newest version is gone, and a key is under it.
	if err := os.WriteFile(filepath.Join(dir, "pepper"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := serve(func(*Server) {}); err == nil || !strings.Contains(err.Error(), "version 2 is missing, and 1 active keys") {
		t.Errorf("started without a version in use: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "pepper.*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// noBase64 hides what must not be shown.
func noBase64(r rune) rune {
	if r == '\n' || r == '#' || r == ' ' {
		return r
	}
	return '.'
}
