package chaos

import (
	"context"
	"fmt"
	"strings"
)

// looks is how often everything is read again when somebody's role has changed meanwhile:
// a service on a slow machine may have found only now what it has to do.
const looks = 5

// look reads every key of the round so far, everywhere, once all nodes are level.
func (r *Round) look(ctx context.Context, number int) (why string) {
	for range looks {
		if why = r.awaitWhole(ctx, true); why != "" {
			return why
		}
		seen, err := r.lookAround(ctx, number)
		if err == nil {
			for _, l := range seen {
				r.rec.look(l)
			}
			return ""
		}
		why = err.Error()
	}
	return why
}

func (r *Round) lookAround(ctx context.Context, number int) ([]Look, error) {
	var all []Look
	led := map[string]bool{}
	keys := r.rec.keys()
	for _, n := range r.group.all() {
		here, err := r.lookAt(ctx, n, number, keys)
		if err != nil {
			return nil, fmt.Errorf("cannot look at %s: %w", n.Name, err)
		}
		all = append(all, here...)
		for _, l := range here {
			led[l.Key] = led[l.Key] || l.Primary
		}
	}
	for _, key := range keys {
		if !led[key] {
			return nil, fmt.Errorf("no primary has the slot of %s, nor did one a moment before", key)
		}
	}
	return all, nil
}

func (r *Round) lookAt(ctx context.Context, n node, number int, keys []string) ([]Look, error) {
	w, err := dial(ctx, n.Addr, patience)
	if err != nil {
		return nil, err
	}
	defer w.close()
	info, err := w.do(patience, []string{"INFO", "replication"})
	if err != nil {
		return nil, err
	}
	var out []Look
	for _, key := range keys {
		// Without cluster mode the first is refused, and it is no matter.
		replies, err := w.do(patience, []string{"READONLY"}, []string{"GET", registerOf(key)}, []string{"SMEMBERS", setOf(key)})
		if err != nil {
			return nil, err
		}
		if refusal, ok := replies[1].(answered); ok {
			if strings.HasPrefix(string(refusal), "MOVED ") {
				continue // another shard's
			}
			return nil, refusal
		}
		out = append(out, Look{
			Episode: number, At: r.rec.now(), Key: key, Shard: n.Shard, Node: n.Name, Primary: leads(text(info[0])),
			Value: text(replies[1]), Members: texts(replies[2]),
		})
	}
	return out, nil
}
