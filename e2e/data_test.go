package e2e

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

// began fixes the expiry times of made-up data, so that every test of a run has the same.
var began = time.Now()

const databases = 2

// fill writes keys of every type into two databases of a server.
func fill(t *testing.T, to string, keys int64) {
	t.Helper()
	shape, err := source.Preset("mixed", began)
	if err != nil {
		t.Fatal(err)
	}
	shape.Keys, shape.Databases = keys, databases
	src, err := source.NewGenerate(shape)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := sink.NewServer(t.Context(), resp.Options{Addr: to}, sink.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stats, err := flow.Run(t.Context(), src, dst, flow.Options{})
	if err != nil || stats.Keys != keys {
		t.Fatalf("%d of %d keys written: %v", stats.Keys, keys, err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
}

// same fails the test unless two servers hold the same keys. Expiries may
// differ by what engines before Redis 7.0 do not tell.
func same(t *testing.T, a, b string, keys int64, tolerance time.Duration) {
	t.Helper()
	ends := [2]verify.End{liveEnd(t, a), liveEnd(t, b)}
	r, err := verify.Compare(t.Context(), ends[0], ends[1], verify.CompareOptions{Limit: 5, Tolerance: tolerance})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Equal || r.A.Totals().Keys != keys {
		t.Fatalf("%s has %d keys and %s %d, %d are wanted: %s %v",
			a, r.A.Totals().Keys, b, r.B.Totals().Keys, keys, r.Verdict(), r.Differences)
	}
}

func liveEnd(t *testing.T, at string) verify.End {
	again := source.NewScan(resp.Options{Addr: at}, source.ScanOptions{})
	t.Cleanup(func() { _ = again.Close() }) // it only hangs up
	return verify.End{
		Name: at,
		Open: func(context.Context) (flow.Source, error) {
			return source.NewScan(resp.Options{Addr: at}, source.ScanOptions{}), nil
		},
		Recheck: again.Lookup,
	}
}

// fingerprint of everything that a server holds.
func fingerprint(t *testing.T, at string) string {
	t.Helper()
	f, err := tryFingerprint(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func tryFingerprint(ctx context.Context, at string) (string, error) {
	src := source.NewScan(resp.Options{Addr: at}, source.ScanOptions{})
	defer src.Close()
	f, err := verify.Compute(ctx, src, verify.Options{})
	if err != nil {
		return "", err
	}
	return f.String(), nil
}

// reference is the fingerprint of the made-up data itself, computed once for each size.
func reference(t *testing.T, keys int64) string {
	t.Helper()
	references.Lock()
	defer references.Unlock()
	if f := references.of[keys]; f != "" {
		return f
	}
	shape, err := source.Preset("mixed", began)
	if err != nil {
		t.Fatal(err)
	}
	shape.Keys, shape.Databases = keys, databases
	src, err := source.NewGenerate(shape)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	f, err := verify.Compute(t.Context(), src, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	references.of[keys] = f.String()
	return f.String()
}

var references = struct {
	sync.Mutex
	of map[int64]string
}{of: map[int64]string{}}

// wantData waits for a server that answers, and fails the test unless it holds
// exactly the made-up data.
func wantData(t *testing.T, at string, keys int64) {
	t.Helper()
	if got, want := fingerprint(t, at), reference(t, keys); got != want {
		t.Fatalf("%s has fingerprint %s, want %s", at, got, want)
	}
}

// redis is one connection to an engine.
func redis(t *testing.T, at string) *resp.Conn {
	t.Helper()
	c, err := resp.Dial(t.Context(), resp.Options{Addr: at})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // it only hangs up
	return c
}

// ask sends one command and returns the reply as text.
func ask(t *testing.T, c *resp.Conn, args ...string) string {
	t.Helper()
	r, err := c.Do(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return text(r)
}

// try is ask on a connection of its own, with the error.
func try(ctx context.Context, at string, args ...string) (string, error) {
	c, err := resp.Dial(ctx, resp.Options{Addr: at, DialTimeout: 10 * time.Second, Timeout: 20 * time.Second})
	if err != nil {
		return "", err
	}
	defer c.Close()
	r, err := c.Do(ctx, args...)
	if err != nil {
		return "", err
	}
	return text(r), nil
}

// text is a reply for people.
func text(r *resp.Reply) string {
	switch {
	case r.IsNull():
		return "(nil)"
	case r.Kind == resp.Int:
		return strconv.FormatInt(r.Int, 10)
	}
	return string(r.Bytes)
}
