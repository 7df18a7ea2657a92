package bridge

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/testkit"
)

// A target whose link is cut again and again goes on from the journal.
func TestTargetCut(t *testing.T) {
	a := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"), quick())
	b := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
	var p *testkit.FaultProxy
	w := write(t, a, 2, true)
	w.more(t, 2000)
	br := start(t, Options{Source: at(a), Target: at(b), segmentSize: 20_000, Announce: func(addr string) string {
		p = testkit.Proxy(t, addr)
		return p.Addr()
	}})
	br.following()
	for range 4 {
		p.CutAfter(testkit.ToClient, 100_000)
		from := br.Status().Acked
		br.until("going on", func(s Status) bool { return s.Acked > from+150_000 })
	}
	if st := br.Status(); len(st.Resyncs) > 0 {
		t.Errorf("it began anew: %q", st.Resyncs)
	}
	br.following()
	br.cutOver(a, b, 0)
}

// A target that lost everything gets everything again, and is right again.
func TestTargetRestarted(t *testing.T) {
	a := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), quick())
	b := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"))
	w := write(t, a, 2, true)
	w.more(t, 2000)
	br := start(t, Options{Source: at(a), Target: at(b)})
	br.following()
	w.more(t, 2000)
	b.Kill()
	w.more(t, 2000)
	b.Restart()
	br.until("the second copy", func(s Status) bool { return len(s.Resyncs) == 1 && s.Phase == PhaseFollow && s.TargetLink })
	br.cutOver(a, b, 0)
}

// A target that its users made a primary is theirs: it is not emptied again.
func TestTargetTakenAway(t *testing.T) {
	a := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), quick())
	b := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"))
	a.Must("SET", "k", "v")
	br := start(t, Options{Source: at(a), Target: at(b)})
	br.following()
	b.Must("REPLICAOF", "NO", "ONE")
	b.Must("SET", "mine", "v")
	err := br.wait()
	br.done <- err
	if err == nil || !strings.Contains(err.Error(), "no longer ours") {
		t.Errorf("%v", err)
	}
	if b.Must("GET", "mine") != "v" {
		t.Error("it was emptied")
	}
}

// A source whose link is cut in the middle of its snapshot, in the stream, and for good
// for a while.
func TestSourceCut(t *testing.T) {
	a := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"), quick(), testkit.Config("repl-backlog-size 64mb"))
	b := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	w := write(t, a, 2, false)
	w.more(t, 5000)
	p := testkit.Proxy(t, a.Addr())
	p.CutAfter(testkit.ToClient, 20_000)
	br := start(t, Options{Source: through(p), Target: at(b)})
	br.following()
	if len(br.Status().Resyncs) == 0 {
		t.Error("the snapshot was not cut")
	}
	before := len(br.Status().Resyncs)
	for range 3 {
		p.CutAfter(testkit.ToClient, 50_000)
		from := br.Status().SourceOffset
		br.until("going on", func(s Status) bool { return s.SourceOffset > from+80_000 && s.SourceLink })
	}
	p.Refuse()
	br.until("noticing", func(s Status) bool { return !s.SourceLink })
	p.Accept()
	br.following()
	if n := len(br.Status().Resyncs); n != before {
		t.Errorf("it began anew: %q", br.Status().Resyncs)
	}
	br.cutOver(a, b, 0)
}

// A bridge that died goes on where it was, the target's parameters are put back by
// the one that ends, and keys that waited for a refresh get it.
func TestKilled(t *testing.T) {
	a := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"), quick(), testkit.Config("repl-backlog-size 64mb"))
	b := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
	dir := t.TempDir()
	opt := Options{Source: at(a), Target: at(b), Dir: dir}
	w := write(t, a, 2, true)
	w.more(t, 2000)
	br := start(t, opt)
	br.following()
	for range 3 {
		w.more(t, 3000)
		if err := br.end(); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if role := b.Info("replication")["role"]; role != "slave" {
			t.Fatalf("the target became a %s", role)
		}
		w.more(t, 3000)
		br = start(t, opt)
		br.following()
		if st := br.Status(); !st.Resumed || len(st.Resyncs) > 0 || st.Keys > 0 {
			t.Errorf("it did not go on: %+v", st)
		}
	}
	if err := New(opt).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another bridge") {
		t.Errorf("a second bridge in the same directory: %v", err)
	}
	br.cutOver(a, b, 0)
	left, err := filepath.Glob(filepath.Join(dir, "*.*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %q, %v", left, err)
	}
}

// A journal that lost its end, as when the machine died, is not gone on with: the
// target is ahead of it.
func TestJournalDamaged(t *testing.T) {
	a := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"), quick())
	b := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
	opt := Options{Source: at(a), Target: at(b), Dir: t.TempDir()}
	w := write(t, a, 2, true)
	w.more(t, 2000)
	br := start(t, opt)
	br.following()
	w.more(t, 2000)
	w.end()
	br.until("all applied", func(s Status) bool { return s.Acked > 0 && s.Lag() == 0 })
	if err := br.end(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(opt.Dir, "*"+dataSuffix))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	f, err := os.OpenFile(files[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 1000), info.Size()-1000); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	br = start(t, opt)
	br.until("the second copy", func(s Status) bool { return len(s.Resyncs) > 0 && s.Phase == PhaseFollow })
	br.cutOver(a, b, 0)
}

// A target that is away for longer than the journal lasts gets everything again.
func TestJournalFull(t *testing.T) {
	a := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), quick())
	b := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	var p *testkit.FaultProxy
	w := write(t, a, 2, false)
	br := start(t, Options{Source: at(a), Target: at(b), JournalLimit: 2 << 20, segmentSize: 100_000, Announce: func(addr string) string {
		p = testkit.Proxy(t, addr)
		return p.Addr()
	}})
	br.following()
	p.Refuse()
	br.until("the end of the journal", func(s Status) bool { return len(s.Resyncs) > 0 })
	p.Accept()
	w.end()
	br.following()
	br.cutOver(a, b, 0)
}

// Hold and Release again and again; what is written in between arrives.
func TestHoldAndRelease(t *testing.T) {
	a := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), quick())
	b := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"))
	w := write(t, a, 2, true)
	br := start(t, Options{Source: at(a), Target: at(b)})
	if err := br.Promote(t.Context()); err == nil {
		t.Error("promoted without a hold")
	}
	for range 3 {
		br.following()
		if err := br.Hold(t.Context()); err != nil {
			t.Fatal(err)
		}
		same(t, a, b, 0)
		if err := br.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.more(t, 2000)
	}
	br.cutOver(a, b, 0)
	w.more(t, 100) // the source takes writes again
}

// What cannot work is refused before the target is touched.
func TestRefusals(t *testing.T) {
	eight, old := testkit.Engine(t, "redis-8.0"), testkit.Engine(t, "redis-6.0")
	plain := testkit.StartServer(t, eight)
	plain.Must("SET", "k", "v")
	ttl := testkit.StartServer(t, eight)
	ttl.Must("HSET", "h", "f", "v")
	ttl.Must("HEXPIRE", "h", "1000", "FIELDS", "1", "f")
	lib := testkit.StartServer(t, eight)
	lib.Must("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() return 1 end)")
	far := testkit.StartServer(t, eight)
	far.Must("SELECT", 12)
	far.Must("SET", "k", "v")
	valkey, six := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1")), testkit.StartServer(t, old)
	small := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Config("databases 10"))
	denied := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Config(`rename-command REPLICAOF ""`))
	for _, tc := range []struct {
		a, b *testkit.Server
		want string
		is   error
	}{
		{valkey, plain, "not empty", sink.ErrNoReplicaOf},
		{plain, denied, "REPLICAOF", sink.ErrNoReplicaOf},
		{ttl, valkey, "field TTLs", nil},
		{lib, six, "functions", nil},
		{far, small, "databases", nil},
		{valkey, valkey, "same server", nil},
	} {
		err := New(Options{Source: at(tc.a), Target: at(tc.b), Dir: t.TempDir()}).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), tc.want) || tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%s: %v", tc.want, err)
		}
		if role := tc.b.Info("replication")["role"]; role != "master" {
			t.Errorf("%s: the target is a %s", tc.want, role)
		}
	}
}

// What turns up only in the stream, and cannot be carried, ends the bridge with its name;
// Abandon then lets the target go.
func TestWhatCannotBeCarried(t *testing.T) {
	a := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"), quick())
	b := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	a.Must("SET", "k", "v")
	opt := Options{Source: at(a), Target: at(b), Dir: t.TempDir()}
	br := start(t, opt)
	br.following()
	a.Must("HSET", "with", "f", "v")
	a.Must("HEXPIRE", "with", "1000", "FIELDS", "1", "f")
	err := br.wait()
	br.done <- err
	if err == nil || !strings.Contains(err.Error(), `key "with"`) || !strings.Contains(err.Error(), "field TTLs") {
		t.Errorf("%v", err)
	}
	if err := New(opt).Abandon(t.Context()); err != nil {
		t.Fatal(err)
	}
	if role := b.Info("replication")["role"]; role != "master" {
		t.Errorf("the target is a %s", role)
	}
	if v := b.Must("GET", "k"); v != "v" {
		t.Errorf("it holds %v", v)
	}
	if auth := b.Must("CONFIG", "GET", "masterauth").([]any)[1]; auth != "" {
		t.Error("masterauth was not put back")
	}
}

// An idle bridge lives: the target hears from us though the source says nothing.
func TestIdle(t *testing.T) {
	a := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"), quick(), testkit.Config("repl-ping-replica-period 3600"))
	b := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), testkit.Config("repl-timeout 2"))
	a.Must("SET", "k", "v")
	br := start(t, Options{Source: at(a), Target: at(b), idle: 200 * time.Millisecond})
	br.following()
	began := time.Now()
	from := br.Status().JournalEnd
	br.until("a sign of life", func(s Status) bool { return s.JournalEnd > from && time.Since(began) > 4*time.Second })
	br.cutOver(a, b, 0)
}
