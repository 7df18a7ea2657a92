package engine_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
)

// A node is started, dies, is noticed, is started again and is empty.
func TestLife(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		begin := time.Now()
		p := b.up(spec)
		t.Logf("%s: start to ready %v", build.Name, time.Since(begin))
		same, err := b.Start(b.context(), spec)
		if err != nil || same != p {
			t.Fatalf("a second Start gave %v, %v and not %v", same, err, p)
		}
		b.do(b.client(spec.Address.Host, spec.Address.Port), "SET", "k", "v")
		h, err := b.Probe(b.context(), spec)
		if err != nil || h.Keys != 1 || h.Role != cache.RolePrimary || h.Version != build.Version || h.UsedMemory == 0 {
			t.Fatalf("probe: %+v, %v", h, err)
		}
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		closed(t, "the exit is noticed", b.Exited(p))
		if _, err := b.Probe(b.context(), spec); !errors.Is(err, engine.ErrRefused) {
			t.Fatalf("probe of a dead node: %v", err)
		}
		q := b.up(spec)
		if q == p {
			t.Fatal("the dead process was found again")
		}
		if h, err := b.Probe(b.context(), spec); err != nil || h.Keys != 0 {
			t.Fatalf("after the restart: %+v, %v", h, err)
		}
		b.down(spec, &q)
		b.down(spec, &q)
		b.down(spec, nil)
		mustBeGone(t, q)
		if err := b.Remove(b.context(), spec); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Dir(b.SeedPath(spec))); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the directory is still there: %v", err)
		}
	})
}

func TestAdoption(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		p := b.up(spec)
		b.do(b.client(spec.Address.Host, spec.Address.Port), "SET", "k", "v")
		b.again()
		if ok, err := b.Adopt(b.context(), spec, p); !ok || err != nil {
			t.Fatalf("not adopted: %v, %v", ok, err)
		}
		if h, err := b.AwaitReady(b.context(), spec); err != nil || h.Keys != 1 {
			t.Fatalf("after adoption: %+v, %v", h, err)
		}
		b.again() // and this time it is Start that finds it
		if q, err := b.Start(b.context(), spec); err != nil || q != p {
			t.Fatalf("Start gave %v, %v and not %v", q, err, p)
		}
		b.again() // nor does AwaitReady need to be told
		if _, err := b.AwaitReady(b.context(), spec); err != nil {
			t.Fatal(err)
		}
		b.again()
		if ok, err := b.Adopt(b.context(), spec, p); !ok || err != nil {
			t.Fatalf("not adopted: %v, %v", ok, err)
		}
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		closed(t, "the exit of an adopted node is noticed", b.Exited(p))
		if ok, err := b.Adopt(b.context(), spec, p); ok || err != nil {
			t.Fatalf("a dead one was adopted: %v, %v", ok, err)
		}
	})
}

// A process that the service started and never wrote down is stopped all the same.
func TestStopOfTheUnknown(t *testing.T) {
	b := newBench(t)
	spec := b.spec(b.builds[1], "orders-001")
	p := b.up(spec)
	b.again()
	if err := b.Remove(b.context(), spec); err == nil {
		t.Fatal("the directory of a running node was removed")
	}
	b.down(spec, nil)
	mustBeGone(t, p)
}

// Nothing that an earlier run left is loaded unless somebody owns it.
func TestNoResurrection(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		p := b.up(spec)
		admin := b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret)
		b.do(admin, "SET", "k", "v")
		b.do(admin, "SAVE")
		dir := filepath.Dir(b.SeedPath(spec))
		if _, err := os.Stat(filepath.Join(dir, "dump.rdb")); err != nil {
			t.Fatal(err)
		}
		b.down(spec, &p)
		for _, name := range []string{"appendonly.aof", "temp-77.rdb"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("*1\r\n$4\r\nPING\r\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p = b.up(spec)
		if h, err := b.Probe(b.context(), spec); err != nil || h.Keys != 0 {
			t.Fatalf("it rose from the dead: %+v, %v", h, err)
		}
		for _, name := range []string{"dump.rdb", "appendonly.aof", "temp-77.rdb"} {
			if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
		b.down(spec, &p)
	})
}

// With an append-only file the data is the node's own, and survives.
func TestPersistence(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		spec.Parameters["appendonly"] = "yes"
		spec.Parameters["appendfsync"] = "always"
		p := b.up(spec)
		b.do(b.client(spec.Address.Host, spec.Address.Port), "SET", "k", "v")
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		closed(t, "exit", b.Exited(p))
		p = b.up(spec)
		if h, err := b.Probe(b.context(), spec); err != nil || h.Keys != 1 {
			t.Fatalf("after a kill: %+v, %v", h, err)
		}
		b.do(b.client(spec.Address.Host, spec.Address.Port), "SET", "k2", "v")
		b.down(spec, &p)
		p = b.up(spec)
		if h, err := b.Probe(b.context(), spec); err != nil || h.Keys != 2 {
			t.Fatalf("after a stop: %+v, %v", h, err)
		}
	})
}

// What is on the disk and in the process table is not for others to read.
func TestSecrecy(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		p := b.up(spec)
		if err := b.Reconfigure(b.context(), spec); err != nil {
			t.Fatal(err)
		}
		b.do(b.client(spec.Address.Host, spec.Address.Port), "SET", "k", "v")
		bad := spec
		bad.Secret = strings.Repeat("f00d", 16)
		if _, err := b.Probe(b.context(), bad); !errors.Is(err, engine.ErrLogin) || strings.Contains(err.Error(), bad.Secret) {
			t.Fatalf("probe with a wrong password: %v", err)
		}
		dir := filepath.Dir(b.SeedPath(spec))
		err := filepath.WalkDir(filepath.Join(b.dir, "nodes"), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			fi, err := d.Info()
			if err == nil && fi.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", path, fi.Mode())
			}
			if err == nil && !d.IsDir() && d.Name() != "engine.conf" {
				mustNotHold(t, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		mustNotHold(t, fmt.Sprintf("/proc/%d/cmdline", p.PID))
		mustNotHold(t, fmt.Sprintf("/proc/%d/environ", p.PID))
		if strings.Contains(b.log.String(), secret) {
			t.Error("our log has the secret")
		}
		if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, fi.Mode(), err)
		}
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
		t.Logf("%s: %q, %v", build.Name, cmdline, err)
	})
}

func mustNotHold(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), secret) {
		t.Errorf("%s holds the secret", path)
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	good := b.spec(b.builds[0], "orders-001")
	for what, spoil := range map[string]func(s *cache.NodeSpec){
		"endpoints on an engine that cannot rebind": func(s *cache.NodeSpec) { s.Binds = []string{"127.0.0.9"} },
		"a way out of the data directory":           func(s *cache.NodeSpec) { s.Key = "us-east-1/../../etc" },
		"no region":                                 func(s *cache.NodeSpec) { s.Key = "/x" },
		"dots":                                      func(s *cache.NodeSpec) { s.Key = "../x" },
		"no secret":                                 func(s *cache.NodeSpec) { s.Secret = "" },
		"no address":                                func(s *cache.NodeSpec) { s.Address = cache.Address{} },
		"a line break in an address":                func(s *cache.NodeSpec) { s.Address.Host = "127.0.0.1\nport 1" },
		"cluster mode":                              func(s *cache.NodeSpec) { s.Parameters = map[string]string{"cluster-enabled": "yes"} },
		"a seed that is not there":                  func(s *cache.NodeSpec) { s.Seeded = true },
	} {
		spec := good
		spoil(&spec)
		if _, err := b.Start(b.context(), spec); !errors.Is(err, cache.ErrPermanent) {
			t.Errorf("%s: %v", what, err)
		}
	}
	spec := good
	spec.Build = "redis-1.2.3"
	if _, err := b.Start(b.context(), spec); err == nil || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("an engine that is not there: %v", err)
	}
	if _, err := b.AwaitReady(b.context(), good); !errors.Is(err, engine.ErrNotRunning) {
		t.Errorf("waiting for what was never started: %v", err)
	}
}
