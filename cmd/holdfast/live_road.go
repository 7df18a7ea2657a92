package main

import (
	"context"
	"encoding/json"
	"errors"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/migrate"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
)

// liveCarrier brings the data over and holds the servers that it reads.
type liveCarrier interface {
	migrate.Carrier
	migrate.Holder
}

// carrier makes what brings the data over, from where an earlier run was.
func (m *liveMove) carrier(ctx context.Context) (liveCarrier, error) {
	if m.bridged() {
		return m.bridge(), nil
	}
	state := m.point.Record.Carrier
	if m.began {
		if err := m.mendTarget(ctx, &state); err != nil {
			return nil, err
		}
	}
	return migrate.NewFollows(ctx, migrate.FollowsOptions{Source: *m.src.server, Follow: m.follow, Open: m.openSink, State: state, Tell: m.screen.tell})
}

// mendTarget forgets where the migration was if the target is not the same any
// more: started anew, it may have lost what it had.
func (m *liveMove) mendTarget(ctx context.Context, state *json.RawMessage) error {
	now, err := runIDs(ctx, *m.dst.server)
	if err != nil {
		return err
	}
	if was := m.point.Record.TargetID; was == "" || was != now {
		*state = nil
		m.screen.tell("the target was started anew since: everything is read again")
	}
	return nil
}

// follow makes what reads one shard, and touches no keys of others.
func (m *liveMove) follow(s migrate.Shard, resume *source.FollowState) *source.Follow {
	rate := m.src.shardAt(s.Options, s.Of).rate
	fo := source.FollowOptions{
		Dir: m.point.Dir(), Resume: resume, TargetKeys: m.targetKeys(s),
		Rate: int(rate.Keys), BytesRate: rate.Bytes,
	}
	if m.from != roadAuto {
		fo.Road = m.from
	}
	if v := m.src.view; v != nil || s.Slots != nil {
		fo.Keep = func(e *flow.Entry) bool { return s.Holds(e.Key) && (v == nil || v.check(e) == flow.Kept) }
	}
	return source.NewFollow(s.Options, fo)
}

// openSink opens the target for one shard.
func (m *liveMove) openSink(ctx context.Context) (flow.Sink, error) {
	s, err := sink.NewServer(ctx, *m.dst.server, sink.ServerOptions{})
	if err != nil || m.src.view == nil {
		return s, err
	}
	drop, err := newFieldTTLs()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &changing{Sink: s, view: selected{view: m.src.view}, drop: drop, to: flow.NewRewriter(&m.src.view.sel.rewrite)}, nil
}

// changing writes entries as what they are to become.
type changing struct {
	flow.Sink
	view selected
	drop *fieldTTLs
	to   *flow.Rewriter
	out  []flow.Entry
	// memory holds what was changed until the batch is written.
	memory []byte
}

// Write changes a batch.
func (c *changing) Write(ctx context.Context, batch []flow.Entry) error {
	c.out, c.memory = c.out[:0], c.memory[:0]
	for i := range batch {
		e := batch[i]
		err := c.view.change(&e, c.drop, c.to)
		if errors.Is(err, flow.ErrOwned) {
			continue
		}
		if err != nil {
			return err
		}
		// Each change is in memory that the next one uses again.
		e.Key = c.keep(e.Key)
		if len(e.Value) > 0 && &e.Value[0] != &batch[i].Value[0] {
			e.Value = c.keep(e.Value)
		}
		c.out = append(c.out, e)
	}
	return c.Sink.Write(ctx, c.out)
}

func (c *changing) keep(b []byte) []byte {
	at := len(c.memory)
	c.memory = append(c.memory, b...)
	return c.memory[at:len(c.memory):len(c.memory)]
}

// targetKeys lists what the target holds of a shard's, under the names of the source.
func (m *liveMove) targetKeys(s migrate.Shard) func(ctx context.Context, visit func(db int, key []byte) bool) error {
	v := m.src.view
	return func(ctx context.Context, visit func(db int, key []byte) bool) error {
		return source.ListKeys(ctx, *m.dst.server, func(db int, key []byte) bool {
			if v == nil {
				return !s.Holds(key) || visit(db, key)
			}
			for _, k := range v.sel.rewrite.Origins(db, key) {
				name := []byte(k.Name)
				if s.Holds(name) && v.checkName(k.DB, name) == flow.Kept && !visit(k.DB, name) {
					return false
				}
			}
			return true
		})
	}
}
