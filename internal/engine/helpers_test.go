package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/authority"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/proc"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

func builds(t testing.TB) []catalog.Build { return testkit.Engines(t) }

// bench is Engines on a data directory of its own.
type bench struct {
	*engine.Engines
	t      testing.TB
	dir    string
	sup    *proc.Supervisor
	builds []catalog.Build
	log    *strings.Builder

	authority *authority.Authority
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), builds: builds(t), log: &strings.Builder{}}
	b.open()
	t.Cleanup(func() {
		refs, err := b.sup.List(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, ref := range refs {
			if err := b.sup.Kill(context.Background(), ref); err != nil {
				t.Error(err)
			}
		}
		b.close()
	})
	return b
}

func (b *bench) open() {
	b.t.Helper()
	log := slog.New(slog.NewTextHandler(b.log, nil))
	sup, err := proc.New(proc.Options{Dir: filepath.Join(b.dir, "run"), Logger: log})
	if err != nil {
		b.t.Fatal(err)
	}
	b.sup = sup
	b.authority, err = authority.Open(filepath.Join(b.dir, "authority"), time.Now)
	if err != nil {
		b.t.Fatal(err)
	}
	b.Engines = engine.New(engine.Config{DataDir: b.dir, Supervisor: sup, Catalog: testkit.Catalog(b.t), Log: log, Authority: b.authority})
}

func (b *bench) close() {
	b.t.Helper()
	if err := b.Engines.Close(); err != nil {
		b.t.Error(err)
	}
	if err := b.sup.Close(); err != nil {
		b.t.Error(err)
	}
}

// again is a restart of the service: everything that was remembered is lost.
func (b *bench) again() {
	b.t.Helper()
	b.close()
	b.open()
}

// spec is a node of its own group, at addresses that nobody uses.
func (b *bench) spec(build catalog.Build, id string) cache.NodeSpec {
	host := anyHost()
	return cache.NodeSpec{
		Key: "us-east-1/" + id, Build: build.Name, Secret: secret,
		Address: cache.Address{Host: host, Port: testkit.FreePort(b.t)}, Parameters: map[string]string{},
	}
}

const secret = "5ec7e7d15ec7e7d15ec7e7d15ec7e7d15ec7e7d15ec7e7d15ec7e7d15ec7e7d1"

func anyHost() string {
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
}

// patience bounds every wait; on a busy machine all take longer.
const patience = 90 * time.Second

// context ends long before the test's own limit does.
func (b *bench) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	b.t.Cleanup(cancel)
	return ctx
}

// up starts a node and waits until it serves.
func (b *bench) up(spec cache.NodeSpec) cache.Process {
	b.t.Helper()
	p, err := b.Start(b.context(), spec)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.AwaitReady(b.context(), spec); err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bench) down(spec cache.NodeSpec, p *cache.Process) {
	b.t.Helper()
	if err := b.Stop(b.context(), spec, p); err != nil {
		b.t.Fatal(err)
	}
}

// client is a customer's connection.
func (b *bench) client(host string, port int) *resp.Conn {
	b.t.Helper()
	return b.login(host, port, "", "")
}

func (b *bench) login(host string, port int, user, password string) *resp.Conn {
	b.t.Helper()
	c, err := resp.Dial(b.context(), resp.Options{Addr: fmt.Sprintf("%s:%d", host, port), Username: user, Password: password})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	return c
}

// do sends a command and returns the reply's text.
func (b *bench) do(c *resp.Conn, args ...string) string {
	b.t.Helper()
	r, err := c.Do(b.context(), args...)
	if err != nil {
		b.t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	if r.Kind == resp.Int {
		return fmt.Sprint(r.Int)
	}
	return string(r.Bytes)
}

// eventually polls until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(2 * time.Millisecond); ; <-tick.C {
		if f() {
			tick.Stop()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

// closed waits for a channel to be closed.
func closed(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("did not happen: %s", what)
	}
}

// each runs a test on every engine.
func each(t *testing.T, f func(t *testing.T, b *bench, build catalog.Build)) {
	for _, build := range builds(t) {
		t.Run(build.Name, func(t *testing.T) { f(t, newBench(t), build) })
	}
}

// mustBeGone: a zombie, which a child of an earlier supervisor becomes here, counts as gone.
func mustBeGone(t testing.TB, p cache.Process) {
	t.Helper()
	if proc.Alive(proc.Ref{PID: p.PID, StartTime: p.StartTime, BootID: p.BootID}) {
		t.Fatalf("process %d is still there", p.PID)
	}
}

func contextFor(b *bench, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.context(), d)
}

func addrOf(a cache.Address) string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

func isPermanent(err error) bool { return errors.Is(err, cache.ErrPermanent) }
