package reconcile

import (
	"context"
	"net"
	"strconv"
	"time"

	"holdfast.dev/internal/cache"
)

// Engines makes nodes be what their specs say. Every method may be called
// again for something that has already happened.
type Engines interface {
	SlotMover
	// Start makes the node's process run, or finds the one that does.
	Start(ctx context.Context, spec cache.NodeSpec) (cache.Process, error)
	// Adopt takes over the watch of a process of an earlier run of the service,
	// and tells whether it still lives.
	Adopt(ctx context.Context, spec cache.NodeSpec, p cache.Process) (bool, error)
	// Running finds the node's process, known or not, and takes over its watch.
	Running(ctx context.Context, spec cache.NodeSpec) (cache.Process, bool, error)
	// Exited is closed when the process has ended.
	Exited(p cache.Process) <-chan struct{}
	// AwaitReady returns once the node has loaded its data and, as a replica, is in step.
	AwaitReady(ctx context.Context, spec cache.NodeSpec) (cache.Health, error)
	// AwaitFormed returns once a node in cluster mode serves its slots and sees all
	// other nodes where they should be.
	AwaitFormed(ctx context.Context, spec cache.NodeSpec) error
	// Introduce makes a running node of a cluster know one that has joined, by its id,
	// and Forget one that has left it.
	Introduce(ctx context.Context, spec cache.NodeSpec, id string) error
	Forget(ctx context.Context, spec cache.NodeSpec, id string) error
	// HoldWrites has a primary take no writes for a while; FreeWrites, or Reconfigure,
	// ends that.
	HoldWrites(ctx context.Context, spec cache.NodeSpec, d time.Duration) error
	FreeWrites(ctx context.Context, spec cache.NodeSpec) error
	// HandOver makes to, a replica of from in cluster mode, lead in its place without losing
	// a write, and returns for how long writes waited. Without cache.ErrAmbiguous an error
	// means that from leads as before.
	HandOver(ctx context.Context, from, to cache.NodeSpec) (time.Duration, error)
	// Freeze is HoldWrites, which ends by itself, and tells how far the primary's stream is.
	Freeze(ctx context.Context, spec cache.NodeSpec, d time.Duration) (int64, error)
	// Release has a process let go of its addresses and clients, tells whole how far its
	// stream is by then, and ends it without waiting for that. If whole fails it serves
	// again. Released tells whether one that lives has let go.
	Release(ctx context.Context, spec cache.NodeSpec, p cache.Process, whole func(offset int64) error) error
	Released(ctx context.Context, spec cache.NodeSpec, p cache.Process) (bool, error)
	// TakeOver has a running node, which was started at another address, be what its spec
	// says at the address of the node that it replaces, and tells since when it answers
	// there. That one has to be dead, or to have let go.
	TakeOver(ctx context.Context, spec cache.NodeSpec, from cache.Address) (time.Time, error)
	// Probe looks at a running node.
	Probe(ctx context.Context, spec cache.NodeSpec) (cache.Health, error)
	// Reconfigure tells a running node its role, addresses and parameters.
	Reconfigure(ctx context.Context, spec cache.NodeSpec) error
	// Apply tells a running node its parameters alone, and names those that it does not
	// have afterwards.
	Apply(ctx context.Context, spec cache.NodeSpec) ([]string, error)
	// Grant makes the users of a running node those of its spec. Connections of users who
	// are gone end, and those of the users named.
	Grant(ctx context.Context, spec cache.NodeSpec, ended []string) error
	// Stop ends the node's process, known or not.
	Stop(ctx context.Context, spec cache.NodeSpec, p *cache.Process) error
	// Shelve writes the node's data to its seed file.
	Shelve(ctx context.Context, spec cache.NodeSpec) error
	// Fence kills the process that p names, and what is left of the node's, at once.
	Fence(ctx context.Context, spec cache.NodeSpec, p *cache.Process) error
	// Remove deletes the node's directory.
	Remove(ctx context.Context, spec cache.NodeSpec) error
	// SeedPath is the file that a seeded node loads; ClearSeed deletes it.
	SeedPath(spec cache.NodeSpec) string
	ClearSeed(ctx context.Context, spec cache.NodeSpec) error
	// EndSave sees to it that no child of the node goes on writing its data to a
	// reader that has gone.
	EndSave(ctx context.Context, spec cache.NodeSpec) error
	// Admin is Holdfast's own login on the node.
	Admin(spec cache.NodeSpec) cache.Login
	// Unapplied names the parameters that the node's build does not honour.
	Unapplied(ctx context.Context, spec cache.NodeSpec) ([]string, error)
	// CanRebind tells whether a build can change its addresses while it runs.
	CanRebind(build string) bool
}

// SlotMover moves slots between nodes in cluster mode.
type SlotMover interface {
	// MoveSlots moves slots between two primaries that serve, and calls told each time
	// some are the target's for good, with all of them so far. SlotOwners tells, by node
	// id, which slots each primary has, as the node sees it. CopyFunctions gives a node
	// the functions of another.
	MoveSlots(ctx context.Context, m cache.SlotMove, told func(cache.SlotProgress) error) error
	SlotOwners(ctx context.Context, spec cache.NodeSpec) (map[string]cache.Slots, error)
	CopyFunctions(ctx context.Context, from, to cache.NodeSpec) error
}

// Memory knows the machine, or the container, that the nodes run on.
type Memory interface {
	// Available is how many bytes are really free, Total how many there are.
	Available() int64
	Total() int64
}

// Transfers moves data and proves that it arrived.
type Transfers interface {
	// Seed writes the files that nodes start from.
	Seed(ctx context.Context, job cache.SeedJob) (cache.Seeded, error)
	// Verify fails with cache.ErrPermanent when the node does not hold what its seed held.
	Verify(ctx context.Context, job cache.VerifyJob) error
	// Compare says by how much a live node and one that follows it differ.
	Compare(ctx context.Context, job cache.CompareJob) (cache.Comparison, error)
	Snapshot(ctx context.Context, job cache.SnapshotJob) (cache.Manifest, error)
	Copy(ctx context.Context, from, to cache.Snapshot) ([]cache.ShardSnapshot, error)
	// Import takes the files that a snapshot's Import names into the snapshot store;
	// Unstage deletes them where they came from.
	Import(ctx context.Context, s cache.Snapshot) ([]cache.ShardSnapshot, error)
	Unstage(ctx context.Context, s cache.Snapshot) error
	Export(ctx context.Context, s cache.Snapshot, e cache.Export) error
	// Prove reads a stored snapshot to its end, slowly. It fails with
	// cache.ErrPermanent when it is not what was stored.
	Prove(ctx context.Context, s cache.Snapshot) error
	// Retract takes back what an export that is given up has left in its bucket.
	Retract(ctx context.Context, s cache.Snapshot, e cache.Export) error
	Erase(ctx context.Context, s cache.Snapshot) error
	// SnapshotObject is where a shard's file goes.
	SnapshotObject(s cache.Snapshot, nodeGroup string) string
}

// Endpoints stands in front of nodes where an engine cannot hold an address itself.
type Endpoints interface {
	Set(ctx context.Context, at cache.Address, to []cache.Address) error
	// SetMixed is Set for nodes that serve clients with TLS at another port.
	SetMixed(ctx context.Context, at cache.Address, to []cache.Address) error
	// SetLogin is Set, or with mixed SetMixed, for the nodes of a group, named by its key,
	// some of whose users log in with tokens of IAM.
	SetLogin(ctx context.Context, at cache.Address, to []cache.Address, unit string, mixed bool) error
	Remove(ctx context.Context, at cache.Address) error
}

func hostPort(a cache.Address) string {
	return net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}
