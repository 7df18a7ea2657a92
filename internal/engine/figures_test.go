package engine_test

import (
	"errors"
	"strconv"
	"syscall"
	"testing"

	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
)

// TestFigures: they are those of the node's own process, over one connection, whatever
// becomes of the process.
func TestFigures(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		p := b.up(spec)
		m := b.NewMeter()
		defer func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}()
		read := func() map[string]string {
			t.Helper()
			f, err := m.Read(b.context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		f := read()
		if f["process_id"] != strconv.Itoa(p.PID) || f["cmdstat_info"] == "" || f["keyspace_hits"] != "0" {
			t.Errorf("it says %v", f)
		}
		if again := read(); again["total_connections_received"] != f["total_connections_received"] {
			t.Errorf("it had %s connections and has %s", f["total_connections_received"], again["total_connections_received"])
		}

		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		closed(t, "the exit is noticed", b.Exited(p))
		if _, err := m.Read(b.context(), spec); !errors.Is(err, engine.ErrRefused) {
			t.Errorf("figures of a dead node: %v", err)
		}
		q := b.up(spec)
		if f := read(); f["process_id"] != strconv.Itoa(q.PID) {
			t.Errorf("it says process %s and is %d", f["process_id"], q.PID)
		}
	})
}
