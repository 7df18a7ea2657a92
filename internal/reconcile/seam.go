package reconcile

import (
	"context"
	"net"
	"strconv"

	"holdfast.dev/internal/cache"
)

// Engines makes nodes be what their specs say. Every method may be called
// again for something that has already happened.
type Engines interface {
	// Start makes the node's process run, or finds the one that does.
	Start(ctx context.Context, spec cache.NodeSpec) (cache.Process, error)
	// Adopt takes over the watch of a process of an earlier run of the service,
	// and tells whether it still lives.
	Adopt(ctx context.Context, spec cache.NodeSpec, p cache.Process) (bool, error)
	// Exited is closed when the process has ended.
	Exited(p cache.Process) <-chan struct{}
	// AwaitReady returns once the node has loaded its data and, as a replica, is in step.
	AwaitReady(ctx context.Context, spec cache.NodeSpec) (cache.Health, error)
	// AwaitFormed returns once a node in cluster mode serves its slots and sees all
	// other nodes where they should be.
	AwaitFormed(ctx context.Context, spec cache.NodeSpec) error
	// Probe looks at a running node.
	Probe(ctx context.Context, spec cache.NodeSpec) (cache.Health, error)
	// Reconfigure tells a running node its role, addresses and parameters.
	Reconfigure(ctx context.Context, spec cache.NodeSpec) error
	// Stop ends the node's process, known or not.
	Stop(ctx context.Context, spec cache.NodeSpec, p *cache.Process) error
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
	Remove(ctx context.Context, at cache.Address) error
}

func hostPort(a cache.Address) string {
	return net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}
