package bridge

import (
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

// Pairs that do, and pairs that do not, replicate to each other: under writers, the
// target is the same as the source when writes are held, and becomes a primary.
func TestBridge(t *testing.T) {
	for _, tc := range []struct {
		from, to  string
		fieldTTLs bool
		tolerance time.Duration
	}{
		{"redis-8.0", "valkey-9.1", true, 0},
		{"valkey-9.1", "redis-8.0", true, 0},
		{"redis-7.0", "valkey-9.1", false, 0},
		{"redis-6.0", "redis-8.0", false, time.Second}, // 6.0 does not tell exact expiries
		{"redis-7.0", "redis-6.0", false, time.Second},
		{"valkey-8.1", "redis-7.0", false, 0},
	} {
		t.Run(tc.from+" to "+tc.to, func(t *testing.T) {
			a := testkit.StartServer(t, testkit.Engine(t, tc.from), quick())
			b := testkit.StartServer(t, testkit.Engine(t, tc.to))
			w := write(t, a, 4, tc.fieldTTLs)
			w.more(t, 4000)
			br := start(t, Options{Source: at(a), Target: at(b)})
			br.following()
			w.more(t, 10_000)
			br.cutOver(a, b, tc.tolerance)
			if br.Status().Refreshed == 0 && tc.fieldTTLs {
				t.Error("no key was refreshed")
			}
		})
	}
}
