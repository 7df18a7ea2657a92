package source_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// faulty is a world that is followed through a proxy.
func faulty(t *testing.T, line string, writers int, opts ...testkit.Option) (*world, *testkit.Server, *testkit.FaultProxy, resp.Options) {
	t.Helper()
	w := newWorld(t, testkit.Engine(t, line), opts...)
	dst := testkit.StartServer(t, w.srv.Build)
	p := testkit.Proxy(t, w.srv.Addr())
	w.write(writers)
	return w, dst, p, resp.Options{Addr: p.Addr(), Timeout: 20 * time.Second}
}

// Connections are cut, whichever and whenever: in the handshake, in the middle of
// the full phase, and while changes come.
func TestFollowCutConnections(t *testing.T) {
	for _, road := range roads[:2] {
		t.Run(road.name, func(t *testing.T) {
			w, dst, p, opt := faulty(t, "valkey-8.1", 2)
			p.CutAfter(testkit.ToClient, 300_000)
			r := followAt(t, opt, w.srv, dst, road.fo, road.rule)
			r.following()
			p.CutAfter(testkit.ToClient, 20_000)
			w.more(100)
			p.Cut()
			w.more(100)
			testkit.Wait(t, time.Minute, func() bool { s := r.f.Status(); return s.Reconnects+s.Resyncs > 0 && s.Up }, "the link to be made again")
			w.held(r)
		})
	}
}

func TestFollowSlowAndStalledConnections(t *testing.T) {
	w, dst, p, opt := faulty(t, "redis-7.0", 2)
	p.Slow(400_000)
	r := followAt(t, opt, w.srv, dst, source.FollowOptions{Road: source.RoadReplica}, source.LiveRules{})
	w.more(50)
	p.Stall()
	w.more(100)
	p.Resume()
	p.Slow(0)
	r.following()
	w.held(r)
	if s := r.f.Status(); s.Resyncs > 0 {
		t.Errorf("it began anew for nothing: %+v", s)
	}
}

// The source keeps too little of its history, so that everything has to be read again.
func TestFollowResyncs(t *testing.T) {
	w, dst, p, opt := faulty(t, "redis-7.0", 2, testkit.Config("repl-backlog-size 16384"))
	w.srv.Must("SET", "leaves", "1") // no writer ever makes it again
	r := followAt(t, opt, w.srv, dst, source.FollowOptions{Road: source.RoadReplica}, source.LiveRules{})
	r.following()
	p.Refuse()
	w.more(20)
	w.also(tx{{"DEL", "leaves"}, {"SET", "long", strings.Repeat("x", 1<<20)}, {"DEL", "long"}})
	w.more(100)
	p.Accept()
	testkit.Wait(t, time.Minute, func() bool { return r.f.Status().Resyncs > 0 }, "a new snapshot")
	w.held(r)
	if n := dst.Must("EXISTS", "leaves"); n != int64(0) {
		t.Error("a key that was deleted meanwhile is still there")
	}
}

// The source is killed and comes back with what it had saved.
func TestFollowARestartedSource(t *testing.T) {
	for _, road := range roads[:2] {
		t.Run(road.name, func(t *testing.T) {
			w := newWorld(t, testkit.Engine(t, "redis-7.0"))
			dst := testkit.StartServer(t, w.srv.Build)
			r := follow(t, w.srv, dst, road.fo, road.rule)
			r.following()
			testkit.Wait(t, time.Minute, func() bool { // the child that sent us the snapshot may not have ended yet
				_, err := w.srv.Try("SAVE")
				return err == nil
			}, "the source to save")
			w.srv.Must("SET", "unsaved", "lost with the source")
			testkit.Wait(t, time.Minute, func() bool { return dst.Must("EXISTS", "unsaved") == int64(1) }, "the key to come")
			w.srv.Kill()
			w.srv.Restart()
			w.srv.Must("SET", "after", "it")
			testkit.Wait(t, time.Minute, func() bool { s := r.f.Status(); return s.Resyncs > 0 && s.Phase != source.PhaseFull && s.Up }, "it to be read again")
			r.drained()
			r.same()
			if dst.Must("EXISTS", "unsaved") != int64(0) {
				t.Error("the target has what the source lost")
			}
		})
	}
}

// One that comes back without its data does not empty the target.
func TestFollowAnEmptiedSource(t *testing.T) {
	for _, road := range roads[:2] {
		t.Run(road.name, func(t *testing.T) {
			src := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
			dst := testkit.StartServer(t, src.Build)
			fill(t, src, 1000)
			r := follow(t, src, dst, road.fo, road.rule)
			r.following()
			r.drained()
			src.Kill()
			src.Restart()
			if err := r.ended(); !errors.Is(err, source.ErrSourceEmptied) {
				t.Errorf("%v", err)
			}
			if n := dst.Must("DBSIZE"); n != int64(1000) {
				t.Errorf("%v keys are left", n)
			}
		})
	}
}

// What a run stored is enough for the next one to go on: only what changed is sent.
func TestFollowGoesOnAfterACrash(t *testing.T) {
	for _, line := range []string{"redis-6.0", "valkey-9.1"} {
		t.Run(line, func(t *testing.T) {
			w := newWorld(t, testkit.Engine(t, line))
			dst := testkit.StartServer(t, w.srv.Build)
			fo := source.FollowOptions{Road: source.RoadReplica}
			first := follow(t, w.srv, dst, fo, source.LiveRules{})
			first.following()
			w.srv.Must("SELECT", "11")
			w.srv.Must("SET", "before", "1")
			testkit.Wait(t, time.Minute, func() bool {
				s := first.f.State()
				return s.DB == 11 && s.ReplID != "" && first.f.Status().Dirty == 0
			}, "the state to move on")
			stored, err := json.Marshal(first.f.State())
			if err != nil {
				t.Fatal(err)
			}
			// More goes on after what was stored, and then it dies.
			w.srv.Must("SET", "between", "2")
			testkit.Wait(t, time.Minute, func() bool { dst.Must("SELECT", "11"); return dst.Must("EXISTS", "between") == int64(1) }, "the key to come")
			_ = first.end()
			w.srv.Must("DEL", "between") // no SELECT comes before it in the stream
			w.srv.Must("SET", "later", "3")
			w.srv.Must("SELECT", "0")
			w.srv.Must("APPEND", "s:5", "longer")
			w.srv.Must("XREADGROUP", "GROUP", "g", "c0", "COUNT", "5", "STREAMS", "q:1", "0")
			fo.Resume = &source.FollowState{}
			if err := json.Unmarshal(stored, fo.Resume); err != nil {
				t.Fatal(err)
			}
			second := follow(t, w.srv, dst, fo, source.LiveRules{})
			second.drained()
			second.same()
			if s := second.f.Status(); s.Resyncs > 0 || s.Keys > 0 {
				t.Errorf("everything was read again: %+v", s)
			}
			second.sink.mu.Lock()
			defer second.sink.mu.Unlock()
			for name := range second.sink.names {
				if !strings.HasPrefix(name, "0/x:") && !strings.HasPrefix(name, "0/q:") && name != "11/before" && name != "11/later" && name != "11/between" && name != "0/s:5" {
					t.Errorf("%s was sent although it had not changed", name)
				}
			}
			if !second.sink.names["11/later"] || !second.sink.names["0/s:5"] {
				t.Errorf("sent were %v", second.sink.names)
			}
		})
	}
}

// With a state that is of no use any more, or of another road, the target is made right too.
func TestFollowBeginsAgain(t *testing.T) {
	for _, road := range roads {
		t.Run(road.name, func(t *testing.T) {
			src := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
			dst := testkit.StartServer(t, src.Build)
			fill(t, src, 3000)
			first := follow(t, src, dst, road.fo, road.rule)
			first.following()
			first.drained()
			state := first.f.State()
			_ = first.end()
			if state.ReplID != "" {
				state.ReplID = strings.Repeat("a", 40)
			}
			src.Must("DEL", "key:00000007", "key:00000008")
			src.Must("SELECT", "3")
			src.Must("SET", "new", "one")
			fo := road.fo
			fo.Resume = &state
			second := follow(t, src, dst, fo, road.rule)
			second.drained()
			second.same()
			_ = second.end()
			without := source.NewFollow(at(src), source.FollowOptions{Road: road.fo.Road, Resume: &state, Dir: t.TempDir()})
			says(t, without.Run(t.Context(), newCopied(t, dst)), "TargetKeys")
		})
	}
}

// A state is of one history of one server.
func TestFollowRefusesAnotherServersState(t *testing.T) {
	b := testkit.Engine(t, "valkey-8.1")
	src, other, dst := testkit.StartServer(t, b), testkit.StartServer(t, b), testkit.StartServer(t, b)
	src.Must("SET", "a", "1")
	other.Must("SET", "b", "2")
	first := follow(t, src, dst, source.FollowOptions{Road: source.RoadReplica}, source.LiveRules{})
	first.following()
	first.drained()
	state := first.f.State()
	_ = first.end()
	second := follow(t, other, dst, source.FollowOptions{Road: source.RoadReplica, Resume: &state}, source.LiveRules{})
	says(t, second.ended(), "does not go on with its history")
	if dst.Must("EXISTS", "a") != int64(1) || dst.Must("EXISTS", "b") != int64(0) {
		t.Error("the target was changed")
	}
}

// A replica of the source takes over, and goes on with its history.
func TestFollowAFailover(t *testing.T) {
	b := testkit.Engine(t, "redis-7.0")
	src := testkit.StartServer(t, b)
	fill(t, src, 2000)
	replica, dst := testkit.StartServer(t, b, testkit.ReplicaOf(src)), testkit.StartServer(t, b)
	replica.WaitLink()
	p := testkit.Proxy(t, src.Addr())
	r := followAt(t, resp.Options{Addr: p.Addr()}, replica, dst, source.FollowOptions{Road: source.RoadReplica}, source.LiveRules{})
	r.following()
	src.Must("SET", "before", "1")
	testkit.Wait(t, time.Minute, func() bool { return replica.Must("EXISTS", "before") == int64(1) }, "the replica")
	id := r.f.State().ReplID
	src.Kill()
	replica.Must("REPLICAOF", "NO", "ONE")
	replica.Must("SET", "after", "2")
	replica.Must("DEL", "key:00000001")
	p.Retarget(replica.Addr())
	p.Cut()
	testkit.Wait(t, time.Minute, func() bool { return r.f.Status().Reconnects > 0 && r.f.Status().Up }, "the link to be made again")
	r.drained()
	r.same()
	if s := r.f.Status(); s.Resyncs > 0 || r.f.State().ReplID == id {
		t.Errorf("%+v %+v", s, r.f.State())
	}
}

// Where nothing lists the target's keys, emptying a database is not followed in part.
func TestFollowNeedsTargetKeys(t *testing.T) {
	src := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	dst := testkit.StartServer(t, src.Build)
	fill(t, src, 100)
	f := source.NewFollow(at(src), source.FollowOptions{Dir: t.TempDir()})
	done := make(chan error, 1)
	go func() { done <- f.Run(t.Context(), newCopied(t, dst)) }()
	testkit.Wait(t, time.Minute, func() bool { return f.Status().Phase == source.PhaseCatchUp }, "the full phase")
	src.Must("FLUSHDB")
	select {
	case err := <-done:
		says(t, err, "emptied")
	case <-time.After(time.Minute):
		t.Error("it goes on")
	}
	if err := f.Drain(t.Context()); err == nil {
		t.Error("it says that the target holds everything")
	}
}

// A Drain waits for what is still on the wire.
func TestFollowDrainWaitsForTheStream(t *testing.T) {
	src := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	dst := testkit.StartServer(t, src.Build)
	p := testkit.Proxy(t, src.Addr())
	r := followAt(t, resp.Options{Addr: p.Addr()}, src, dst, source.FollowOptions{Road: source.RoadReplica}, source.LiveRules{})
	r.following()
	r.drained()
	p.Slow(150_000)
	var cmds [][]string
	for i := range 400 { // much to receive, little to read again
		cmds = append(cmds, []string{"SET", fmt.Sprint("k", i%10), strings.Repeat("v", 1000) + fmt.Sprint(i)})
	}
	pipeline(t, src, append(cmds, []string{"SET", "last", "one"}))
	r.drained()
	if dst.Must("GET", "last") != "one" {
		t.Error("it did not wait")
	}
	r.same()
}
