package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// parameterUser is a cache that uses a parameter group: a replication group with its
// members, or a cluster that stands alone.
type parameterUser struct {
	group *cache.ReplicationGroup
	// members as they are numbered; one without a group.
	members []cache.CacheCluster
}

func (u *parameterUser) name() string {
	if u.group != nil {
		return "replication group " + u.group.ID
	}
	return "cache cluster " + u.members[0].ID
}

func (u *parameterUser) multiAZ() bool { return u.group != nil && u.group.MultiAZ }

// parameterGroupUsers are the caches that use a group.
func parameterGroupUsers(tx *store.Tx, g *cache.ParameterGroup) ([]parameterUser, error) {
	groups, err := records.Groups.List(tx, records.InRegion(g.Region))
	if err != nil {
		return nil, err
	}
	var out []parameterUser
	for i := range groups {
		if !refersTo(&groups[i].Settings, groups[i].Upgrade, g.Name) {
			continue
		}
		full, err := withMembers(tx, groups[i])
		if err != nil {
			return nil, err
		}
		out = append(out, parameterUser{group: &groups[i], members: full.Members})
	}
	alone, err := records.Clusters.List(tx, records.InRegion(g.Region))
	if err != nil {
		return nil, err
	}
	for _, k := range alone {
		if k.GroupID == "" && refersTo(&k.Settings, k.Upgrade, g.Name) {
			out = append(out, parameterUser{members: []cache.CacheCluster{k}})
		}
	}
	return out, nil
}

// giveParameters writes a group's values into the records of a cache that uses it.
func (c *Control) giveParameters(tx *store.Tx, u *parameterUser, g *cache.ParameterGroup, before map[string]string, changed []string) error {
	if err := c.checkUse(u, g, before, changed); err != nil {
		return err
	}
	if u.group != nil {
		giveValues(&u.group.Settings, u.group.Upgrade, g)
		if err := records.Groups.Put(tx, u.group.Key(), *u.group); err != nil {
			return err
		}
	}
	for i := range u.members {
		k := &u.members[i]
		giveValues(&k.Settings, k.Upgrade, g)
		if err := records.Clusters.Put(tx, k.Key(), *k); err != nil {
			return err
		}
	}
	return nil
}

// checkUse refuses changes of a group that one of its users cannot follow. before are
// the values that the user has had until now.
func (c *Control) checkUse(u *parameterUser, g *cache.ParameterGroup, before map[string]string, changed []string) error {
	for _, name := range changed {
		p, _ := cache.FindParameter(g.Family, name)
		switch {
		case !p.AtCreation:
		case name == cache.ParamClusterEnabled:
			return cache.Faultf(codeParameterGroupState, "The parameter %s cannot be modified while %s uses the parameter group %s.", name, u.name(), g.Name)
		case u.group != nil: // one of a single node may be given replicas
			return cache.Faultf(codeParameterGroupState, "The parameter %s cannot be modified while %s uses the parameter group %s: "+
				"all of its nodes have to agree on it from the start. Create the cache anew with another parameter group.", name, u.name(), g.Name)
		case g.Value(cache.ParamAppendOnly) == "yes" || before[cache.ParamAppendOnly] == "yes":
			return cache.Faultf(codeParameterGroupState, "The parameter %s cannot be modified while %s uses the parameter group %s with appendonly yes: "+
				"what is on disk might not be loaded any more.", name, u.name(), g.Name)
		}
	}
	if err := checkDurability(g.Values, u.multiAZ()); err != nil {
		return err
	}
	for _, build := range buildsWith(u, g.Name) {
		if err := c.checkHonoured(g, build, only(g.Values, changed)); err != nil {
			return err
		}
	}
	return nil
}

func only(values map[string]string, names []string) map[string]string {
	out := map[string]string{}
	for _, n := range names {
		if v, ok := values[n]; ok {
			out[n] = v
		}
	}
	return out
}

// checkDurability refuses what ElastiCache calls contradictory: a failover to a replica
// in another zone and a node that comes back with what is on its disk.
func checkDurability(values map[string]string, multiAZ bool) error {
	if multiAZ && values[cache.ParamAppendOnly] == "yes" {
		return conflict("The parameter appendonly must be no in the parameter group of a replication group with MultiAZEnabled.")
	}
	return nil
}

// checkHonoured refuses values, by name, that an installed engine cannot have. That of
// a family's default group is passed over: what it lacks is told as an event.
func (c *Control) checkHonoured(g *cache.ParameterGroup, build string, values map[string]string) error {
	if c.Unhonoured == nil {
		return nil
	}
	values = maps.Clone(values)
	maps.DeleteFunc(values, func(name, value string) bool {
		p, _ := cache.FindParameter(g.Family, name)
		return p.Value == value
	})
	bad := c.Unhonoured(build, values)
	if len(bad) == 0 {
		return nil
	}
	for i, name := range bad {
		bad[i] = fmt.Sprintf("%s (%q)", name, values[name])
	}
	return invalid("The installed engine %s cannot honour these values of the parameter group %s: %s. Reset them, or use another parameter group.",
		build, g.Name, strings.Join(bad, ", "))
}

// adoptParameters takes the values of a new cache's parameter group over, as they are in
// the transaction that writes it down: what was decided on may have changed since.
func adoptParameters(tx *store.Tx, region string, s *cache.Settings, cluster bool) error {
	g, err := findParameterGroup(tx, region, s.ParameterGroup)
	if err != nil {
		return err
	}
	if err := checkFamily(&g, s.Engine, s.EngineVersion); err != nil {
		return err
	}
	if g.ClusterMode != cluster {
		return cache.Faultf(codeParameterGroupState, "The parameter cluster-enabled of the parameter group %s has just changed. Ask again.", g.Name)
	}
	s.Parameters = maps.Clone(g.Values)
	return nil
}

func (c *Control) lookUpParameterGroup(ctx context.Context, region, name string) (g cache.ParameterGroup, ok bool, err error) {
	err = c.DB.View(ctx, func(tx *store.Tx) error {
		g, ok, err = records.FindParameterGroup(tx, region, name)
		return err
	})
	return g, ok, err
}

func usesParameterGroup(name string) string { return "Updated to use a CacheParameterGroup " + name }

// associate has a cache that serves use another parameter group. The notes are events.
func (c *Control) associate(tx *store.Tx, region, name string, to *cache.Settings, u *parameterUser) (notes []string, err error) {
	if name == "" || lower(name) == to.ParameterGroup {
		return nil, nil
	}
	g, err := findParameterGroup(tx, region, name)
	if err != nil {
		return nil, err
	}
	if err := checkFamily(&g, to.Engine, to.EngineVersion); err != nil {
		return nil, err
	}
	now, err := findParameterGroup(tx, region, to.ParameterGroup)
	if err != nil {
		return nil, err
	}
	if now.ClusterMode != g.ClusterMode {
		return nil, conflict("The parameter group %s cannot be used: cluster-enabled is %s in it and cannot be changed.", g.Name, g.Value(cache.ParamClusterEnabled))
	}
	changed := cache.ChangedParameters(g.Family, now.Values, g.Values)
	for _, name := range changed {
		p, _ := cache.FindParameter(g.Family, name)
		if p.Change == cache.ChangeReboot && name != cache.ParamClusterEnabled {
			return nil, conflict("The parameter group %s cannot be used: %s is %s in it and %s in %s, and has to be the same.",
				g.Name, name, g.Value(name), now.Value(name), now.Name)
		}
	}
	if err := checkDurability(g.Values, u.multiAZ()); err != nil {
		return nil, err
	}
	builds := map[string]bool{}
	for i := range u.members {
		builds[u.members[i].Node.Build] = true
	}
	for _, build := range slices.Sorted(maps.Keys(builds)) {
		if err := c.checkHonoured(&g, build, g.Values); err != nil {
			return nil, err
		}
	}
	to.ParameterGroup, to.Parameters = g.Name, maps.Clone(g.Values)
	return []string{usesParameterGroup(g.Name)}, nil
}

// checkFamily refuses a group of another family than an engine version's.
func checkFamily(g *cache.ParameterGroup, engine, version string) error {
	if family, _ := cache.FamilyOf(engine, version); g.Family != family {
		return conflict("Expected a parameter group of family %s but found one of family %s", family, g.Family)
	}
	return nil
}
