package reconcile

import (
	"context"

	"holdfast.dev/internal/cache"
)

// Memcacheds makes memcached nodes be what their specs say. Every method may be called
// again for something that has already happened.
type Memcacheds interface {
	// Start makes the node's process run, or finds the one that does.
	Start(ctx context.Context, spec cache.MemcachedSpec) (cache.Process, error)
	// Adopt takes over the watch of a process of an earlier run of the service,
	// and tells whether it still lives.
	Adopt(ctx context.Context, spec cache.MemcachedSpec, p cache.Process) (bool, error)
	// Exited is closed when the process has ended.
	Exited(p cache.Process) <-chan struct{}
	// AwaitReady returns once the node answers.
	AwaitReady(ctx context.Context, spec cache.MemcachedSpec, p cache.Process) error
	// StopKeeping ends the node so that its next start has its items if that can be, and
	// tells whether it will.
	StopKeeping(ctx context.Context, spec cache.MemcachedSpec) (bool, error)
	// Stop ends the node's process, known or not.
	Stop(ctx context.Context, spec cache.MemcachedSpec, p *cache.Process) error
	// Remove deletes everything of the node.
	Remove(ctx context.Context, spec cache.MemcachedSpec) error
	// CanKeep tells whether there is room for items that outlive a planned stop.
	CanKeep(spec cache.MemcachedSpec) bool
	// Stats are memcached's own counters, by its own names.
	Stats(ctx context.Context, spec cache.MemcachedSpec) (map[string]string, error)
	// Unapplied names the parameters that the node's build does not honour.
	Unapplied(spec cache.MemcachedSpec) []string
}

// Discovery stands before memcached nodes and answers auto discovery.
type Discovery interface {
	// Set makes exactly these fronts of a cluster stand; Remove takes all of them down.
	Set(ctx context.Context, cluster string, f cache.MemcachedFronts) error
	Remove(ctx context.Context, cluster string) error
}
