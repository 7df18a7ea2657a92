package testkit

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"holdfast.dev/internal/engine/catalog"
)

// Lines are the engine lines that tests run against.
var Lines = []string{"redis-6.0", "redis-7.0", "valkey-8.1", "valkey-9.1"}

// Catalog returns what is installed on this machine, scanned once per process.
func Catalog(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := scan()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var scan = sync.OnceValues(func() (*catalog.Catalog, error) { return catalog.Scan(context.Background()) })

// Engine returns the newest installed build of a line ("redis-7.0") or full
// version ("redis-7.0.15"). Without one the test is skipped, loudly, or fails
// where CI is set.
func Engine(t testing.TB, name string) catalog.Build {
	t.Helper()
	var found catalog.Build
	for _, b := range Catalog(t).Builds() { // oldest first
		if strings.HasPrefix(b.Name+".", name+".") {
			found = b
		}
	}
	if found.Name != "" {
		return found
	}
	const missing = "ENGINE MISSING: %s; run scripts/engines install %s"
	if os.Getenv("CI") != "" {
		t.Fatalf(missing, name, name)
	}
	t.Skipf(missing, name, name)
	return found
}

// Engines returns a build for each of Lines, oldest engine first.
func Engines(t testing.TB) []catalog.Build {
	t.Helper()
	var all []catalog.Build
	for _, name := range Lines {
		all = append(all, Engine(t, name))
	}
	return all
}

// EachEngine runs a subtest for each of Lines; a missing one skips only its own.
func EachEngine(t *testing.T, f func(t *testing.T, b catalog.Build)) {
	t.Helper()
	for _, name := range Lines {
		t.Run(name, func(t *testing.T) { f(t, Engine(t, name)) })
	}
}
