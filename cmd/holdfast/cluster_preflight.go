package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"holdfast.dev/internal/resp"
)

// primaryOf is where a preflight begins: a server itself, or the first shard of a cluster
// with the others.
func primaryOf(ctx context.Context, opt resp.Options) (first resp.Options, others []resp.Options, err error) {
	shards, err := shardsOf(ctx, opt)
	if err != nil || len(shards) == 0 {
		return opt, nil, err
	}
	return shards[0], shards[1:], nil
}

// shards looks at the other primaries of a cluster as at the first one.
func (p *preflight) shards(ctx context.Context, others []resp.Options) error {
	for _, opt := range others {
		if err := p.shard(ctx, opt); err != nil {
			return err
		}
	}
	return nil
}

func (p *preflight) shard(ctx context.Context, opt resp.Options) (err error) {
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	srv, err := lookAt(ctx, opt)
	if err != nil {
		return err
	}
	q := &preflight{opt: opt, flags: p.flags, conn: conn, srv: srv}
	for _, look := range []func(context.Context) error{q.state, q.mayWrite, q.empty, q.eviction} {
		if err := look(ctx); err != nil {
			return err
		}
	}
	for _, f := range q.findings {
		f.Text = fmt.Sprintf("%s: %s", opt.Addr, f.Text)
		p.findings = append(p.findings, f)
	}
	p.before += q.before
	p.unseen = p.unseen || q.unseen
	if !srv.AtLeast(p.srv.Major, p.srv.Minor) && srv.Engine == p.srv.Engine {
		p.srv = srv // what is sent has to suit the oldest
	}
	p.sum(q, "used_memory")
	if q.number("maxmemory") == 0 || p.number("maxmemory") == 0 {
		p.set("maxmemory", 0) // no limit in one of them is none to tell of in all
	} else {
		p.sum(q, "maxmemory")
	}
	return nil
}

// sum adds a figure of another shard.
func (p *preflight) sum(q *preflight, name string) { p.set(name, p.number(name)+q.number(name)) }

func (p *preflight) set(name string, n int64) {
	if p.info != nil {
		p.info[name] = strconv.FormatInt(n, 10)
	}
}

// dataMemory is what a server, or all shards of a cluster, use for their data.
func dataMemory(ctx context.Context, opt resp.Options) (int64, error) {
	first, others, err := primaryOf(ctx, opt)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, opt := range append([]resp.Options{first}, others...) {
		n, err := usedBy(ctx, opt)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func usedBy(ctx context.Context, opt resp.Options) (_ int64, err error) {
	c, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	r, err := c.Do(ctx, "INFO", "memory")
	if resp.IsServerError(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot ask the source for its memory: %w", err)
	}
	used := preflight{info: map[string]string{}}
	for name, value := range resp.InfoFields(r.Bytes) {
		used.info[name] = value
	}
	return max(used.number("used_memory")-used.number("used_memory_startup"), 0), nil
}
