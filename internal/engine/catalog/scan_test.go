package catalog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"holdfast.dev/internal/engine/catalog"
)

func names(c *catalog.Catalog) []string {
	var out []string
	for _, b := range c.Builds() {
		out = append(out, b.Name)
	}
	return out
}

func TestScanBundles(t *testing.T) {
	t.Setenv("PATH", "")
	first, second := t.TempDir(), t.TempDir()
	bundle(t, first, "redis-10.0.1")
	bundle(t, first, "redis-7.0.15")
	bundle(t, second, "redis-7.0.15")
	bundle(t, second, "redis-7.0.9")
	bundle(t, second, ".work.x") // an installation under way
	write(t, filepath.Join(first, "a file"), 0o644, "")
	if err := os.Mkdir(filepath.Join(first, "no bundle"), 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Scan(t.Context(), first, second, filepath.Join(first, "missing"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"redis-7.0.9", "redis-7.0.15", "redis-10.0.1"}, names(c)); diff != "" {
		t.Errorf("builds (-want +got):\n%s", diff)
	}
	if len(c.Problems()) != 0 {
		t.Errorf("problems: %v", c.Problems())
	}
	b, ok := c.Build("redis-7.0.15")
	if want := filepath.Join(first, "redis-7.0.15"); !ok || b.Dir != want || b.Server != want+"/bin/server" || b.CLI != want+"/bin/cli" {
		t.Errorf("found %+v, want the one in the first directory", b)
	}
	if b.Line() != "redis-7.0" || b.Suite != "some" || b.RDBVersion != 10 || !b.Rebind {
		t.Errorf("found %+v", b)
	}
}

func TestScanKeepsProblems(t *testing.T) {
	t.Setenv("PATH", "")
	for says, spoil := range map[string]func(dir string){
		"invalid character": func(dir string) { write(t, dir+"/manifest.json", 0o644, "nothing") },
		"format 2":          func(dir string) { write(t, dir+"/manifest.json", 0o644, `{"format": 2}`) },
		`engine "mongo"`:    func(dir string) { write(t, dir+"/manifest.json", 0o644, `{"format": 1, "engine": "mongo"}`) },
		`version "7.x"`: func(dir string) {
			write(t, dir+"/manifest.json", 0o644, `{"format": 1, "engine": "redis", "version": "7.x"}`)
		},
		"outside of it": func(dir string) {
			write(t, dir+"/manifest.json", 0o644, `{"format": 1, "engine": "redis", "version": "7.0.1", "server": "../../sh"}`)
		},
		"no such file": func(dir string) {
			if err := os.Remove(dir + "/bin/server"); err != nil {
				t.Fatal(err)
			}
		},
		"permission denied": func(dir string) {
			if err := os.Chmod(dir+"/bin/server", 0o644); err != nil {
				t.Fatal(err)
			}
		},
	} {
		dir := t.TempDir()
		bundle(t, dir, "redis-6.0.16")
		bundle(t, dir, "valkey-8.1.1")
		spoil(filepath.Join(dir, "redis-6.0.16"))
		c, err := catalog.Scan(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"valkey-8.1.1"}, names(c)); diff != "" {
			t.Errorf("%s: builds (-want +got):\n%s", says, diff)
		}
		if p := c.Problems(); len(p) != 1 || !strings.Contains(p[0].Error(), says) || !strings.Contains(p[0].Error(), "redis-6.0.16") {
			t.Errorf("problems are %v, want one about redis-6.0.16 saying %q", p, says)
		}
	}
}

func TestScanPath(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	count := filepath.Join(one, "count")
	write(t, filepath.Join(one, "redis-server"), 0o755,
		"#!/bin/sh\necho >>"+count+"\necho 'Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1'\n")
	write(t, filepath.Join(one, "redis-cli"), 0o755, "#!/bin/sh\n")
	// A distribution may ship Valkey under Redis' name.
	write(t, filepath.Join(two, "redis-server"), 0o755, "#!/bin/sh\necho 'Valkey server v=8.1.1 sha=00000000:0 malloc=x bits=64 build=1'\n")
	write(t, filepath.Join(two, "memcached"), 0o755, "#!/bin/sh\necho 'memcached 1.6.18'\n")
	write(t, filepath.Join(two, "valkey-server"), 0o755, "#!/bin/sh\necho broken library >&2; exit 127\n")
	t.Setenv("PATH", one+":relative:/bin:"+two)
	bundles := t.TempDir()
	bundle(t, bundles, "memcached-1.6.18")
	var c *catalog.Catalog
	for range 2 {
		var err error
		if c, err = catalog.Scan(t.Context(), bundles); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"memcached-1.6.18", "redis-7.0.15", "valkey-8.1.1"}, names(c)); diff != "" {
		t.Errorf("builds (-want +got):\n%s", diff)
	}
	if b, _ := c.Build("memcached-1.6.18"); b.Dir == "" {
		t.Error("the one on PATH went before the bundle")
	}
	if b, _ := c.Build("redis-7.0.15"); b.Server != filepath.Join(one, "redis-server") || b.CLI != filepath.Join(one, "redis-cli") {
		t.Errorf("found %+v", b)
	}
	if p := c.Problems(); len(p) != 1 || !strings.Contains(p[0].Error(), "valkey-server --version: exit status 127") {
		t.Errorf("problems are %v", p)
	}
	if asked, err := os.ReadFile(count); err != nil || string(asked) != "\n" {
		t.Errorf("redis-server was asked %d times (%v), want once", len(asked), err)
	}
}

func TestScanFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, 0o644, "")
	if c, err := catalog.Scan(t.Context(), file); err == nil {
		t.Errorf("scanning a file found %v", names(c))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := catalog.Scan(ctx, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled scan returned %v", err)
	}
}

func TestDefaultDir(t *testing.T) {
	t.Setenv("HOME", "/home/someone")
	for _, c := range []struct{ own, data, want string }{
		{"/engines", "/data", "/engines"},
		{"", "/data", "/data/holdfast/engines"},
		{"", "", "/home/someone/.local/share/holdfast/engines"},
		{"", "relative", "/home/someone/.local/share/holdfast/engines"},
	} {
		t.Setenv("HOLDFAST_ENGINES_DIR", c.own)
		t.Setenv("XDG_DATA_HOME", c.data)
		if got, err := catalog.DefaultDir(); err != nil || got != c.want {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
}

func TestReads(t *testing.T) {
	c := installed(t, "redis-6.0.16", "redis-7.0.15", "redis-8.0.2", "valkey-8.1.1", "valkey-9.1.2", "memcached-1.6.18")
	reads := map[string][]int{}
	for _, b := range c.Builds() {
		for _, v := range []int{0, 9, 10, 11, 12, 79, 80, 81} {
			if b.Reads(v) {
				reads[b.Name] = append(reads[b.Name], v)
			}
		}
	}
	want := map[string][]int{
		"redis-6.0.16": {9}, "redis-7.0.15": {9, 10}, "redis-8.0.2": {9, 10, 11, 12},
		"valkey-8.1.1": {9, 10, 11}, "valkey-9.1.2": {9, 10, 11, 80},
	}
	if diff := cmp.Diff(want, reads); diff != "" {
		t.Errorf("RDB versions read (-want +got):\n%s", diff)
	}
}

// TestManifestAnything: whatever stands in a manifest, Scan neither panics nor
// returns a build outside of its bundle.
func TestManifestAnything(t *testing.T) {
	t.Setenv("PATH", "")
	dir := t.TempDir()
	bundle(t, dir, "redis-6.0.16")
	rapid.Check(t, func(rt *rapid.T) {
		part := rapid.SampledFrom([]string{
			"{", "}", `"format": 1`, `"engine": "redis"`, `"version": "6.0.16"`, `"server": "bin/server"`,
			`"server": "/bin/sh"`, `"version": "..."`, `"version": ""`, ",", `"cli": "/etc"`, "\x00", "null", "[]",
		})
		write(t, filepath.Join(dir, "redis-6.0.16", "manifest.json"), 0o644, strings.Join(rapid.SliceOfN(part, 0, 12).Draw(rt, "parts"), ""))
		c, err := catalog.Scan(t.Context(), dir)
		if err != nil {
			rt.Fatal(err)
		}
		if len(c.Builds())+len(c.Problems()) != 1 {
			rt.Fatalf("builds %v, problems %v", c.Builds(), c.Problems())
		}
		for _, b := range c.Builds() {
			if !strings.HasPrefix(b.Server, b.Dir+"/") || b.CLI != "" && !strings.HasPrefix(b.CLI, b.Dir+"/") {
				rt.Fatalf("%+v", b)
			}
		}
	})
}
