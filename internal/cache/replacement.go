package cache

import "strconv"

// NodeKey is the key under which the process and the directory of the cluster's node are
// known: that of the cluster, or one of the node's own once it has been replaced. No
// cluster can have it, for none has a dot in its name.
func (c *CacheCluster) NodeKey() string { return generationKey(c.Key(), c.Node.Generation) }

func generationKey(key string, generation int) string {
	if generation == 0 {
		return key
	}
	return key + "." + strconv.Itoa(generation)
}

// DiscardKeys are the keys of the generations that are to go.
func (c *CacheCluster) DiscardKeys() []string {
	out := make([]string, len(c.Node.Discard))
	for i, g := range c.Node.Discard {
		out[i] = generationKey(c.Key(), g)
	}
	return out
}

// Replacement is the cluster as it would be with its Next as its node, still at the
// address of that. Only with a Next.
func (c *CacheCluster) Replacement() CacheCluster {
	r := *c
	r.Node = *c.Node.Next
	if k := r.Node.Becomes; k != nil {
		r.Settings.Become(*k)
	}
	return r
}

// Succeed makes the Next the node: it has the address and the place in its shard of the
// former, whose process and directory are to go.
func (c *CacheCluster) Succeed() {
	old := c.Node
	*c = c.Replacement()
	n := &c.Node
	n.Address, n.BusPort = old.Address, old.BusPort
	n.Discard = append(old.Discard, old.Generation)
	n.Next, n.Becomes, n.Compared, n.TakingOver = nil, nil, false, false
}

// GiveUpNext has the Next go.
func (c *CacheCluster) GiveUpNext() {
	if n := c.Node.Next; n != nil {
		c.Node.Discard = append(c.Node.Discard, n.Generation)
		c.Node.Next = nil
	}
}
