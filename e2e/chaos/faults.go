package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/smithy-go"
)

// errNoNetwork: see Isolate.
var errNoNetwork = errors.New("left out: there is no network namespace of our own here")

// errSkipped: the fault would be no fair one, or no fault.
var errSkipped = errors.New("left out")

// groupID is the name of the group under test.
const groupID = "chaos"

// most and fewest replicas that a shard is given.
const mostReplicas, fewestReplicas = 4, 1

// breaker does the faults of one episode.
type breaker struct {
	service *service
	group   *group
	rec     *recorder

	mu    sync.Mutex
	taken map[string]int // nodes, by shard
}

// play does faults at their times and returns when all of them are over.
func (b *breaker) play(ctx context.Context, faults []Fault) {
	var all sync.WaitGroup
	for _, f := range faults {
		all.Go(func() {
			if pause(ctx, f.After) {
				b.do(ctx, f)
			}
		})
	}
	all.Wait()
}

// pause waits; false if the context ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// do does one fault, from its begin to its end, and writes it down.
func (b *breaker) do(ctx context.Context, f Fault) {
	a := Applied{Fault: f, At: b.rec.now()}
	end, err := b.begin(ctx, &a)
	if err != nil {
		a.Note = err.Error()
		if errors.Is(err, errSkipped) || errors.Is(err, errNoNetwork) || errors.Is(err, errNoProcess) {
			a.Takes, a.Skipped = 0, true
		}
		b.rec.fault(a)
		return
	}
	if end != nil {
		pause(ctx, f.For)
		if err := end(); err != nil {
			a.Note = err.Error()
		}
	}
	b.rec.fault(a)
}

// begin does what a fault begins with; end, which may be nil, is what it ends with.
func (b *breaker) begin(ctx context.Context, a *Applied) (end func() error, err error) {
	switch a.Kind {
	case KillService, RestartService:
		sig := syscall.SIGTERM
		if a.Kind == KillService {
			sig = syscall.SIGKILL
		}
		a.On = "the service"
		return b.service.start, b.service.end(sig)
	case MoreReplicas, FewerReplicas, MoreShards, FewerShards:
		a.On = "the group"
		return nil, b.change(ctx, a)
	}
	shards := b.group.shardIDs()
	a.Where = shards[a.Shard%len(shards)]
	if err := b.allow(a); err != nil {
		return nil, err
	}
	primary, target := b.find(ctx, a)
	if target == nil {
		return nil, fmt.Errorf("%w: no node of shard %s says that it has that role", errSkipped, a.Where)
	}
	a.On = target.Name
	switch a.Kind {
	case KillPrimary, KillReplica:
		_, err := b.signal(target.Name, syscall.SIGKILL)
		return nil, err
	case HaltPrimary, HaltReplica:
		p, err := b.signal(target.Name, syscall.SIGSTOP)
		return func() error { return b.goOn(target.Name, p) }, err
	case CutLink:
		a.On += " from " + primary.Name
		return cut(primary.host(), target.host())
	case CutService:
		return cut("127.0.0.1", target.host())
	case TestFailover:
		return nil, b.call(ctx, func(api *elasticache.Client) error {
			_, err := api.TestFailover(ctx, &elasticache.TestFailoverInput{ReplicationGroupId: aws.String(groupID), NodeGroupId: &a.Where})
			return err
		})
	}
	return nil, fmt.Errorf("%w: there is no fault %q", errSkipped, a.Kind)
}

// findWithin is how long a fault waits for somebody to have the role that it is for:
// who has it only just is a case of its own.
const findWithin = 3 * time.Second

// find is what a fault is for, and the shard's primary; target is nil if there is none.
func (b *breaker) find(ctx context.Context, a *Applied) (primary, target *node) {
	for end := time.Now().Add(findWithin); ; {
		primary, replicas := b.group.roles(ctx, a.Where)
		switch a.Kind {
		case KillReplica, HaltReplica, CutLink:
			if primary != nil && len(replicas) > 0 {
				return primary, &replicas[a.Node%len(replicas)]
			}
		default:
			if primary != nil {
				return primary, primary
			}
		}
		if time.Now().After(end) || !pause(ctx, pollEvery/4) {
			return nil, nil
		}
	}
}

// allow refuses what would take the last node of a shard away. Replicas may have
// been added and taken away since the schedule was drawn.
func (b *breaker) allow(a *Applied) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := a.Kind.takes()
	if b.taken[a.Where]+n >= max(1, len(b.group.of(a.Where))) {
		return fmt.Errorf("%w: no node of shard %s would be left", errSkipped, a.Where)
	}
	b.taken[a.Where] += n
	a.Takes = n
	return nil
}

// signal is sent to the engine of a node.
func (b *breaker) signal(name string, sig syscall.Signal) (int, error) {
	p, err := pid(b.service.dir, name)
	if err != nil || p == 0 {
		return 0, errors.Join(errNoProcess, err)
	}
	return p, syscall.Kill(p, sig)
}

// goOn lets a halted engine go on, unless it has been killed meanwhile.
func (b *breaker) goOn(name string, halted int) error {
	p, err := pid(b.service.dir, name)
	if err != nil || p != halted {
		return err
	}
	if err := syscall.Kill(p, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// call asks the API for something, again while the service is down. An action that is
// not built is no fault.
func (b *breaker) call(ctx context.Context, do func(*elasticache.Client) error) error {
	var refusal smithy.APIError
	why := poll(ctx, func() string {
		api, err := b.service.api()
		if err == nil {
			err = do(api)
		}
		if err == nil || errors.As(err, &refusal) {
			return ""
		}
		return err.Error()
	})
	switch {
	case why != "":
		return errors.New(why)
	case refusal == nil:
		return nil
	case refusal.ErrorCode() == "UnsupportedOperation":
		return fmt.Errorf("%w: it is not built", errSkipped)
	}
	// It may have been done all the same, by a call that got no answer.
	return fmt.Errorf("%s: %s", refusal.ErrorCode(), refusal.ErrorMessage())
}

// change asks for more or fewer nodes. What is taken away is taken from every shard.
func (b *breaker) change(ctx context.Context, a *Applied) error {
	shards := b.group.shardIDs()
	if a.Kind.movesSlots() {
		return b.reshard(ctx, a, shards)
	}
	count := len(b.group.of(shards[0])) - 1
	if a.Kind == MoreReplicas {
		if count++; count > mostReplicas {
			return fmt.Errorf("%w: there are enough replicas", errSkipped)
		}
		return b.call(ctx, func(api *elasticache.Client) error {
			_, err := api.IncreaseReplicaCount(ctx, &elasticache.IncreaseReplicaCountInput{
				ReplicationGroupId: aws.String(groupID), ApplyImmediately: aws.Bool(true), NewReplicaCount: aws.Int32(int32(count)),
			})
			return err
		})
	}
	if count--; count < fewestReplicas {
		return fmt.Errorf("%w: there are few replicas", errSkipped)
	}
	for _, s := range shards {
		a.Where = s
		if err := b.allow(a); err != nil {
			return err
		}
	}
	a.Where = ""
	return b.call(ctx, func(api *elasticache.Client) error {
		_, err := api.DecreaseReplicaCount(ctx, &elasticache.DecreaseReplicaCountInput{
			ReplicationGroupId: aws.String(groupID), ApplyImmediately: aws.Bool(true), NewReplicaCount: aws.Int32(int32(count)),
		})
		return err
	})
}

func (b *breaker) reshard(ctx context.Context, a *Applied, shards []string) error {
	in := &elasticache.ModifyReplicationGroupShardConfigurationInput{
		ReplicationGroupId: aws.String(groupID), ApplyImmediately: aws.Bool(true), NodeGroupCount: aws.Int32(int32(len(shards) + 1)),
	}
	if a.Kind == FewerShards {
		if len(shards) < 2 {
			return fmt.Errorf("%w: there is one shard", errSkipped)
		}
		in.NodeGroupCount = aws.Int32(int32(len(shards) - 1))
		in.NodeGroupsToRemove = shards[a.Shard%len(shards) : a.Shard%len(shards)+1]
	} else if len(shards) > 3 {
		return fmt.Errorf("%w: there are enough shards", errSkipped)
	}
	return b.call(ctx, func(api *elasticache.Client) error {
		_, err := api.ModifyReplicationGroupShardConfiguration(ctx, in)
		return err
	})
}
