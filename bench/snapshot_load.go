package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"holdfast.dev/internal/resp"
)

// idleSpan is how long the load goes on with nothing beside it, each time.
const idleSpan = 6 * time.Second

// loadedGroup is a group of the service under load, for benchSnapshotLoad.
type loadedGroup struct {
	*lab
	s     *service
	api   *elasticache.Client
	id    string
	at    resp.Options // the primary endpoint
	under *load
	spans map[string][]span
	taken int
	// methods are how snapshots were taken, with the reasons.
	methods map[string]int
	reason  string
}

// benchSnapshotLoad is what the clients of a group notice of its backup: of one
// with a replica, which is read in place of the primary; and of a lone node that is
// too full to fork, beside BGSAVE on the same node.
func benchSnapshotLoad(ctx context.Context, l *lab) (err error) {
	if _, ok := l.engine(engineLine); !ok {
		return nil
	}
	s, err := l.serve(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	pairKeys, loneKeys, loneType := int64(4_000_000), int64(1_750_000), "cache.t3.small"
	if l.opt.quick || !l.opt.large {
		pairKeys, loneKeys, loneType = 400_000, 600_000, "cache.t3.micro"
	}
	return errors.Join(
		l.underLoad(ctx, s, "pair", nodeType, 2, pairKeys, (*loadedGroup).pairSpans, (*loadedGroup).pairRows),
		l.underLoad(ctx, s, "lone", loneType, 1, loneKeys, (*loadedGroup).loneSpans, (*loadedGroup).loneRows))
}

// underLoad makes a group with so much of set C, and measures it under load.
func (l *lab) underLoad(ctx context.Context, s *service, id, kind string, nodes int32, keys int64,
	spans func(*loadedGroup, context.Context) error, rows func(*loadedGroup, string),
) (err error) {
	g := &loadedGroup{lab: l, s: s, api: s.elasticache(), id: id, spans: map[string][]span{}, methods: map[string]int{}}
	_, err = g.api.CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: &id, ReplicationGroupDescription: aws.String("under load"), NumCacheClusters: &nodes,
		Engine: aws.String(engineName), EngineVersion: aws.String(version), CacheNodeType: &kind,
	})
	if err != nil {
		return err
	}
	if g.at, err = available(ctx, g.api, id); err != nil {
		return err
	}
	if err := l.fillC(ctx, g.at, keys); err != nil {
		return err
	}
	if g.under, err = startLoad(ctx, g.at.Addr, keys); err != nil {
		return err
	}
	err = pause(ctx, idleSpan/3) // the first commands meet cold caches
	for range l.few(3) {
		if err == nil {
			err = spans(g, ctx)
		}
	}
	if err := errors.Join(err, g.under.end()); err != nil {
		return err
	}
	rows(g, fmt.Sprintf("%s of %d, C of %d keys, %d commands/s half writes", kind, nodes, keys, loadRate))
	return erase(ctx, g.api, id)
}

func (l *lab) fillC(ctx context.Context, at resp.Options, keys int64) error {
	src, err := setC.source(keys)
	if err != nil {
		return err
	}
	return l.pour(ctx, at, src, keys)
}

// span runs f and notes when it ran, and by how much the memory of the primary grew.
func (g *loadedGroup) span(ctx context.Context, name string, at resp.Options, forks bool, f func(context.Context) error) error {
	watch, stop := context.WithCancel(ctx)
	defer stop()
	grown := make(chan float64, 1)
	go func() { grown <- growthAt(watch, at, forks) }()
	n := span{from: g.under.since()}
	err := f(ctx)
	n.to = g.under.since()
	stop()
	n.grown = <-grown
	g.spans[name] = append(g.spans[name], n)
	if err != nil {
		return fmt.Errorf("%s under load: %w", name, err)
	}
	return pause(ctx, time.Second)
}

func (g *loadedGroup) idle(ctx context.Context) error {
	return g.span(ctx, "idle", g.at, false, func(ctx context.Context) error { return pause(ctx, idleSpan) })
}

// backup takes a snapshot and looks up how it was taken.
func (g *loadedGroup) backup(ctx context.Context) error {
	g.taken++
	name := fmt.Sprintf("%s-%d", g.id, g.taken)
	err := g.span(ctx, "backup", g.at, false, func(ctx context.Context) error {
		_, err := snapshotTaken(ctx, g.api, g.id, name)
		return err
	})
	if err != nil {
		return err
	}
	var man struct{ Method, MethodReason string }
	b, err := os.ReadFile(filepath.Join(g.s.dir, "snapshots", region, name, "0001.json"))
	if err == nil {
		err = json.Unmarshal(b, &man)
	}
	g.methods[man.Method]++
	g.reason = man.MethodReason
	return errors.Join(err, eraseSnapshot(ctx, g.api, g.id, name))
}

func (g *loadedGroup) pairSpans(ctx context.Context) error {
	return errors.Join(g.idle(ctx), g.backup(ctx))
}

func (g *loadedGroup) loneSpans(ctx context.Context) error {
	admin, err := g.admin()
	if err != nil {
		return err
	}
	return errors.Join(g.idle(ctx), g.backup(ctx), g.span(ctx, "BGSAVE", admin, true, func(ctx context.Context) error {
		_, err := bgsaveAt(ctx, admin)
		return err
	}))
}

// admin is the login of the administrator of the first node, who alone may save.
func (g *loadedGroup) admin() (resp.Options, error) {
	opt := resp.Options{Addr: g.at.Addr}
	f, err := os.Open(filepath.Join(g.s.dir, "nodes", region, g.id+"-001", "engine.conf"))
	if err != nil {
		return opt, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "masteruser":
			opt.Username = value
		case "masterauth":
			if opt.Password, err = strconv.Unquote(value); err != nil {
				return opt, fmt.Errorf("cannot read the password in %s", f.Name())
			}
		}
	}
	return opt, nil
}

// quantile of all spans of a name, in seconds, one for each span.
func (g *loadedGroup) quantile(name string, q float64) series {
	var out series
	for _, n := range g.spans[name] {
		took, _ := g.under.between(n.from, n.to)
		out = append(out, took.quantile(q).Seconds())
	}
	return out
}

func (g *loadedGroup) pairRows(what string) {
	for _, q := range []float64{0.5, 0.99, 0.999} {
		g.report.add(row{
			What: fmt.Sprintf("%s: p%g of the primary during a backup", what, q*100), Ours: g.quantile("backup", q),
			LimitIs: "without one", Limit: g.quantile("idle", q),
		})
	}
	g.tell(what, "backup")
}

func (g *loadedGroup) loneRows(what string) {
	for _, q := range []float64{0.5, 0.99, 0.999} {
		for _, limit := range []string{"BGSAVE", "idle"} {
			g.report.add(row{
				What: fmt.Sprintf("%s: p%g during a backup", what, q*100), Ours: g.quantile("backup", q),
				LimitIs: "during " + limit, Limit: g.quantile(limit, q),
			})
		}
	}
	g.tell(what, "backup", "BGSAVE")
}

// tell notes how the snapshots were taken and what memory they cost.
func (g *loadedGroup) tell(what string, spans ...string) {
	for _, name := range spans {
		var grown, lasted series
		for _, n := range g.spans[name] {
			grown, lasted = append(grown, 100*n.grown), append(lasted, (n.to-n.from).Seconds())
		}
		g.report.note("%s: %s took %.1f s, and the memory of the primary grew by %.1f %%", what, name, lasted.median(), grown.median())
	}
	g.report.note("%s: methods %v; %s", what, g.methods, g.reason)
}
