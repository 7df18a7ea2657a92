package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// memory is a target of all shards that holds what it is given, and refuses at will.
type memory struct {
	mu   sync.Mutex
	keys map[string]string
	fail error
	open int // sinks
}

func (m *memory) sink(context.Context) (flow.Sink, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open++
	return &memorySink{m: m}, nil
}

type memorySink struct {
	m      *memory
	closed bool
}

func (s *memorySink) Write(ctx context.Context, batch []flow.Entry) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	for i := range batch {
		if e := &batch[i]; e.Deleted {
			delete(s.m.keys, string(e.Key))
		} else {
			s.m.keys[string(e.Key)] = string(e.Value)
		}
	}
	return errors.Join(s.m.fail, ctx.Err())
}

func (s *memorySink) Commit(ctx context.Context) error { return ctx.Err() }

func (s *memorySink) Close() error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if !s.closed {
		s.m.open--
	}
	s.closed = true
	return nil
}

func (m *memory) get(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keys[key]
}

// wants sees that there are so many keys, and this one is not among them.
func (m *memory) wants(t *testing.T, keys int, gone string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.keys) != keys || m.keys[gone] != "" {
		t.Errorf("%d keys, not %d; %s is %q", len(m.keys), keys, gone, m.keys[gone])
	}
}

// list is TargetKeys.
func (m *memory) list(s Shard) func(context.Context, func(int, []byte) bool) error {
	return func(_ context.Context, visit func(int, []byte) bool) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for key := range m.keys {
			if s.Holds([]byte(key)) && !visit(0, []byte(key)) {
				break
			}
		}
		return nil
	}
}

// carries starts to follow a cluster into a memory.
func carries(t *testing.T, m *memory, addr string, state json.RawMessage) (f *Follows, end func() error) {
	t.Helper()
	f, err := NewFollows(t.Context(), FollowsOptions{
		Source: resp.Options{Addr: addr}, Open: m.sink, State: state,
		Follow: func(s Shard, resume *source.FollowState) *source.Follow {
			return source.NewFollow(s.Options, source.FollowOptions{
				Road: source.RoadReplica, Resume: resume, Dir: t.TempDir(), TargetKeys: m.list(s),
				Keep: func(e *flow.Entry) bool { return s.Holds(e.Key) },
			})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- f.Run(ctx) }()
	return f, func() error {
		stop()
		err := <-over
		over <- err // it may be asked for again
		return err
	}
}

// inStep returns when the target has everything.
func inStep(t *testing.T, f *Follows) {
	t.Helper()
	testkit.Wait(t, patience, func() bool {
		return f.Status().InStep(DefaultMaxLag) && f.Drain(t.Context()) == nil
	}, "the target is not in step")
}

// wantAll sees that everything may have changed, and after that nothing has.
func wantAll(t *testing.T, f *Follows) {
	t.Helper()
	if _, all := f.Mark(); !all {
		t.Error("not every key may have changed")
	}
	if keys, all := f.Mark(); all || len(keys) > 0 {
		t.Errorf("%d keys, %t", len(keys), all)
	}
}

func followsCluster(t *testing.T, c *testkit.ClusterServers) {
	const slot = 12182 // of foo
	a, b := c.Primaries[0], c.Primaries[1]
	for i := range 100 {
		b.Must("SET", fmt.Sprintf("{foo}%d", i), "1")
	}
	m := &memory{keys: map[string]string{"{foo}stale": "1"}}
	f, end := carries(t, m, a.Addr(), nil)
	defer func() { _ = end() }() // it is asked for where it matters
	inStep(t, f)
	m.wants(t, 100, "{foo}stale")
	wantAll(t, f)

	// With a slot on its way nobody can tell whether the target has everything.
	if err := c.OpenSlot(slot, b, a); err != nil {
		t.Fatal(err)
	}
	var again *retry
	if err := f.Drain(t.Context()); !errors.As(err, &again) {
		t.Errorf("drained with an open slot: %v", err)
	}
	if _, err := f.Hold(t.Context(), func(json.RawMessage) error { return nil }); !errors.As(err, &again) {
		t.Errorf("held with an open slot: %v", err)
	}
	if s := f.Status(); s.InStep(DefaultMaxLag) || !strings.Contains(s.Link, "12182") {
		t.Errorf("%+v", s)
	}
	if _, err := c.MoveKeys(slot, b, a, 1000); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseSlot(slot, a); err != nil {
		t.Fatal(err)
	}
	a.Must("DEL", "{foo}7") // nobody follows: it is missed by who reads no more than what changes
	a.Must("SET", "{foo}8", "changed")
	inStep(t, f)
	m.wants(t, 99, "{foo}7")
	if got := m.get("{foo}8"); !strings.Contains(got, "changed") {
		t.Errorf("it is %q", got)
	}
	if s := f.Status(); s.Resyncs != 2 {
		t.Errorf("%d shards were read again", s.Resyncs)
	}
	wantAll(t, f)
	resumes(t, c, m, f, end)
}

// resumes goes on from the state of one run in another, once as it was and once
// with a slot elsewhere.
func resumes(t *testing.T, c *testkit.ClusterServers, m *memory, f *Follows, end func() error) {
	t.Helper()
	state, err := f.State()
	if err != nil {
		t.Fatal(err)
	}
	if err := end(); err != nil || m.open != 0 {
		t.Errorf("%v, %d sinks are open", err, m.open)
	}
	a, b := c.Primaries[0], c.Primaries[1]
	a.Must("DEL", "{foo}9")
	f, end = carries(t, m, b.Addr(), state)
	inStep(t, f)
	for _, one := range f.list() {
		if one.resume == nil || one.follow.Status().Keys != 0 {
			t.Errorf("%s was read again", one.shard.Options)
		}
	}
	m.wants(t, 98, "{foo}9")
	if state, err = f.State(); err != nil || end() != nil {
		t.Fatal(err)
	}

	const slot = 12182
	if err := c.MoveSlot(slot, a, b); err != nil {
		t.Fatal(err)
	}
	b.Must("DEL", "{foo}10")
	f, end = carries(t, m, a.Addr(), state)
	inStep(t, f)
	for _, one := range f.list() {
		if one.resume != nil {
			t.Errorf("%s went on with slots that it did not have", one.shard.Options)
		}
	}
	m.wants(t, 97, "{foo}10")

	// What the target refuses ends it, whatever the cluster does.
	m.mu.Lock()
	m.fail = errors.New("the target is full")
	m.mu.Unlock()
	b.Must("SET", "{foo}11", "more")
	<-f.over
	if err := end(); err == nil || !strings.Contains(err.Error(), "the target is full") {
		t.Errorf("%v", err)
	}
}
