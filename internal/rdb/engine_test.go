package rdb_test

import (
	"fmt"
	"strings"
	"testing"

	"holdfast.dev/internal/testkit"
)

// engine is a running server.
type engine struct {
	*testkit.Server
	t testing.TB
}

func startEngine(t testing.TB, line string, opts ...testkit.Option) *engine {
	t.Helper()
	return &engine{testkit.StartServer(t, testkit.Engine(t, line), opts...), t}
}

// engineLines are the lines that the other tests use, and those that are not
// required but understood: Redis 8 brought type bytes that no other has.
func engineLines(t testing.TB) []string {
	lines := append([]string(nil), testkit.Lines...)
	for _, extra := range []string{"redis-8.0", "valkey-8.0"} {
		found := false
		for _, b := range testkit.Catalog(t).Builds() {
			found = found || strings.HasPrefix(b.Name, extra+".")
		}
		if !found {
			t.Logf("ENGINE MISSING: %s is not installed and not tested here", extra)
			continue
		}
		lines = append(lines, extra)
	}
	return lines
}

// words sends a command given as one line of words.
func (e *engine) words(line string) any {
	e.t.Helper()
	var args []any
	for _, w := range strings.Fields(line) {
		args = append(args, w)
	}
	return e.Must(args...)
}

func (e *engine) strings(args ...any) []string {
	e.t.Helper()
	list, _ := e.Must(args...).([]any)
	out := make([]string, len(list))
	for i := range list {
		out[i] = fmt.Sprint(list[i])
	}
	return out
}
