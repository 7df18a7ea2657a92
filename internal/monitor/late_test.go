package monitor

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
)

// sights are hands that show what a process is said to be, and keep what is done.
type sights struct {
	Sight
	mu  sync.Mutex
	did []string
}

func (s *sights) Nodes(context.Context) ([]Node, error)                    { return nil, nil }
func (s *sights) Look(cache.Process) (Sight, error)                        { return s.Sight, nil }
func (s *sights) Link(context.Context, Node) (up bool, n int64, err error) { return false, 0, nil }
func (s *sights) Fence(context.Context, Node) error                        { return s.do("fence") }
func (s *sights) Silence(_ context.Context, _ Node, silent bool) error {
	if silent {
		return s.do("silence")
	}
	return s.do("readers")
}
func (s *sights) Tell(_ context.Context, _ Node, message string) error { return s.do(message) }
func (s *sights) do(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.did = append(s.did, what)
	return nil
}

// On a full machine beats come late again and again. That tells nothing of a node, not
// that it answers either; and time that was missed does not count.
func TestALateBeatDoesNotEndAnEpisode(t *testing.T) {
	for _, last := range []Reply{NoReply, Pong, BusyReply} {
		now := time.Now()
		h := &sights{Sight: Sight{State: stopped, CPUKnown: true}}
		w := &watched{
			Node: Node{Key: "r/n1", Follows: "r/n0", Ready: true}, line: line{fd: -1}, dialling: true, last: last,
			owed: now.Add(-8 * time.Second), troubled: now.Add(-4 * time.Second), told: true, silenced: true,
		}
		m := New(Config{Hands: h, Log: slog.New(slog.DiscardHandler)})
		m.nodes, m.byKey[w.Key] = []*watched{w}, w
		beats := func(d time.Duration) {
			m.late = d > beat+lateBy
			if m.late {
				m.forgive(now, d)
			}
			now = now.Add(d)
			m.judge(t.Context(), w, now)
		}
		beats(time.Minute)
		beats(beat)
		for range 10 {
			beats(lateBy + 2*beat)
			beats(beat)
		}
		m.end()
		if len(h.did) > 0 {
			t.Errorf("last heard %d: a node that is stopped all the time got %q", last, h.did)
		}
		if lasts := now.Sub(w.troubled); lasts < 4*time.Second || lasts > 5*time.Second {
			t.Errorf("last heard %d: it is held to have gone on for %v", last, lasts)
		}
		w.last = Pong
		w.settle()
		m.judge(t.Context(), w, now)
		m.end()
		if want := []string{"readers", "Cache node 0001 answers again after 4s"}; !slices.Equal(slices.Sorted(slices.Values(h.did)), slices.Sorted(slices.Values(want))) || !w.troubled.IsZero() {
			t.Errorf("last heard %d: it answers and gets %q", last, h.did)
		}
	}
}
