package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"holdfast.dev/internal/resp"
)

// keySet are the keys of an episode with their shards.
type keySet struct {
	names  []string
	shards map[string]string
}

// keys are new ones for an episode, evenly over the shards.
func (r *Round) keys(ctx context.Context, number int) (keySet, error) {
	k := keySet{shards: map[string]string{}}
	shards := r.group.shardIDs()
	owner := r.owner(ctx, shards)
	count := map[string]int{}
	for i := 0; len(k.names) < keysPerShard*len(shards); i++ {
		if i > 10000 {
			return k, fmt.Errorf("slots are spread over %d of %d shards alone", len(count), len(shards))
		}
		key := fmt.Sprintf("e%d-k%d", number, i)
		shard, err := owner(key)
		if err != nil {
			return k, err
		}
		if count[shard] < keysPerShard {
			count[shard]++
			k.names, k.shards[key] = append(k.names, key), shard
		}
	}
	return k, nil
}

func addresses(nodes []node) []string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Addr)
	}
	return out
}

// owner tells in which shard a key is, as a client finds it out.
func (r *Round) owner(ctx context.Context, shards []string) func(key string) (string, error) {
	if len(shards) == 1 {
		return func(string) (string, error) { return shards[0], nil }
	}
	nodes := r.group.all()
	route := newSlots(addresses(nodes))
	return func(key string) (shard string, err error) {
		why := poll(ctx, func() string {
			at, err := route.at(ctx, key)
			i := slices.IndexFunc(nodes, func(n node) bool { return n.Addr == at })
			if err != nil || i < 0 {
				route.wrong(key, "")
				return fmt.Sprintf("cannot find the shard of slot %d: it is at %q: %v", resp.Slot([]byte(key)), at, err)
			}
			shard = nodes[i].Shard
			return ""
		})
		if why != "" {
			return "", errors.New(why)
		}
		return shard, nil
	}
}
