package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast.dev/internal/engine/catalog"
)

// TestNewestMinors: what a version becomes by itself, by what is installed.
func TestNewestMinors(t *testing.T) {
	for _, c := range []struct{ installed, from, want string }{
		{"redis-7.0.15 redis-7.0.16", "redis 7.0", "7.0 redis-7.0.16"},
		{"redis-7.0.15", "redis 7.0", "7.0 redis-7.0.15"}, // 7.1 is but another name for it
		{"redis-6.0.16 redis-7.0.15", "redis 6.0", "6.0 redis-6.0.16"},
		{"redis-6.0.16 redis-6.2.14 redis-7.0.15", "redis 6.0", "6.2 redis-6.2.14"},
		{"redis-6.0.16 redis-6.2.14", "redis 6.2", "6.2 redis-6.2.14"},
		{"valkey-8.0.1 valkey-8.1.1 valkey-9.1.2", "valkey 8.0", "8.1 valkey-8.1.1"},
		{"valkey-8.0.1 valkey-9.1.2", "valkey 8.0", "8.0 valkey-8.0.1"},
		{"valkey-9.1.2", "redis 7.0", " "},
	} {
		t.Run(c.installed+" "+c.from, func(t *testing.T) {
			t.Setenv("PATH", "/nowhere")
			dir := t.TempDir()
			for _, name := range strings.Fields(c.installed) {
				emptyBundle(t, dir, name)
			}
			found, err := catalog.Scan(t.Context(), dir)
			if err != nil || len(found.Problems()) > 0 {
				t.Fatal(err, found.Problems())
			}
			engine, version, _ := strings.Cut(c.from, " ")
			if to := (catalogue{found}).newest(engine, version); to.EngineVersion+" "+to.Build != c.want {
				t.Errorf("it becomes %+v, want %s", to, c.want)
			}
		})
	}
}

// emptyBundle installs an engine that cannot be started.
func emptyBundle(t *testing.T, dir, name string) {
	t.Helper()
	engine, version, _ := strings.Cut(name, "-")
	manifest := `{"format": 1, "engine": "` + engine + `", "version": "` + version + `", "suite": "some", "server": "bin/server", "cli": "bin/server", "files": {"bin/server": "00"}}`
	err := os.MkdirAll(filepath.Join(dir, name, "bin"), 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name, "manifest.json"), []byte(manifest), 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name, "bin", "server"), []byte("#!/bin/sh\n"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
