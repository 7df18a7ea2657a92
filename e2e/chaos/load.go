package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

const (
	// clients of a round, and how long each rests between its operations: enough of
	// them meet on a key, and the machine has something left for the engines.
	clients = 6
	rest    = 4 * time.Millisecond
	// After enough operations a client rests longer: an episode in which something
	// takes its time needs no larger history.
	enough, longRest = 1500, 100 * time.Millisecond
	// keysPerShard and episode: few, so that clients meet on them.
	keysPerShard = 4
	// waitReplicas is how long a write waits for its replicas, at most.
	waitReplicas = 60 * time.Millisecond
)

// client is one connection that reads and writes until it is told to end.
type client struct {
	id      int
	episode int
	rng     *rand.Rand
	keys    keySet
	route   router
	// replicas are how many a write waits for.
	replicas int
	rec      *recorder
	links    map[string]*wire
	wrote    int
}

func (c *client) work(ctx context.Context) {
	c.links = map[string]*wire{}
	defer func() {
		for _, w := range c.links {
			w.close()
		}
	}()
	tick := time.NewTicker(rest)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n == enough {
			tick.Reset(longRest)
		}
		key := c.keys.names[c.rng.IntN(len(c.keys.names))]
		w, addr := c.link(ctx, key)
		if w == nil {
			continue
		}
		o := Op{Client: c.id, Episode: c.episode, Key: key, Shard: c.keys.shards[key], Run: w.run, Kind: Read}
		if c.rng.IntN(5) < 3 {
			o.Kind = Write
			c.wrote++
			o.Value = fmt.Sprintf("e%d-c%d-%d", c.episode, c.id, c.wrote)
		}
		if !c.perform(w, &o) {
			w.close()
			delete(c.links, addr)
			c.route.wrong(key, "")
		}
		if o.Refused != "" {
			c.route.wrong(key, strings.TrimPrefix(o.Refused, "EXECABORT "))
		}
		if o.Kind == Write || o.Done() {
			c.rec.op(o)
		}
	}
}

// link is a connection to a key's primary, nil while there is none.
func (c *client) link(ctx context.Context, key string) (*wire, string) {
	addr, err := c.route.at(ctx, key)
	if err != nil {
		return nil, ""
	}
	if w := c.links[addr]; w != nil {
		return w, addr
	}
	w, err := dial(ctx, addr, opTimeout)
	if err != nil {
		c.route.wrong(key, "")
		return nil, ""
	}
	c.links[addr] = w
	return w, addr
}

func registerOf(key string) string { return "{" + key + "}:now" }
func setOf(key string) string      { return "{" + key + "}:all" }

// perform does one operation in one transaction, in which the engine tells its term
// too. It returns false when the connection is of no use any more.
func (c *client) perform(w *wire, o *Op) (usable bool) {
	do := []string{"GET", registerOf(o.Key)}
	cmds := [][]string{{"MULTI"}}
	if o.Kind == Write {
		do = []string{"SET", registerOf(o.Key), o.Value}
		cmds = append(cmds, []string{"SADD", setOf(o.Key), o.Value})
	}
	cmds = append(cmds, do, []string{"INFO", "replication"}, []string{"EXEC"})
	waits := 0
	if o.Kind == Write && c.replicas > 0 {
		waits = 1
		cmds = append(cmds, []string{"WAIT", strconv.Itoa(c.replicas), strconv.FormatInt(waitReplicas.Milliseconds(), 10)})
	}
	o.Invoke = c.rec.now()
	if err := w.send(opTimeout, cmds...); err != nil {
		return false
	}
	replies, err := w.receive(len(cmds) - waits)
	if err != nil {
		return false
	}
	back := c.rec.now()
	if err := settle(o, replies); err != nil {
		// The engine answers what makes no sense: nobody knows what it did.
		return false
	}
	o.Return = back
	if waits == 0 {
		return true
	}
	after, err := w.receive(waits)
	if err != nil {
		return false
	}
	if n, ok := after[0].(int64); ok && o.Refused == "" {
		o.Reached = int(n)
	}
	return true
}

// settle reads the replies of a transaction.
func settle(o *Op, replies []any) error {
	var refusals []string
	for _, r := range replies {
		if a, ok := r.(answered); ok {
			refusals = append(refusals, string(a))
		}
	}
	done, ok := replies[len(replies)-1].([]any)
	if !ok {
		if len(refusals) == 0 {
			return errors.New("EXEC answers nothing")
		}
		o.Refused = refusals[0]
		return nil
	}
	for _, r := range done {
		if a, ok := r.(answered); ok {
			return a
		}
	}
	if len(done) < 2 {
		return errors.New("EXEC answers too little")
	}
	o.Term = field(text(done[len(done)-1]), "master_replid")
	if o.Kind == Read {
		o.Value = text(done[0])
	}
	return nil
}
