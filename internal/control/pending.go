package control

import (
	"context"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// later is what becomes of the part of a change that concerns engines and node types.
type later struct {
	// begins: it is not to wait for the maintenance window.
	begins bool
	notes  []string
}

// changeKind takes over what a request asks of engine, version, node type and parameter
// group. A parameter group alone is used at once. All else is added to what is pending,
// in place of what it contradicts, and checked as a whole: whatever may be refused is
// refused now and not in the maintenance window.
func (c *Control) changeKind(tx *store.Tx, in *Change, s *cache.Settings, u *parameterUser, seen sizes) (out later, err error) {
	before := pendingOf(s)
	d, err := c.newEngine(&in.Same, s, u.build())
	if err != nil {
		return out, err
	}
	asks := asked{engine: d != nil, nodeType: in.Same.NodeType != "" && in.Same.NodeType != s.NodeType, group: in.ParameterGroup != ""}
	asks.up = asks.nodeType && larger(in.Same.NodeType, s.NodeType)
	p := before
	in.putEngine(&p, d, s)
	in.putNodeType(&p, s)
	waits, err := in.putParameterGroup(tx, &p, u.region(), s, asks)
	if err != nil {
		return out, err
	}
	if !waits {
		if out.notes, err = c.associate(tx, u.region(), in.ParameterGroup, s, u); err != nil {
			return out, err
		}
	}
	if p.Empty() {
		s.Pending = nil
		if !before.Empty() {
			out.notes = append(out.notes, "The pending modification of "+u.name()+" is cancelled")
		}
		return out, nil
	}
	to, err := c.checkPending(tx, &p, s, u, asks)
	if err != nil {
		return out, err
	}
	if p != before {
		p.AskedAt = c.Now()
		if d != nil {
			d.note()
			out.notes = append(out.notes, d.notes...)
		}
	}
	if in.Immediately {
		if err := checkBlocked(&before, s, asks); err != nil {
			return out, err
		}
		if err := c.checkMemory(tx, to, s, u, seen); err != nil {
			return out, err
		}
		p.Now, out.begins = true, true
	} else if p != before {
		out.notes = append(out.notes, "The modification to "+p.What()+" waits for the maintenance window "+s.MaintenanceWindow)
	}
	s.Pending = &p
	return out, nil
}

// asked is what a request itself asks for, other than what there is already; up tells a
// larger node type.
type asked struct{ engine, nodeType, up, group bool }

// pendingOf is a copy of what is pending.
func pendingOf(s *cache.Settings) cache.Pending {
	if s.Pending == nil {
		return cache.Pending{}
	}
	return *s.Pending
}

// putEngine puts another engine or version in the place of what is pending of that. To ask
// for the present one is to cancel.
func (c *Change) putEngine(p *cache.Pending, d *decided, s *cache.Settings) {
	switch {
	case d != nil:
		p.Engine, p.EngineVersion, p.Build, p.ParameterGroup = d.Engine, d.EngineVersion, d.choice.Build, ""
	case c.Same.EngineVersion != "", c.Same.Engine != "" && p.Engine != s.Engine:
		p.Engine, p.EngineVersion, p.Build, p.ParameterGroup = "", "", "", ""
	}
}

func (c *Change) putNodeType(p *cache.Pending, s *cache.Settings) {
	switch c.Same.NodeType {
	case "":
	case s.NodeType:
		p.NodeType = ""
	default:
		p.NodeType = c.Same.NodeType
	}
	if p.Empty() {
		p.ParameterGroup = ""
	}
}

// putParameterGroup tells whether a parameter group is to wait, and then puts it there:
// one that comes with a change that is asked for, or only goes with one that waits.
func (c *Change) putParameterGroup(tx *store.Tx, p *cache.Pending, region string, s *cache.Settings, asks asked) (waits bool, err error) {
	if c.ParameterGroup == "" || p.Empty() {
		return false, nil
	}
	g, err := findParameterGroup(tx, region, c.ParameterGroup)
	if err != nil {
		return false, err
	}
	family, _ := cache.FamilyOf(s.Engine, s.EngineVersion)
	if !asks.engine && !asks.nodeType && g.Family == family {
		return false, nil
	}
	p.ParameterGroup = g.Name
	return true, nil
}

// checkPending holds what is pending against everything that can be known now, and
// returns what the cache is to become.
func (c *Control) checkPending(tx *store.Tx, p *cache.Pending, s *cache.Settings, u *parameterUser, asks asked) (cache.Kind, error) {
	now := s.Kind(u.build())
	to, err := records.Successor(tx, u.region(), now, p)
	if err != nil {
		return to, err
	}
	if err := cache.CheckUpgrade(now, to, u.builds(), u.group == nil); err != nil {
		return to, err
	}
	d := &decided{Settings: cache.Settings{Engine: to.Engine, EngineVersion: to.EngineVersion}}
	if err := decideNodeType(d, to.NodeType); err != nil {
		return to, err
	}
	if to.NodeType != now.NodeType {
		if err := checkAllowed(now, to); err != nil {
			return to, err
		}
		if to.Parameters[cache.ParamReservedMemory] != "" && asks.nodeType && !asks.group {
			return to, conflict("The parameter group %s reserves a number of bytes (%s): name a CacheParameterGroupName that is sized for the node type %s.",
				to.ParameterGroup, cache.ParamReservedMemory, to.NodeType)
		}
	}
	if err := checkDurability(to.Parameters, u.multiAZ()); err != nil {
		return to, err
	}
	g, err := findParameterGroup(tx, u.region(), to.ParameterGroup)
	if err != nil {
		return to, err
	}
	if err := checkDatabases(now, to, u); err != nil {
		return to, err
	}
	return to, c.checkHonoured(&g, to.Build, g.Values)
}

// checkBlocked refuses what ElastiCache does: an engine and a size are changed one after
// the other, or together, but none of them overtakes the other.
func checkBlocked(before *cache.Pending, s *cache.Settings, asks asked) error {
	const ways = "Ask for both in one request, leave ApplyImmediately out, or wait for the maintenance window (%s)."
	pendingEngine, pendingType := before.EngineVersion != "", before.NodeType != ""
	if asks.engine && asks.nodeType {
		return nil
	}
	switch {
	case pendingEngine && pendingType && (asks.engine || asks.nodeType):
		return conflict("An engine upgrade to %s %s and a change of the node type to %s are pending: neither can be applied immediately without the other. "+ways,
			before.Engine, before.EngineVersion, before.NodeType, s.MaintenanceWindow)
	case asks.engine && pendingType && larger(before.NodeType, s.NodeType):
		return conflict("The engine upgrade cannot be applied immediately while a scale up to %s is pending. "+ways, before.NodeType, s.MaintenanceWindow)
	case asks.up && pendingEngine:
		return conflict("The scale up cannot be applied immediately while an engine upgrade to %s %s is pending. "+ways,
			before.Engine, before.EngineVersion, s.MaintenanceWindow)
	}
	return nil
}

func larger(a, b string) bool {
	x, _ := cache.FindNodeType(a)
	y, _ := cache.FindNodeType(b)
	return x.MaxMemory > y.MaxMemory
}

// ShowPending puts what is pending of groups, or under way, into their members as they
// were read: the API shows it there, and the group has it.
func (c *Control) ShowPending(ctx context.Context, all []cache.CacheCluster) error {
	return c.DB.View(ctx, func(tx *store.Tx) error {
		for i := range all {
			if err := showPending(tx, &all[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func showPending(tx *store.Tx, k *cache.CacheCluster) error {
	up, p := k.Upgrade, pendingOf(&k.Settings)
	if k.GroupID != "" {
		g, _, err := records.Groups.Get(tx, cache.Key(k.Region, k.GroupID))
		if err != nil {
			return err
		}
		up, p = g.Upgrade, pendingOf(&g.Settings)
	}
	if p.Patch(&k.Settings) {
		p = cache.Pending{} // a service update changes nothing that is shown here
	}
	if up != nil && up.Failed == "" {
		if up.To.Engine != k.Engine || up.To.EngineVersion != k.EngineVersion {
			p.Engine, p.EngineVersion = up.To.Engine, up.To.EngineVersion
		}
		if up.To.NodeType != k.NodeType {
			p.NodeType = up.To.NodeType
		}
	}
	k.Pending = &p
	return nil
}

// build is one that serves, and builds are all of them.
func (u *parameterUser) build() string {
	if u.group != nil {
		for i := range u.members {
			if u.group.Leads(u.members[i].ID) {
				return u.members[i].Node.Build
			}
		}
	}
	if len(u.members) == 0 {
		return ""
	}
	return u.members[0].Node.Build
}

func (u *parameterUser) builds() []string {
	var out []string
	for i := range u.members {
		out = append(out, u.members[i].Node.Build)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (u *parameterUser) region() string {
	if u.group != nil {
		return u.group.Region
	}
	return u.members[0].Region
}
