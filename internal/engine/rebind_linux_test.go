package engine_test

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
)

// An engine that has just forked cannot have its addresses again until its
// child has closed them, and loses them all: in the middle of a change, or so that
// only the next call finds out. On one processor the child has no chance to be faster.
func TestRebindAfterFork(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		if !build.Rebind {
			t.Skip("cannot rebind")
		}
		spec := b.spec(build, "orders-001")
		p := b.up(spec)
		var one unix.CPUSet
		one.Set(0)
		if err := unix.SchedSetaffinity(p.PID, &one); err != nil {
			t.Skip(err)
		}
		admin := b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret)
		vip := anyHost()
		for _, binds := range [][]string{nil, {vip}} {
			b.deafen(admin, spec.Address)
			spec.Binds = binds
			if err := b.Reconfigure(b.context(), spec); err != nil {
				t.Fatal(err)
			}
			for _, host := range append(binds, spec.Address.Host) {
				b.do(b.client(host, spec.Address.Port), "PING")
			}
			if got := b.configOf(spec)["bind"]; got != joined(spec.Address.Host, binds) {
				t.Fatalf("bind is %q", got)
			}
		}
	})
}

// deafen makes the engine lose the addresses that it listens at.
func (b *bench) deafen(admin *resp.Conn, at cache.Address) {
	b.t.Helper()
	own := at.Host
	for range 50 {
		cmd := resp.AppendCommand(nil, "BGSAVE")
		cmd = resp.AppendCommand(cmd, "CONFIG", "SET", "bind", own+" "+anyHost())
		if err := admin.Send(cmd); err != nil {
			b.t.Fatal(err)
		}
		for range 2 {
			if _, err := admin.Receive(); err != nil {
				b.t.Fatal(err)
			}
		}
		eventually(b.t, "the save is over", func() bool {
			return strings.Contains(b.do(admin, "INFO", "persistence"), "rdb_bgsave_in_progress:0")
		})
		c, err := net.DialTimeout("tcp", addrOf(at), time.Second)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			c.Close()
		}
		b.do(admin, "CONFIG", "SET", "bind", own)
	}
	b.t.Skip("the child was always faster")
}

func joined(own string, binds []string) string {
	for _, b := range binds {
		own += " " + b
	}
	return own
}
