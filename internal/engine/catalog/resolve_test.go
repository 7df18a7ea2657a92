package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
)

// installed makes a catalogue of bundles of these names.
func installed(t *testing.T, names ...string) *catalog.Catalog {
	t.Helper()
	t.Setenv("PATH", "")
	dir := t.TempDir()
	for _, name := range names {
		bundle(t, dir, name)
	}
	c, err := catalog.Scan(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Problems() {
		t.Fatal(p)
	}
	return c
}

func bundle(t *testing.T, dir, name string) {
	t.Helper()
	engine, version, _ := strings.Cut(name, "-")
	write(t, filepath.Join(dir, name, "manifest.json"), 0o644, `{"format": 1, "engine": "`+engine+`", "version": "`+version+
		`", "suite": "some", "server": "bin/server", "cli": "bin/cli", "files": {"bin/server": "00"}}`)
	write(t, filepath.Join(dir, name, "bin", "server"), 0o755, "#!/bin/sh\n")
}

func write(t *testing.T, path string, mode os.FileMode, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

var usual = []string{"redis-6.0.16", "redis-7.0.15", "valkey-8.1.1", "valkey-9.1.2", "memcached-1.6.18"}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		engine, asked string
		have          []string
		want          string // "version -> build", "=" in front when exact
	}{
		{"redis", "5.0.6", usual, "5.0.6 -> redis-6.0.16"},
		{"redis", "4.0.10", usual, "4.0.10 -> redis-6.0.16"},
		{"redis", "6.0", usual, "=6.0 -> redis-6.0.16"},
		{"redis", "6.2", usual, "6.2 -> redis-7.0.15"},
		{"redis", "6.x", usual, "6.2 -> redis-7.0.15"},
		{"redis", "6.x", []string{"redis-6.0.16"}, "=6.0 -> redis-6.0.16"},
		{"redis", "7.0", usual, "=7.0 -> redis-7.0.15"},
		{"redis", "7.1", usual, "7.1 -> redis-7.0.15"},
		{"redis", "", usual, "7.1 -> redis-7.0.15"},
		{"redis", "", []string{"redis-6.0.16"}, "=6.0 -> redis-6.0.16"},
		{"redis", "7.1", []string{"redis-8.0.2"}, "7.1 -> redis-8.0.2"},
		{"redis", "5.0.6", []string{"redis-5.0.14", "redis-6.0.16"}, "5.0.6 -> redis-5.0.14"},
		{"redis", "5.0.6", []string{"redis-5.0.3", "redis-6.0.16"}, "5.0.6 -> redis-6.0.16"},
		{"redis", "7.0", []string{"redis-7.0.9", "redis-7.0.15", "redis-8.0.2"}, "=7.0 -> redis-7.0.15"},
		{"valkey", "7.2", usual, "7.2 -> valkey-8.1.1"},
		{"valkey", "8.0", usual, "8.0 -> valkey-8.1.1"},
		{"valkey", "8.0", []string{"valkey-8.0.1", "valkey-8.1.1"}, "=8.0 -> valkey-8.0.1"},
		{"valkey", "8.1", usual, "=8.1 -> valkey-8.1.1"},
		{"valkey", "9.0", usual, "9.0 -> valkey-9.1.2"},
		{"valkey", "9.1", usual, "=9.1 -> valkey-9.1.2"},
		{"valkey", "", usual, "=9.1 -> valkey-9.1.2"},
		{"valkey", "", []string{"valkey-8.1.1"}, "=8.1 -> valkey-8.1.1"},
		{"memcached", "1.6.17", usual, "1.6.17 -> memcached-1.6.18"},
		{"memcached", "", usual, "1.6.17 -> memcached-1.6.18"},
	} {
		v, err := installed(t, c.have...).Resolve(c.engine, c.asked)
		if err != nil {
			t.Errorf("%s %q: %v", c.engine, c.asked, err)
			continue
		}
		got := v.Version + " -> " + v.Build.Name
		if v.Exact {
			got = "=" + got
		}
		if got != c.want {
			t.Errorf("%s %q: %s, want %s", c.engine, c.asked, got, c.want)
		}
	}
}

func TestResolveRefuses(t *testing.T) {
	for _, c := range []struct {
		engine, asked string
		have          []string
		kind          error
		says          string
	}{
		{
			"redis", "7.0",
			[]string{"redis-6.0.16", "valkey-9.1.2"},
			catalog.ErrNotInstalled,
			"nothing installed serves redis 7.0 (installed: redis-6.0.16, valkey-9.1.2); run scripts/engines install redis-7.0",
		},
		{"redis", "", nil, catalog.ErrNotInstalled, "serves redis (installed: nothing); run scripts/engines install redis-6.0"},
		{"redis", "6.x", nil, catalog.ErrNotInstalled, "run scripts/engines install redis-6.0"},
		{"valkey", "7.2", nil, catalog.ErrNotInstalled, "run scripts/engines install valkey-8.0"},
		{"valkey", "9.1", []string{"valkey-9.0.4"}, catalog.ErrNotInstalled, "run scripts/engines install valkey-9.1"},
		{"memcached", "1.6.22", usual, catalog.ErrNotInstalled, "run scripts/engines install memcached-1.6.38"},
		{"valkey", "8.2", usual, catalog.ErrCannotServe, "vector search"},
		{"redis", "7.0.15", usual, catalog.ErrUnknown, "major and minor only: 7.0"},
		{"redis", "8.0", usual, catalog.ErrUnknown, "there are 4.0.10, 5.0.6, 6.0, 6.2, 7.0, 7.1"},
		{"redis", "7.x", usual, catalog.ErrUnknown, "redis 7.x"},
		{"valkey", "6.x", usual, catalog.ErrUnknown, "valkey 6.x"},
		{"redict", "7.3", usual, catalog.ErrUnknown, `no engine "redict"`},
	} {
		v, err := installed(t, c.have...).Resolve(c.engine, c.asked)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %q: %v, %v; want %v saying %q", c.engine, c.asked, v, err, c.kind, c.says)
		}
	}
}

func TestVersions(t *testing.T) {
	all := installed(t, append(usual, "memcached-1.6.45")...).Versions()
	for _, v := range all {
		family, known := cache.FamilyOf(v.Engine, v.Version)
		if !known || family != v.Family {
			t.Errorf("%s %s is of family %q, and here of %q", v.Engine, v.Version, family, v.Family)
		}
		again, err := installed(t, append(usual, "memcached-1.6.45")...).Resolve(v.Engine, v.Version)
		if err != nil || again.Build.Name != v.Build.Name {
			t.Errorf("Versions serves %s %s by %s, Resolve by %s, %v", v.Engine, v.Version, v.Build.Name, again.Build.Name, err)
		}
		if v.Build.Engine != v.Engine {
			t.Errorf("%s %s is served by %s", v.Engine, v.Version, v.Build.Name)
		}
	}
	if len(all) < 20 {
		t.Errorf("only %d versions", len(all))
	}
	if got := installed(t).Versions(); got != nil {
		t.Errorf("without engines there are %v", got)
	}
	v, err := installed(t, usual...).Resolve("redis", "6.2")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := v.Description(), "redis version 6.2, served by 7.0.15"; got != want {
		t.Errorf("Description is %q, want %q", got, want)
	}
}

// TestScriptInstallsWhatErrorsSay: an error must not tell to install what the
// script does not know.
func TestScriptInstallsWhatErrorsSay(t *testing.T) {
	script, err := os.ReadFile("../../../scripts/engines")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range catalog.Lines() {
		if !strings.Contains(string(script), "\n"+line+" ") {
			t.Errorf("scripts/engines has no row for %s", line)
		}
	}
}
