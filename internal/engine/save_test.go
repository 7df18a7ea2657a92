package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
)

// joined asks a node for its data as a replica would, and takes only what begins
// it. A port of 0 is not announced.
func (b *bench) joined(spec cache.NodeSpec, port int) *resp.Conn {
	b.t.Helper()
	c := b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret)
	if port != 0 {
		b.do(c, "REPLCONF", "listening-port", fmt.Sprint(port))
	}
	b.do(c, "REPLCONF", "capa", "eof", "capa", "psync2")
	if err := c.Send(resp.AppendCommand(nil, "PSYNC", "?", "-1")); err != nil {
		b.t.Fatal(err)
	}
	return c
}

// busySaving is a node whose child takes for ever.
func (b *bench) busySaving(build catalog.Build, port int) (cache.NodeSpec, *resp.Conn) {
	b.t.Helper()
	spec := b.spec(build, "saving")
	b.up(spec)
	admin := b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret)
	b.do(admin, "CONFIG", "SET", "rdb-key-save-delay", "1000000")
	for i := range 200 {
		b.do(admin, "SET", fmt.Sprint("key", i), strings.Repeat("x", 1000))
	}
	conn := b.joined(spec, port)
	eventually(b.t, "the child is at work", func() bool { return b.saving(spec) })
	return spec, conn
}

func (b *bench) saving(spec cache.NodeSpec) bool {
	b.t.Helper()
	h, err := b.Probe(b.context(), spec)
	if err != nil {
		b.t.Fatal(err)
	}
	return h.Saving
}

func TestASaveWhoseReaderHasGoneEnds(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec, conn := b.busySaving(build, 0)
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if err := b.EndSave(b.context(), spec); err != nil {
			t.Fatal(err)
		}
		if b.saving(spec) {
			t.Error("a child is there still")
		}
	})
}

// TestASaveThatDoesNotEndIsEnded: the reader has not gone in the eyes of the
// engine, so that it does nothing by itself.
func TestASaveThatDoesNotEndIsEnded(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec, _ := b.busySaving(build, 0)
		if err := b.EndSave(b.context(), spec); err != nil {
			t.Fatal(err)
		}
		if b.saving(spec) {
			t.Error("a child is there still")
		}
		c := b.client(spec.Address.Host, spec.Address.Port)
		if got := b.do(c, "SET", "still", "writable"); got != "OK" {
			t.Errorf("the node answers %q", got)
		}
	})
}

func TestASaveForAReplicaIsLeftAlone(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec, _ := b.busySaving(build, 7777)
		if err := b.EndSave(b.context(), spec); !errors.Is(err, engine.ErrShared) {
			t.Errorf("%v", err)
		}
		if !b.saving(spec) {
			t.Error("the child of a replica was ended")
		}
	})
}
