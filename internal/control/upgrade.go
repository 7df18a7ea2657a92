package control

import (
	"context"
	"errors"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// newEngine finds what serves another engine or version than there is; nil where none is
// asked for.
func (c *Control) newEngine(in *Same, s *cache.Settings, build string) (*decided, error) {
	if in.Engine == "" && in.EngineVersion == "" {
		return nil, nil
	}
	a := Asked{Engine: in.Engine, EngineVersion: in.EngineVersion}
	if a.Engine == "" {
		a.Engine = s.Engine
	}
	if lower(a.Engine) == s.Engine {
		if a.EngineVersion == "" || presentVersion(a.EngineVersion, s.EngineVersion, build) {
			return nil, nil
		}
		// Whether an older one is installed is not the question.
		older := cache.Kind{Engine: s.Engine, EngineVersion: a.EngineVersion}
		if err := checkVersion(a.EngineVersion); err == nil && !isLine(a.EngineVersion) {
			if err := cache.CheckUpgrade(s.Kind(build), older, nil, false); err != nil {
				return nil, err
			}
		}
	}
	d := &decided{}
	if err := c.decideEngine(d, &a); err != nil {
		return nil, err
	}
	if d.Engine == s.Engine && d.EngineVersion == s.EngineVersion {
		return nil, nil
	}
	return d, nil
}

// isLine tells a version like "6.x".
func isLine(version string) bool {
	return len(version) > 2 && version[len(version)-2:] == ".x"
}

// sizes are what the data of primaries take, by member; nil for nothing known.
type sizes map[string]int64

// lookAtGroup asks the primaries of a group how much data they have, if that matters for
// a change. What does not answer is not known: it is asked again before anything is done.
func (c *Control) lookAtGroup(ctx context.Context, region, id string, in *Change) (sizes, error) {
	if !in.Immediately {
		return nil, nil
	}
	g, err := c.readGroup(ctx, region, id)
	if err != nil {
		return nil, err
	}
	if !in.asksKind() && g.Pending.Empty() {
		return nil, nil
	}
	out := sizes{}
	for _, s := range g.Shards() {
		if h, ok := c.probe(ctx, g, s.Primary); ok {
			out[s.Primary] = h.UsedMemory
		}
	}
	return out, nil
}

// lookAtCluster does so for a cluster that stands alone.
func (c *Control) lookAtCluster(ctx context.Context, region, id string, in *Change) (sizes, error) {
	if !in.Immediately {
		return nil, nil
	}
	var k cache.CacheCluster
	err := c.DB.View(ctx, func(tx *store.Tx) (err error) {
		k, err = getCluster(tx, region, id)
		return err
	})
	if err != nil || !in.asksKind() && k.Pending.Empty() {
		return nil, err
	}
	alone := &Group{Members: []cache.CacheCluster{k}}
	alone.Secret = k.Secret
	if h, ok := c.probe(ctx, alone, k.ID); ok {
		return sizes{k.ID: h.UsedMemory}, nil
	}
	return nil, nil
}

func (c *Change) asksKind() bool {
	return c.Same.Engine != "" || c.Same.EngineVersion != "" || c.Same.NodeType != ""
}

// checkMemory refuses what the data do not fit into, with both figures, before anything
// is touched.
func (c *Control) checkMemory(tx *store.Tx, to cache.Kind, s *cache.Settings, u *parameterUser, seen sizes) error {
	var all int64
	for i := range u.members {
		k := &u.members[i]
		used, known := seen[k.ID]
		if !known {
			continue
		}
		all += used
		if holds := to.Holds(); used > holds {
			return &tooSmall{nodeType: to.NodeType, members: u.ids(), fault: cache.Faultf(codeInvalidCombination,
				"Cannot modify %s: the data of %s take %s of memory and a node of type %s holds %s with the parameter group %s. "+
					"Choose a larger node type, or delete keys and ask again.",
				u.name(), k.ID, size(used), to.NodeType, size(holds), to.ParameterGroup)}
		}
	}
	if err := c.checkReserved(tx, to, s, u); err != nil {
		return err
	}
	replaced := false
	for _, b := range u.builds() {
		replaced = replaced || b != to.Build
	}
	if free := c.Memory.Available(); replaced && all > free {
		return cache.Faultf(codeInsufficientCapacity,
			"Cannot modify %s: its data take %s of memory once more while its nodes are replaced, and this machine has %s free.", u.name(), size(all), size(free))
	}
	return nil
}

func (u *parameterUser) ids() []string {
	var out []string
	for i := range u.members {
		out = append(out, u.members[i].ID)
	}
	return out
}

// checkReserved holds larger nodes against the machine, where memory is reserved.
func (c *Control) checkReserved(tx *store.Tx, to cache.Kind, s *cache.Settings, u *parameterUser) error {
	was, _ := cache.FindNodeType(s.NodeType)
	more, _ := cache.FindNodeType(to.NodeType)
	if !c.StrictMemory || more.MaxMemory <= was.MaxMemory {
		return nil
	}
	_, sum, err := nominal(tx, u.region())
	if err != nil {
		return err
	}
	sum += (more.MaxMemory - was.MaxMemory) * int64(len(u.members))
	if total := c.Memory.Total(); sum > total {
		return cache.Faultf(codeInsufficientCapacity, "All caches together would reserve %s and this machine has %s of memory.", size(sum), size(total))
	}
	return nil
}

// tooSmall is the fault that data do not fit into a node type. ElastiCache tells of it by
// events of the cache and of its nodes, whoever asked.
type tooSmall struct {
	nodeType string
	members  []string
	fault    error
}

func (t *tooSmall) Error() string { return t.fault.Error() }
func (t *tooSmall) Unwrap() error { return t.fault }

// tellRefusal adds the events of a refusal that has some, and returns the fault itself.
func (c *Control) tellRefusal(ctx context.Context, region, sourceType, id string, err error) error {
	small := (*tooSmall)(nil)
	if !errors.As(err, &small) {
		return err
	}
	told := c.DB.Update(ctx, func(tx *store.Tx) error {
		if err := c.tell(tx, region, sourceType, id, failedNodeType(small.nodeType)); err != nil || sourceType != cache.EventGroup {
			return err
		}
		for _, m := range small.members {
			if err := c.tell(tx, region, cache.EventCluster, m, failedNodeType(small.nodeType)); err != nil {
				return err
			}
		}
		return nil
	})
	if told != nil {
		return told
	}
	return small.fault
}

// failedNodeType is ElastiCache's event, to the letter.
func failedNodeType(nodeType string) string {
	return "Failed applying modification to cache node type to " + nodeType + "."
}
