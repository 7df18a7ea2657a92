package chaos

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Topology is what a round runs against.
type Topology struct {
	Name            string
	Engine, Version string
	// Cluster: in cluster mode, with so many shards. Without it Shards is 1.
	Cluster bool
	Shards  int
	// Replicas of each shard.
	Replicas int
	// ByHand leaves it out of the run that everybody waits for.
	ByHand bool
}

// Topologies are those that are there. In the first the primary holds its
// endpoint itself, in the second a forwarder does; in the third slots move all at
// once, in the fourth key by key, which takes a minute where nothing else is done.
var Topologies = []Topology{
	{Name: "group", Engine: "valkey", Version: "8.1", Shards: 1, Replicas: 2},
	{Name: "forwarded", Engine: "redis", Version: "6.0", Shards: 1, Replicas: 2},
	{Name: "cluster", Engine: "valkey", Version: "9.1", Cluster: true, Shards: 2, Replicas: 1},
	{Name: "keywise", Engine: "valkey", Version: "8.1", Cluster: true, Shards: 2, Replicas: 1, ByHand: true},
}

// FaultKind is a way to break something.
type FaultKind string

// The ways. Those that take nodes away are counted by takes.
const (
	KillPrimary    FaultKind = "kill-primary"    // kill -9 of the engine
	KillReplica    FaultKind = "kill-replica"    //
	HaltPrimary    FaultKind = "halt-primary"    // SIGSTOP, and later SIGCONT
	HaltReplica    FaultKind = "halt-replica"    //
	KillService    FaultKind = "kill-service"    // kill -9, and later a new start
	RestartService FaultKind = "restart-service" // SIGTERM, and later a new start
	CutLink        FaultKind = "cut-link"        // no packet between the primary and a replica
	CutService     FaultKind = "cut-service"     // none between the primary and the service
	TestFailover   FaultKind = "test-failover"   // the API's own
	MoreReplicas   FaultKind = "more-replicas"   // IncreaseReplicaCount
	FewerReplicas  FaultKind = "fewer-replicas"  // DecreaseReplicaCount
	MoreShards     FaultKind = "more-shards"     // ModifyReplicationGroupShardConfiguration
	FewerShards    FaultKind = "fewer-shards"    //
)

// takes is how many nodes of a shard may be without their data, or may not be
// asked for it, by a fault. A halted node is one: it may be killed to be safe.
func (k FaultKind) takes() int {
	switch k {
	case KillPrimary, KillReplica, HaltPrimary, HaltReplica, CutService, TestFailover, FewerReplicas:
		return 1
	}
	return 0
}

// weakens tells whether a primary's death is a harder case while a fault lasts.
func (k FaultKind) weakens() bool {
	switch k {
	case KillReplica, HaltReplica, KillService, RestartService, CutLink, CutService, MoreReplicas, MoreShards, FewerShards:
		return true
	}
	return false
}

// movesSlots tells whether keys change shards by it.
func (k FaultKind) movesSlots() bool { return k == MoreShards || k == FewerShards }

// Fault breaks one thing once.
type Fault struct {
	ID      int // within its schedule, for life: a schedule with fewer faults keeps them
	Episode int
	Kind    FaultKind
	// After is when, from the begin of the episode's load.
	After time.Duration
	// For is how long, where a fault ends.
	For time.Duration
	// Shard and Node choose among what is there at the time.
	Shard, Node int
}

func (f Fault) String() string {
	return fmt.Sprintf("#%d episode %d, after %v: %s of shard %d, node %d, for %v", f.ID, f.Episode, f.After, f.Kind, f.Shard, f.Node, f.For)
}

// Schedule is everything that a seed decides.
type Schedule struct {
	Seed     uint64
	Topology Topology
	Episodes int
	Faults   []Fault
}

func (s Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "schedule of seed %d for %s, %d episodes\n", s.Seed, s.Topology.Name, s.Episodes)
	for _, f := range s.Faults {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	return b.String()
}

// Only is the schedule with some of its faults, by their ids, and without the
// episodes in which nothing would happen.
func (s Schedule) Only(ids ...int) Schedule {
	s.Faults = slices.DeleteFunc(slices.Clone(s.Faults), func(f Fault) bool { return !slices.Contains(ids, f.ID) })
	renumbered := map[int]int{}
	for i, f := range s.Faults {
		if _, ok := renumbered[f.Episode]; !ok {
			renumbered[f.Episode] = len(renumbered)
		}
		s.Faults[i].Episode = renumbered[f.Episode]
	}
	s.Episodes = max(1, len(renumbered))
	return s
}

// Bounds of what a schedule draws. Faults of an episode come close together, so
// that one meets what the one before has set off; some halts end before anybody
// can have noticed, and some do not.
const (
	mostFaults    = 3
	firstFault    = 300 * time.Millisecond
	betweenFaults = 1500 * time.Millisecond
	shortest      = 100 * time.Millisecond
	longest       = 3 * time.Second
	// inTheMidst is when the service is killed that does something about a fault.
	inTheMidst = 400 * time.Millisecond
	// Episodes from this one on may have faults that last longer by this: until the
	// engines' own time limits have passed.
	patient, muchLonger = 3, 8
)

// Draw makes the schedule of a seed. An episode never takes all nodes of a shard
// away: what no node has nobody can keep.
func Draw(seed uint64, t Topology, episodes int) Schedule {
	name := fnv.New64a()
	fmt.Fprint(name, t.Name)
	rng := rand.New(rand.NewPCG(seed, name.Sum64()))
	s := Schedule{Seed: seed, Topology: t, Episodes: episodes}
	d := deck{rng: rng, all: kinds(t)}
	for e := range episodes {
		s.Faults = append(s.Faults, episode(rng, &d, t, e)...)
	}
	for i := range s.Faults {
		s.Faults[i].ID = i
	}
	return s
}

func episode(rng *rand.Rand, d *deck, t Topology, number int) []Fault {
	var out []Fault
	taken, at := map[int]int{}, firstFault
	for range 1 + rng.IntN(mostFaults) {
		f := Fault{
			Episode: number, After: at.Round(time.Millisecond),
			For:   (shortest + time.Duration(rng.Int64N(int64(longest-shortest)))).Round(time.Millisecond),
			Shard: rng.IntN(t.Shards), Node: rng.IntN(t.Replicas),
		}
		if number >= patient && rng.IntN(8) == 0 {
			f.For *= muchLonger
		}
		at += time.Duration(rng.Int64N(int64(betweenFaults)))
		soon := time.Duration(rng.Int64N(int64(inTheMidst))).Round(time.Millisecond)
		switch last := len(out) - 1; {
		case last < 0 || rng.IntN(2) == 0:
			f.Kind = d.next()
		case out[last].Kind.weakens():
			f.Kind, f.Shard, f.After = KillPrimary, out[last].Shard, out[last].After+min(out[last].For, longest)*3/4
		default:
			f.Kind, f.After = KillService, out[last].After+soon
		}
		if taken[f.Shard]+f.Kind.takes() > t.Replicas {
			d.back(f.Kind)
			continue
		}
		taken[f.Shard] += f.Kind.takes()
		out = append(out, f)
	}
	return out
}

func kinds(t Topology) []FaultKind {
	all := []FaultKind{
		KillPrimary, KillPrimary, KillPrimary, KillReplica, HaltPrimary, HaltPrimary, HaltReplica, KillService, RestartService,
		CutLink, CutLink, CutService, TestFailover, MoreReplicas, FewerReplicas,
	}
	if t.Cluster {
		all = append(all, MoreShards, FewerShards)
	}
	return all
}

// deck deals every kind before it deals any of them again.
type deck struct {
	rng  *rand.Rand
	all  []FaultKind
	left []FaultKind
}

func (d *deck) next() FaultKind {
	if len(d.left) == 0 {
		d.left = slices.Clone(d.all)
		d.rng.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	k := d.left[0]
	d.left = d.left[1:]
	return k
}

// back puts one under the others.
func (d *deck) back(k FaultKind) { d.left = append(d.left, k) }
