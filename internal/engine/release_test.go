package engine_test

import (
	"errors"
	"strconv"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// TestAFormerLetsGo: while the former primary lives the new one answers in its place, with
// all that was acknowledged, for the former has neither clients nor addresses any more; and
// then it dies, whoever waits for that.
func TestAFormerLetsGo(t *testing.T) {
	replacements(t, func(t *testing.T, b *bench, old, next catalog.Build) {
		if !old.Rebind {
			t.Skip("cannot rebind")
		}
		spec := b.spec(old, "orders-001")
		vip := anyHost()
		spec.Binds = []string{vip}
		process := b.up(spec)
		at, after := b.beside(spec, next, "orders-001.1")
		b.up(at)
		acked, stop := b.writer(vip, spec.Address.Port)
		eventually(t, "it writes", func() bool { return acked.Load() > 50 })
		n := 0
		err := b.Release(b.context(), spec, process, func(offset int64) error {
			n = stop()
			for _, host := range []string{spec.Address.Host, vip} {
				if _, err := resp.Dial(b.context(), resp.Options{Addr: joinedPort(host, spec.Address.Port)}); err == nil {
					t.Errorf("it answers at %s", host)
				}
			}
			eventually(t, "the new one has everything", func() bool {
				h, err := b.Probe(b.context(), at)
				return err == nil && h.Offset >= offset
			})
			if _, err := b.TakeOver(b.context(), after, at.Address); err != nil {
				return err
			}
			return syscall.Kill(process.PID, 0) // it lives
		})
		if err != nil {
			t.Fatal(err)
		}
		closed(t, "the former dies", b.Exited(process))
		for _, host := range []string{spec.Address.Host, vip} {
			c := b.client(host, spec.Address.Port)
			for i := range n {
				if got := b.do(c, "GET", "n:"+strconv.Itoa(i)); got != strconv.Itoa(i) {
					t.Fatalf("at %s number %d of %d acknowledged writes is %q", host, i, n, got)
				}
			}
		}
	})
}

// TestOneThatLetGoComesBack: it serves again if what it has is not with the new one; and
// until then another run of the service knows why it answers nobody.
func TestOneThatLetGoComesBack(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		if !build.Rebind {
			t.Skip("cannot rebind")
		}
		spec := b.spec(build, "orders-001")
		spec.Binds = []string{anyHost()}
		process := b.up(spec)
		released := func() bool {
			t.Helper()
			// Another run of the service, beside the one that may be in the midst of it.
			e := engine.New(engine.Config{DataDir: b.dir, Supervisor: b.sup, Catalog: testkit.Catalog(t), Authority: b.authority})
			defer e.Close()
			if alive, err := e.Adopt(b.context(), spec, process); !alive || err != nil {
				t.Fatalf("it lives: %t (%v)", alive, err)
			}
			gone, err := e.Released(b.context(), spec, process)
			if err != nil {
				t.Fatal(err)
			}
			return gone
		}
		if released() {
			t.Error("one that serves has let go")
		}
		behind := errors.New("it is behind")
		err := b.Release(b.context(), spec, process, func(int64) error {
			if !released() {
				t.Error("another run of the service does not know that it has let go")
			}
			return behind
		})
		if !errors.Is(err, behind) {
			t.Fatalf("it says %v", err)
		}
		for _, host := range []string{spec.Address.Host, spec.Binds[0]} {
			b.do(b.client(host, spec.Address.Port), "SET", "key", "1")
		}
		if released() {
			t.Error("one that serves again has let go")
		}
		// One that lost its addresses otherwise may have clients that write.
		c := b.client(spec.Address.Host, spec.Address.Port)
		b.do(b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret), "CONFIG", "SET", "bind", "")
		b.again()
		if released() {
			t.Error("one that was not asked to has let go")
		}
		b.do(c, "SET", "key", "2")
		if _, err := b.Freeze(b.context(), spec, time.Second); !errors.Is(err, engine.ErrRefused) {
			t.Errorf("it says %v", err)
		}
	})
}

func joinedPort(host string, port int) string { return host + ":" + strconv.Itoa(port) }
