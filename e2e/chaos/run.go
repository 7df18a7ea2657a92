package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// Round is one run of a schedule against an installation of its own.
type Round struct {
	// Program is the binary; Dir an empty directory; Listen a free address.
	Program, Dir, Listen string
	// Base is the address range of the installation, "127.31": nobody else has it.
	Base string

	service service
	group   group
	rec     recorder
}

// Run plays a schedule and returns what was seen. Nothing of it runs any more when
// it returns. An error means that nothing can be said.
func (r *Round) Run(ctx context.Context, s Schedule) (h *History, err error) {
	r.service = service{program: r.Program, dir: r.Dir, listen: r.Listen}
	r.rec = recorder{began: time.Now(), h: History{Schedule: s}}
	if err := r.claim(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.service.discard()) }()
	if err := r.service.start(); err != nil {
		return nil, err
	}
	if err := r.create(ctx, s.Topology); err != nil {
		return nil, fmt.Errorf("%w\nlog of the service:\n%s", err, r.service.log.String())
	}
	for e := range s.Episodes {
		if err := r.episode(ctx, s, e); err != nil {
			return nil, fmt.Errorf("episode %d: %w", e, err)
		}
		if r.rec.h.Stuck != "" {
			break
		}
	}
	h = &r.rec.h
	h.forgetShards()
	return h, nil
}

// claim writes the address range into the records before the first start.
func (r *Round) claim(ctx context.Context) error {
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return err
	}
	db, err := store.Open(ctx, r.Dir+"/holdfast.db")
	if err != nil {
		return err
	}
	return errors.Join(db.Update(ctx, func(tx *store.Tx) error {
		return records.Pools.Put(tx, records.PoolKey, records.Pool{Base: r.Base})
	}), db.Close())
}

// create makes the group.
func (r *Round) create(ctx context.Context, t Topology) error {
	in := &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: aws.String(groupID), ReplicationGroupDescription: aws.String("a chaos run's"),
		Engine: &t.Engine, EngineVersion: &t.Version, CacheNodeType: aws.String("cache.t4g.small"),
		AutomaticFailoverEnabled: aws.Bool(true),
	}
	if t.Cluster {
		in.NumNodeGroups, in.ReplicasPerNodeGroup = aws.Int32(int32(t.Shards)), aws.Int32(int32(t.Replicas))
		in.ClusterMode = types.ClusterModeEnabled
	} else {
		in.NumCacheClusters = aws.Int32(int32(1 + t.Replicas))
	}
	api, err := r.service.api()
	if err != nil {
		return err
	}
	if _, err := api.CreateReplicationGroup(ctx, in); err != nil {
		return err
	}
	if why := r.awaitWhole(ctx, false); why != "" {
		return fmt.Errorf("the group was not created:\n%s", why)
	}
	return nil
}

// pollEvery is how often things are looked at that have to become so.
const pollEvery = 100 * time.Millisecond

// poll asks until there is nothing to be said against it, or patience is over, and
// returns what there is to be said then.
func poll(ctx context.Context, unfit func() string) string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		why := unfit()
		if why == "" || !pause(ctx, pollEvery) {
			return why
		}
	}
}

// awaitWhole waits until the group is available, each shard has one primary, and all
// its other nodes follow it; if level, until they have all that it has.
func (r *Round) awaitWhole(ctx context.Context, level bool) string {
	return poll(ctx, func() string {
		api, err := r.service.api()
		if err == nil {
			err = r.group.refresh(ctx, api, groupID)
		}
		if err != nil {
			return err.Error()
		}
		if r.group.status != "available" {
			return "the group is " + r.group.status
		}
		for _, s := range r.group.shardIDs() {
			if why := r.group.unwhole(ctx, s, level); why != "" {
				return fmt.Sprintf("shard %s is not whole:\n%s", s, why)
			}
		}
		return ""
	})
}

// episode breaks things under load, waits until all is whole, and looks at every key.
func (r *Round) episode(ctx context.Context, s Schedule, number int) error {
	began := time.Now()
	keys, err := r.keys(ctx, number)
	if err != nil {
		return err
	}
	loadCtx, endLoad := context.WithCancel(ctx)
	var load sync.WaitGroup
	defer load.Wait()
	defer endLoad()
	r.startLoad(loadCtx, &load, s, number, keys)

	var faults []Fault
	for _, f := range s.Faults {
		if f.Episode == number {
			faults = append(faults, f)
		}
	}
	b := breaker{service: &r.service, group: &r.group, rec: &r.rec, taken: map[string]int{}}
	b.play(ctx, faults)
	if err := r.service.start(); err != nil {
		return err
	}
	why := r.awaitWhole(ctx, false)
	// Some of the load comes after everything.
	pause(ctx, firstFault)
	endLoad()
	load.Wait()
	r.rec.h.Took = append(r.rec.h.Took, time.Since(began).Round(time.Millisecond))
	if why == "" {
		why = r.look(ctx, number)
	}
	if why != "" {
		r.stuck(ctx, number, why)
	}
	return ctx.Err()
}

// stuck writes down that the group does not become whole, with all there is to see.
func (r *Round) stuck(ctx context.Context, number int, why string) {
	var b strings.Builder
	fmt.Fprintf(&b, "after episode %d, within %v: %s\n", number, patience, why)
	if api, err := r.service.api(); err == nil {
		if out, err := api.DescribeEvents(ctx, &elasticache.DescribeEventsInput{Duration: aws.Int32(60)}); err == nil {
			for _, e := range out.Events {
				fmt.Fprintf(&b, "event %s %s: %s\n", aws.ToTime(e.Date).Format("15:04:05.000"), aws.ToString(e.SourceIdentifier), aws.ToString(e.Message))
			}
		}
	}
	fmt.Fprintf(&b, "log of the service:\n%s", r.service.log.String())
	r.rec.h.Stuck = b.String()
}

func (r *Round) startLoad(ctx context.Context, load *sync.WaitGroup, s Schedule, number int, keys keySet) {
	for id := range clients {
		c := client{
			id: id, episode: number, keys: keys, rec: &r.rec,
			rng:      rand.New(rand.NewPCG(s.Seed, uint64(number*clients+id))),
			route:    endpoint(r.group.meet),
			replicas: len(r.group.of(r.group.shardIDs()[0])) - 1,
		}
		if s.Topology.Cluster {
			c.route = newSlots(append(addresses(r.group.all()), r.group.meet))
		}
		load.Go(func() { c.work(ctx) })
	}
}

// forgetShards is for a round in which keys have changed shards.
func (h *History) forgetShards() {
	if !slices.ContainsFunc(h.Faults, func(a Applied) bool { return a.Kind.movesSlots() && !a.Skipped }) {
		return
	}
	for i := range h.Ops {
		h.Ops[i].Shard = ""
	}
	for i := range h.Looks {
		h.Looks[i].Shard = ""
	}
}

// Figures tells what a round has seen, in one line.
func (h *History) Figures() string {
	var writes, reached, refused, unknown int
	gap, last := int64(0), map[place]int64{}
	for _, o := range h.Ops {
		switch {
		case o.Refused != "":
			refused++
		case o.Return == 0:
			unknown++
		case o.Kind == Write:
			writes++
			if o.Reached > 0 {
				reached++
			}
			at := place{o.Episode, o.Shard}
			if last[at] != 0 {
				gap = max(gap, o.Return-last[at])
			}
			last[at] = max(last[at], o.Return)
		}
	}
	done := 0
	for _, f := range h.Faults {
		if !f.Skipped {
			done++
		}
	}
	return fmt.Sprintf("%s seed %d: %d of %d faults done, %d operations, %d writes acknowledged (%d on a replica), %d refused, %d without an answer; longest time without an acknowledged write %v, episodes took %v",
		h.Schedule.Topology.Name, h.Schedule.Seed, done, len(h.Schedule.Faults), len(h.Ops), writes, reached, refused, unknown, time.Duration(gap).Round(time.Millisecond), h.Took)
}
