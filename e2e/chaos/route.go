package chaos

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast.dev/internal/resp"
)

// router tells where a key's primary is, as clients know it.
type router interface {
	// at is where a client should ask for a key.
	at(ctx context.Context, key string) (string, error)
	// wrong tells that the answer was, or that nobody answered there.
	wrong(key, refusal string)
}

// endpoint is a group's primary endpoint: always the same.
type endpoint string

func (e endpoint) at(context.Context, string) (string, error) { return string(e), nil }
func (endpoint) wrong(string, string)                         {}

// slots is what a client of a cluster knows.
type slots struct {
	mu sync.Mutex
	// seeds are asked for all slots, one after the other.
	seeds []string
	next  int
	owner map[int]string
}

func newSlots(seeds []string) *slots { return &slots{seeds: seeds} }

func (s *slots) at(ctx context.Context, key string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner == nil {
		s.next = (s.next + 1) % len(s.seeds)
		if err := s.learn(ctx, s.seeds[s.next]); err != nil {
			return "", err
		}
	}
	addr, ok := s.owner[resp.Slot([]byte(key))]
	if !ok {
		s.owner = nil
		return "", fmt.Errorf("nobody has the slot of %s", key)
	}
	return addr, nil
}

func (s *slots) learn(ctx context.Context, from string) error {
	reply, err := ask(ctx, from, opTimeout, []string{"CLUSTER", "SLOTS"})
	if err != nil {
		return err
	}
	owner := map[int]string{}
	ranges, _ := reply.([]any)
	for _, r := range ranges {
		e, _ := r.([]any)
		if len(e) < 3 {
			continue
		}
		first, _ := e[0].(int64)
		last, _ := e[1].(int64)
		node, _ := e[2].([]any)
		if len(node) < 2 {
			continue
		}
		port, _ := node[1].(int64)
		for slot := first; slot <= last; slot++ {
			owner[int(slot)] = net.JoinHostPort(text(node[0]), strconv.FormatInt(port, 10))
		}
	}
	s.owner = owner
	return nil
}

func (s *slots) wrong(key, refusal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := strings.Fields(refusal)
	switch {
	case len(f) == 3 && f[0] == "MOVED" && s.owner != nil:
		s.owner[resp.Slot([]byte(key))] = f[2]
	case len(f) > 0 && (f[0] == "ASK" || f[0] == "TRYAGAIN"):
		// The slot is on its way; whoever gives it says when it is gone.
	default:
		s.owner = nil
	}
}

// opTimeout is how long a client waits for an answer before it gives an
// operation up as one of which nobody knows.
const opTimeout = 2 * time.Second
