package monitor

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/proc"
	"holdfast.dev/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a monitor over real engines: the first leads and the others follow it.
type stage struct {
	t       testing.TB
	servers []*testkit.Server
	nodes   []Node

	mu     sync.Mutex
	said   []string
	fenced []string
	silent map[string]bool
}

const password = "not a secret"

func newStage(t testing.TB, replicas int, more ...testkit.Option) *stage {
	s := &stage{t: t, silent: map[string]bool{}}
	for i := range replicas + 1 {
		opts := []testkit.Option{testkit.Password(password), testkit.Config("enable-debug-command yes", "busy-reply-threshold 0")}
		opts = append(opts, more...)
		if i > 0 {
			opts = append(opts, testkit.ReplicaOf(s.servers[0]))
		}
		server := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), opts...)
		n := Node{
			Key: fmt.Sprintf("r/n%d", i), Process: identity(t, server.Pid()), Leads: i == 0, Ready: true,
			Login: cache.Login{Address: cache.Address{Host: server.Host, Port: server.Port}, User: "default", Password: password},
		}
		if i > 0 {
			server.WaitLink()
			n.Follows = "r/n0"
		}
		s.servers, s.nodes = append(s.servers, server), append(s.nodes, n)
	}
	return s
}

// identity is what the kernel knows a process by.
func identity(t testing.TB, pid int) cache.Process {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skipf("this test needs Linux: %v", err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	start, err := strconv.ParseUint(strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))[19], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return cache.Process{PID: pid, StartTime: start, BootID: strings.TrimSpace(string(boot))}
}

// run starts a monitor, which ends with the test.
func (s *stage) run() {
	m := New(Config{Hands: s, Changed: changedOnce(), Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
}

// heard waits until a node has been asked something: one that never was is not missed so soon.
func (s *stage) heard(i int) {
	s.t.Helper()
	s.until("the node is asked", func() bool { return strings.Contains(fmt.Sprint(s.servers[i].Must("CLIENT", "LIST")), "cmd=ping") })
}

// keeps has the primary do something that takes seconds, over and over until an event
// tells of it: on a full machine the monitor comes late now and then, and what it missed
// does not count.
func (s *stage) keeps(event string, cmd ...any) {
	s.t.Helper()
	told, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			_, _ = s.servers[0].Try(cmd...) // it is answered when it is over, or the engine is
			select {
			case <-told:
				return
			default:
			}
		}
	}()
	s.t.Cleanup(func() { <-done })
	defer close(told)
	s.hears(event)
}

func changedOnce() chan struct{} {
	c := make(chan struct{}, 1)
	c <- struct{}{}
	return c
}

func (s *stage) signal(i int, sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.nodes[i].Process.PID, sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) Nodes(context.Context) ([]Node, error) { return slices.Clone(s.nodes), nil }

func (s *stage) Look(p cache.Process) (Sight, error) {
	l, err := proc.LookAt(proc.Ref{PID: p.PID, StartTime: p.StartTime, BootID: p.BootID})
	return Sight{byte(l.State), l.CPU, l.CPUKnown}, err
}

func (s *stage) Link(_ context.Context, n Node) (bool, int64, error) {
	for i := range s.nodes {
		if s.nodes[i].Key == n.Key {
			in := s.servers[i].Info("replication")
			offset, err := strconv.ParseInt(in["slave_repl_offset"], 10, 64)
			return in["master_link_status"] == "up", offset, err
		}
	}
	return false, 0, os.ErrNotExist
}

func (s *stage) Fence(_ context.Context, n Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fenced = append(s.fenced, n.Key)
	return syscall.Kill(n.Process.PID, syscall.SIGKILL)
}

func (s *stage) Silence(_ context.Context, n Node, silent bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent[n.Key] = silent
	return nil
}

func (s *stage) Tell(_ context.Context, n Node, message string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, n.Key+": "+message)
	return nil
}

func (s *stage) until(what string, is func() bool) {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * time.Minute); ; <-tick.C {
		s.mu.Lock()
		ok, said, fenced := is(), slices.Clone(s.said), slices.Clone(s.fenced)
		s.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s: it did not happen; ended %v, events %q", what, fenced, said)
		}
	}
}

// hears waits for an event.
func (s *stage) hears(part string) {
	s.t.Helper()
	s.until("an event says "+part, func() bool {
		return slices.ContainsFunc(s.said, func(e string) bool { return strings.Contains(e, part) })
	})
}

// unharmed: nobody was ended, and each thing was said once.
func (s *stage) unharmed() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fenced) > 0 {
		s.t.Errorf("%v were ended; events %q", s.fenced, s.said)
	}
	said := slices.Clone(s.said)
	slices.Sort(said)
	if len(slices.Compact(said)) != len(s.said) {
		s.t.Errorf("something was said twice: %q", s.said)
	}
}

func TestAStoppedPrimaryIsEndedWhereAReplicaHasItsData(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1)
	s.run()
	s.heard(0)
	s.signal(0, syscall.SIGSTOP)
	s.until("it is ended", func() bool { return slices.Equal(s.fenced, []string{"r/n0"}) })
	s.hears("r/n0: Cache node 0001 did not answer (its process is stopped) and was stopped")
}

// The record of a replica that has its data lags behind a moment.
func TestAStoppedPrimaryIsEndedForAReplicaThatIsNotWrittenDownAsReady(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1)
	s.nodes[1].Ready = false
	s.run()
	s.heard(0)
	s.signal(0, syscall.SIGSTOP)
	s.until("it is ended", func() bool { return slices.Equal(s.fenced, []string{"r/n0"}) })
}

func TestAStoppedNodeThatStandsAloneIsLeft(t *testing.T) {
	t.Parallel()
	s := newStage(t, 0)
	s.run()
	s.heard(0)
	s.signal(0, syscall.SIGSTOP)
	s.hears("No replica could take over, so it is left as it is")
	s.signal(0, syscall.SIGCONT)
	s.hears("Cache node 0001 answers again after")
	s.unharmed()
}

func TestBothOfAPairStoppedAreLeft(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1)
	s.run()
	s.heard(0)
	s.heard(1)
	s.signal(1, syscall.SIGSTOP)
	s.until("no reader is sent to the replica", func() bool { return s.silent["r/n1"] })
	s.signal(0, syscall.SIGSTOP)
	s.until("the replica is ended, the primary is not", func() bool {
		if slices.Contains(s.fenced, "r/n0") {
			t.Error("the only one that has the data was ended")
		}
		return slices.Contains(s.fenced, "r/n1")
	})
	s.signal(0, syscall.SIGCONT)
}

// A replica that was ready once and has lost its link has less than the primary.
func TestAStoppedPrimaryIsLeftWhereItsReplicaIsCutOff(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1)
	s.servers[1].Must("REPLICAOF", "127.0.0.1", "1")
	s.run()
	s.heard(0)
	s.heard(1)
	s.signal(0, syscall.SIGSTOP)
	s.hears("No replica could take over, so it is left as it is")
	s.signal(0, syscall.SIGCONT)
	s.hears("Cache node 0001 answers again after")
	s.unharmed()
}

func TestABusyPrimaryIsLeft(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1)
	s.run()
	s.heard(0)
	s.keeps("r/n0: Cache node 0001 is busy and answers nobody",
		"EVAL", "local t = os.clock() + 5 while os.clock() < t do end return 1", "0") // for scripts TIME stands still
	s.hears("Cache node 0001 answers again after")
	s.unharmed()
}

func TestASleepingPrimaryIsLeft(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1)
	s.run()
	s.heard(0)
	s.keeps("r/n0: Cache node 0001 does not answer, and whether it ever will cannot be told: its process sleeps", "DEBUG", "SLEEP", "5")
	s.hears("Cache node 0001 answers again after")
	s.unharmed()
}

func TestAStoppedReplicaGetsNoReadersAndIsEndedLater(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1)
	s.run()
	s.heard(1)
	s.signal(1, syscall.SIGSTOP)
	s.until("no reader is sent to it", func() bool { return s.silent["r/n1"] && len(s.fenced) == 0 })
	s.signal(1, syscall.SIGCONT)
	s.until("readers are sent to it", func() bool { return !s.silent["r/n1"] })
	s.unharmed()
	s.signal(1, syscall.SIGSTOP)
	s.until("it is ended", func() bool { return slices.Equal(s.fenced, []string{"r/n1"}) })
}

// What this process missed while it stood still is not held against a node.
func TestOurOwnSilenceIsForgiven(t *testing.T) {
	now := time.Now()
	w := &watched{Node: Node{Leads: true, Ready: true}, line: line{fd: -1}, owed: now.Add(-time.Hour), moved: now.Add(-time.Hour), view: LinkDown}
	m := New(Config{})
	m.nodes = []*watched{w}
	m.forgive(now, time.Minute)
	if w.owed != now || !w.moved.IsZero() || w.view != NotAsked {
		t.Errorf("it is held against the node: %+v", w)
	}
}

// BenchmarkTwoHundredGroups prints what watching 400 nodes costs of one processor. They
// are connections to one engine: what engines do for it is not counted.
func BenchmarkTwoHundredGroups(b *testing.B) {
	s := newStage(b, 0)
	one := s.nodes[0]
	s.nodes = nil
	for i := range 400 {
		n := one
		n.Key, n.Leads = fmt.Sprintf("r/n%d", i), i%2 == 0
		s.nodes = append(s.nodes, n)
	}
	s.run()
	s.until("all are connected", func() bool {
		in := s.servers[0].Info("clients")["connected_clients"]
		n, err := strconv.Atoi(in)
		return err == nil && n > 400
	})
	used := func() time.Duration {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	const span = 5 * time.Second
	for b.Loop() {
		before, timer := used(), time.NewTimer(span)
		<-timer.C
		b.ReportMetric(float64(used()-before)/float64(span)*100, "%core")
	}
}
