package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"holdfast.dev/internal/cache"
)

// fakeMachine stands for everything outside the records: processes, files and
// forwarders. Like the real ones they outlive a runner.
type fakeMachine struct {
	mu        sync.Mutex
	nextPID   int
	processes map[string]*fakeProcess // by node key
	dirs      map[string]bool
	objects   map[string]bool
	forwards  map[cache.Address][]cache.Address
	starts    map[string]int
	// used is what every node says of its memory.
	used int64
	// stubborn nodes keep the limit of their memory whatever they are told.
	stubborn bool
	// broken makes the named method fail with this error.
	broken map[string]error
	// calls counts every method call, and hook is told of each, before it does anything.
	calls int
	hook  func(call int, name string)
	slots fakeSlots
	// conflicts are attempts to answer where another node does, behind is how much of the
	// stream nodes lack.
	conflicts []string
	behind    map[string]int64
	// unlinked is for how long replicas have been without their primaries.
	unlinked map[string]time.Duration
	// late is what primaries still take between their being drained and their letting go.
	late int64
}

type fakeProcess struct {
	ref    cache.Process
	spec   cache.NodeSpec
	loaded bool // it was started with a seed
	// started is what it was started with; spec changes.
	started cache.NodeSpec
	exited  chan struct{}
	// met and forgot are the nodes that it was told of, held that it takes no writes.
	met, forgot []string
	held        bool
	// deaf: it has let go of its addresses.
	deaf bool
	// ended are users whose connections were to end.
	ended []string
	// holds: it has the data, which a replica gets from its primary: see fakes_upgrade_test.go.
	holds bool
}

func newMachine() *fakeMachine {
	return &fakeMachine{
		nextPID: 100, processes: map[string]*fakeProcess{}, dirs: map[string]bool{}, objects: map[string]bool{},
		forwards: map[cache.Address][]cache.Address{}, starts: map[string]int{}, broken: map[string]error{},
	}
}

// enter is the beginning of every method.
func (f *fakeMachine) enter(ctx context.Context, name string) error {
	f.mu.Lock()
	f.calls++
	call, hook, err := f.calls, f.hook, f.broken[name]
	f.mu.Unlock()
	if hook != nil {
		hook(call, name)
	}
	return errors.Join(ctx.Err(), err)
}

func (f *fakeMachine) Start(ctx context.Context, spec cache.NodeSpec) (cache.Process, error) {
	if err := f.enter(ctx, "start"); err != nil {
		return cache.Process{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.processes[spec.Key]; p != nil {
		return p.ref, nil
	}
	if spec.Seeded && !f.objects[f.SeedPath(spec)] {
		return cache.Process{}, fmt.Errorf("%s has no seed file", spec.Key)
	}
	f.nextPID++
	p := &fakeProcess{ref: cache.Process{PID: f.nextPID}, spec: spec, started: spec, loaded: spec.Seeded, exited: make(chan struct{})}
	f.processes[spec.Key], f.dirs[spec.Key] = p, true
	f.starts[spec.Key]++
	return p.ref, nil
}

func (f *fakeMachine) find(ref cache.Process) *fakeProcess {
	for _, p := range f.processes {
		if p.ref == ref {
			return p
		}
	}
	return nil
}

func (f *fakeMachine) Adopt(ctx context.Context, _ cache.NodeSpec, ref cache.Process) (bool, error) {
	if err := f.enter(ctx, "adopt"); err != nil {
		return false, err
	}
	return f.alive(ref), nil
}

func (f *fakeMachine) Running(ctx context.Context, spec cache.NodeSpec) (cache.Process, bool, error) {
	if err := f.enter(ctx, "running"); err != nil {
		return cache.Process{}, false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.processes[spec.Key]; p != nil {
		return p.ref, true, nil
	}
	return cache.Process{}, false, nil
}

func (f *fakeMachine) alive(ref cache.Process) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.find(ref) != nil
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (f *fakeMachine) Exited(ref cache.Process) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.find(ref); p != nil {
		return p.exited
	}
	return closed
}

// kill ends a node's process as kill -9 does.
func (f *fakeMachine) kill(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.processes[key]; p != nil {
		delete(f.processes, key)
		close(p.exited)
	}
}

func (f *fakeMachine) AwaitReady(ctx context.Context, spec cache.NodeSpec) (cache.Health, error) {
	if err := f.enter(ctx, "ready"); err != nil {
		return cache.Health{}, err
	}
	f.mu.Lock()
	p := f.processes[spec.Key]
	f.mu.Unlock()
	if p != nil && p.spec.Primary != spec.Primary {
		return cache.Health{}, fmt.Errorf("%w: it was told otherwise", cache.ErrAmbiguous)
	}
	if err := f.synchronize(ctx, spec); err != nil {
		return cache.Health{}, err
	}
	return f.Probe(ctx, spec)
}

func (f *fakeMachine) AwaitFormed(ctx context.Context, spec cache.NodeSpec) error {
	if err := f.enter(ctx, "formed"); err != nil {
		return err
	}
	for {
		formed, err := f.formed(spec)
		if formed || err != nil {
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// formed tells whether every node of a cluster leads or follows as it should. That the node
// which is asked does not run is an error; the others are waited for.
func (f *fakeMachine) formed(spec cache.NodeSpec) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.processes[spec.Key] == nil {
		return false, fmt.Errorf("nobody answers at %s", hostPort(spec.Address))
	}
	for _, n := range spec.Cluster.Nodes {
		p := f.at(n.Address)
		if p == nil || (n.Primary == "") != p.spec.Primary.IsZero() {
			return false, nil
		}
	}
	return true, nil
}

// at finds the process that answers at an address.
func (f *fakeMachine) at(a cache.Address) *fakeProcess {
	for _, p := range f.processes {
		if p.spec.Address == a {
			return p
		}
	}
	return nil
}

func (f *fakeMachine) Probe(_ context.Context, spec cache.NodeSpec) (cache.Health, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.processes[spec.Key]
	if p == nil {
		return cache.Health{}, errors.New("nobody answers")
	}
	role := cache.RolePrimary
	if !p.spec.Primary.IsZero() {
		role = cache.RoleReplica
	}
	limit := f.processes[spec.Key].spec.MaxMemory
	if f.stubborn {
		limit = f.processes[spec.Key].started.MaxMemory
	}
	down := f.unlinked[spec.Key]
	return cache.Health{
		Role: role, LinkUp: !spec.Primary.IsZero() && down == 0, LinkDown: down, Offset: 1 - f.behind[spec.Key],
		UsedMemory: f.used, MaxMemory: limit,
	}, nil
}

func (f *fakeMachine) Reconfigure(ctx context.Context, spec cache.NodeSpec) error {
	if err := f.enter(ctx, "configure"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.processes[spec.Key]; p != nil {
		spec.Access = p.spec.Access // who may log in is not told with the rest
		p.spec = spec
		return nil
	}
	return errors.New("nobody answers")
}

func (f *fakeMachine) Apply(ctx context.Context, spec cache.NodeSpec) ([]string, error) {
	if err := f.enter(ctx, "apply"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.processes[spec.Key]
	if p == nil {
		return nil, errors.New("nobody answers")
	}
	p.spec.Parameters, p.spec.MaxMemory = spec.Parameters, spec.MaxMemory
	return nil, nil
}

func (f *fakeMachine) Grant(ctx context.Context, spec cache.NodeSpec, ended []string) error {
	if err := f.enter(ctx, "grant"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.processes[spec.Key]
	if p == nil {
		return errors.New("nobody answers")
	}
	p.spec.Access = spec.Access
	p.ended = append(p.ended, ended...)
	f.mu.Unlock()
	defer f.mu.Lock()
	return f.enter(ctx, "granted") // cut short here, it has been done and nobody knows
}

func (f *fakeMachine) Stop(ctx context.Context, spec cache.NodeSpec, _ *cache.Process) error {
	if err := f.enter(ctx, "stop"); err != nil {
		return err
	}
	f.kill(spec.Key)
	return nil
}

func (f *fakeMachine) Shelve(ctx context.Context, spec cache.NodeSpec) error {
	if err := f.enter(ctx, "shelve"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects[f.SeedPath(spec)] = true
	return nil
}

func (f *fakeMachine) Fence(ctx context.Context, spec cache.NodeSpec, p *cache.Process) error {
	if err := f.enter(ctx, "fence"); err != nil {
		return err
	}
	f.mu.Lock()
	running := f.processes[spec.Key]
	f.mu.Unlock()
	if p == nil || running != nil && running.ref == *p {
		f.kill(spec.Key)
	}
	return nil
}

func (f *fakeMachine) Introduce(ctx context.Context, spec cache.NodeSpec, id string) error {
	return f.tell(ctx, "introduce", spec, func(p *fakeProcess) { p.met = append(p.met, id) })
}

func (f *fakeMachine) Forget(ctx context.Context, spec cache.NodeSpec, id string) error {
	return f.tell(ctx, "forget", spec, func(p *fakeProcess) {
		p.met = slices.DeleteFunc(p.met, func(o string) bool { return o == id })
		p.forgot = append(p.forgot, id)
	})
}

func (f *fakeMachine) HoldWrites(ctx context.Context, spec cache.NodeSpec, _ time.Duration) error {
	return f.tell(ctx, "hold", spec, func(p *fakeProcess) { p.held = true })
}

func (f *fakeMachine) FreeWrites(ctx context.Context, spec cache.NodeSpec) error {
	return f.tell(ctx, "free", spec, func(p *fakeProcess) { p.held = false })
}

// tell does something to a running process.
func (f *fakeMachine) tell(ctx context.Context, name string, spec cache.NodeSpec, do func(*fakeProcess)) error {
	if err := f.enter(ctx, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.processes[spec.Key]
	if p == nil || p.deaf {
		return errors.New("nobody answers")
	}
	do(p)
	return nil
}

func (f *fakeMachine) Remove(ctx context.Context, spec cache.NodeSpec) error {
	if err := f.enter(ctx, "remove"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.dirs, spec.Key)
	return nil
}

func (f *fakeMachine) SeedPath(spec cache.NodeSpec) string { return "seed of " + spec.Key }

func (f *fakeMachine) ClearSeed(ctx context.Context, spec cache.NodeSpec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, f.SeedPath(spec))
	return ctx.Err()
}

func (f *fakeMachine) EndSave(ctx context.Context, _ cache.NodeSpec) error {
	return f.enter(ctx, "end save")
}

// Available and Total make it a machine with memory enough.
func (f *fakeMachine) Available() int64 { return 1 << 40 }

func (f *fakeMachine) Total() int64 { return 1 << 40 }

func (f *fakeMachine) Admin(spec cache.NodeSpec) cache.Login {
	return cache.Login{Address: spec.Address, Password: spec.Secret}
}

func (f *fakeMachine) Unapplied(context.Context, cache.NodeSpec) ([]string, error) {
	return []string{"odd"}, nil
}

func (f *fakeMachine) CanRebind(build string) bool {
	return build == "new" || build == "newer" || cache.TakesAddresses(build)
}

// fakeTransfers moves nothing: an object is there or it is not.
type fakeTransfers struct{ *fakeMachine }

func (f fakeTransfers) Seed(ctx context.Context, job cache.SeedJob) (cache.Seeded, error) {
	if err := f.enter(ctx, "seed"); err != nil {
		return cache.Seeded{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	out := cache.Seeded{Whole: cache.Manifest{Keys: 7}, Parts: map[string]cache.Manifest{}}
	for _, p := range job.Parts {
		f.objects[p.Path] = true
		out.Parts[p.NodeGroupID] = cache.Manifest{Keys: 7}
	}
	return out, nil
}

func (f fakeTransfers) Verify(ctx context.Context, _ cache.VerifyJob) error {
	return f.enter(ctx, "verify")
}

func (f fakeTransfers) Compare(ctx context.Context, _ cache.CompareJob) (cache.Comparison, error) {
	return cache.Comparison{Keys: 7}, f.enter(ctx, "compare")
}

func (f fakeTransfers) Snapshot(ctx context.Context, job cache.SnapshotJob) (cache.Manifest, error) {
	if err := f.enter(ctx, "snapshot"); err != nil {
		return cache.Manifest{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects[job.Object] = true
	return cache.Manifest{Keys: 7}, nil
}

func (f fakeTransfers) Copy(ctx context.Context, from, to cache.Snapshot) ([]cache.ShardSnapshot, error) {
	if err := f.enter(ctx, "copy"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects[f.SnapshotObject(to, "0001")] = true
	return from.Shards, nil
}

func (f fakeTransfers) Export(ctx context.Context, _ cache.Snapshot, e cache.Export) error {
	if err := f.enter(ctx, "export"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects[e.Bucket+"/"+e.TargetName] = true
	return nil
}

func (f fakeTransfers) Import(ctx context.Context, s cache.Snapshot) ([]cache.ShardSnapshot, error) {
	if err := f.enter(ctx, "import"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []cache.ShardSnapshot
	for _, file := range s.Import.Files {
		if !f.objects[s.Import.Staged+"/"+file.Name] {
			return nil, fmt.Errorf("there is no file %s", file.Name)
		}
		object := f.SnapshotObject(s, file.NodeGroupID)
		f.objects[object] = true
		out = append(out, cache.ShardSnapshot{NodeGroupID: file.NodeGroupID, Object: object})
	}
	return out, nil
}

func (f fakeTransfers) Unstage(ctx context.Context, s cache.Snapshot) error {
	if err := f.enter(ctx, "unstage"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, file := range s.Import.Files {
		delete(f.objects, s.Import.Staged+"/"+file.Name)
	}
	return nil
}

func (f fakeTransfers) Prove(ctx context.Context, s cache.Snapshot) error {
	if err := f.enter(ctx, "prove"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.objects[f.SnapshotObject(s, "0001")] {
		return fmt.Errorf("its file is gone: %w", cache.ErrPermanent)
	}
	return nil
}

func (f fakeTransfers) Retract(ctx context.Context, _ cache.Snapshot, e cache.Export) error {
	if err := f.enter(ctx, "retract"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, e.Bucket+"/"+e.TargetName)
	return nil
}

func (f fakeTransfers) Erase(ctx context.Context, s cache.Snapshot) error {
	if err := f.enter(ctx, "erase"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, f.SnapshotObject(s, "0001"))
	return nil
}

func (f fakeTransfers) SnapshotObject(s cache.Snapshot, shard string) string {
	return s.Key() + "/" + shard
}

// fakeEndpoints are the forwarders.
type fakeEndpoints struct{ *fakeMachine }

func (f fakeEndpoints) Set(ctx context.Context, at cache.Address, to []cache.Address) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forwards[at] = to
	return ctx.Err()
}

func (f fakeEndpoints) SetMixed(ctx context.Context, at cache.Address, to []cache.Address) error {
	var both []cache.Address
	for _, a := range to {
		both = append(both, a, a.TLS())
	}
	return f.Set(ctx, at, both)
}

func (f fakeEndpoints) SetLogin(ctx context.Context, at cache.Address, to []cache.Address, _ string, mixed bool) error {
	all := []cache.Address{loginsMark}
	for _, a := range to {
		if all = append(all, a); mixed {
			all = append(all, a.TLS())
		}
	}
	return f.Set(ctx, at, all)
}

func (f fakeEndpoints) Remove(ctx context.Context, at cache.Address) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.forwards, at)
	return ctx.Err()
}
