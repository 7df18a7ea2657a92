package control

import (
	"context"
	"regexp"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// ElastiCache's quotas.
const (
	maxSubnetGroups = 300
	maxSubnets      = 20
)

// vpcID is the one network that every subnet belongs to.
const vpcID = "vpc-00000000000000000"

var subnetRE = regexp.MustCompile(`^subnet-[A-Za-z0-9-]{1,64}$`)

// NewSubnetGroup is what CreateCacheSubnetGroup asks for.
type NewSubnetGroup struct {
	Name, Description string
	Subnets           []string
	Tags              []cache.Tag
}

// CreateCacheSubnetGroup keeps a named list of subnets.
func (c *Control) CreateCacheSubnetGroup(ctx context.Context, region string, in NewSubnetGroup) (*cache.SubnetGroup, error) {
	if err := checkSubnetGroupName(in.Name); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	g := cache.SubnetGroup{Region: region, Name: lower(in.Name), Description: in.Description, VpcID: vpcID, Tags: in.Tags}
	var err error
	if g.Subnets, err = subnets(region, in.Subnets, nil); err != nil {
		return nil, err
	}
	err = c.DB.Update(ctx, func(tx *store.Tx) error {
		_, taken, err := records.SubnetGroups.Get(tx, g.Key())
		if err != nil {
			return err
		}
		if taken {
			return cache.Faultf(codeSubnetGroupExists, "Cache subnet group %s already exists.", g.Name)
		}
		n, err := records.SubnetGroups.Count(tx, records.InRegion(region))
		if err != nil {
			return err
		}
		if n >= maxSubnetGroups {
			return cache.Faultf(codeSubnetGroupQuota, "You have reached your quota of %d cache subnet groups in this region.", maxSubnetGroups)
		}
		return records.SubnetGroups.Put(tx, g.Key(), g)
	})
	if err != nil {
		return nil, err
	}
	return &g, nil
}

func checkSubnetGroupName(name string) error {
	if name == "" {
		return missing("CacheSubnetGroupName")
	}
	for _, r := range name {
		if notIDRune(r) {
			return invalid("The parameter CacheSubnetGroupName must contain only letters, digits and hyphens. Provided value: %s", name)
		}
	}
	if len(name) > maxSubnetGroup {
		return invalid("The parameter CacheSubnetGroupName must have at most %d characters.", maxSubnetGroup)
	}
	if lower(name) == "default" {
		return invalid("The name default is reserved.")
	}
	return nil
}

// subnets gives each subnet a zone, in turn over those of the region. A subnet
// that was there before keeps its own.
func subnets(region string, ids []string, before []cache.Subnet) ([]cache.Subnet, error) {
	if len(ids) == 0 {
		return nil, invalid("The parameter SubnetIds must hold at least one subnet.")
	}
	var out []cache.Subnet
	zones := Zones(region)
	for _, id := range ids {
		if !subnetRE.MatchString(id) {
			return nil, cache.Faultf(codeInvalidSubnet, "Some input subnets in :[%s] are invalid.", id)
		}
		same := func(s cache.Subnet) bool { return s.ID == id }
		if slices.ContainsFunc(out, same) {
			continue
		}
		s := cache.Subnet{ID: id, Zone: zones[len(out)%len(zones)]}
		if i := slices.IndexFunc(before, same); i >= 0 {
			s = before[i]
		}
		out = append(out, s)
	}
	if len(out) > maxSubnets {
		return nil, cache.Faultf(codeSubnetQuota, "A cache subnet group can have at most %d subnets.", maxSubnets)
	}
	return out, nil
}

// SubnetGroupChange is what ModifyCacheSubnetGroup asks for; nil leaves as it is.
type SubnetGroupChange struct {
	Name        string
	Description *string
	Subnets     []string
}

// ModifyCacheSubnetGroup changes the description or the subnets of a group. A
// subnet that is the only one left for the zone of a node stays.
func (c *Control) ModifyCacheSubnetGroup(ctx context.Context, region string, in SubnetGroupChange) (*cache.SubnetGroup, error) {
	var g cache.SubnetGroup
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		var err error
		if g, err = getSubnetGroup(tx, region, in.Name); err != nil {
			return err
		}
		if in.Description != nil {
			g.Description = *in.Description
		}
		if in.Subnets != nil {
			before := g.Subnets
			if g.Subnets, err = subnets(region, in.Subnets, before); err != nil {
				return err
			}
			if err := checkSubnetsLeft(tx, &g, before); err != nil {
				return err
			}
		}
		return records.SubnetGroups.Put(tx, g.Key(), g)
	})
	if err != nil {
		return nil, err
	}
	return &g, nil
}

func checkSubnetsLeft(tx *store.Tx, g *cache.SubnetGroup, before []cache.Subnet) error {
	users, err := subnetGroupUsers(tx, g)
	if err != nil {
		return err
	}
	for _, k := range users {
		in := func(s cache.Subnet) bool { return s.Zone == k.Zone }
		if i := slices.IndexFunc(before, in); i >= 0 && !slices.ContainsFunc(g.Subnets, in) {
			return cache.Faultf(codeSubnetInUse, "The subnet ID: %s is in use.", before[i].ID)
		}
	}
	return nil
}

// subnetGroupUsers are the nodes that were placed by a group.
func subnetGroupUsers(tx *store.Tx, g *cache.SubnetGroup) ([]cache.CacheCluster, error) {
	all, err := records.Clusters.List(tx, records.InRegion(g.Region))
	if err != nil {
		return nil, err
	}
	return keepIf(all, func(k *cache.CacheCluster) bool { return k.SubnetGroup == g.Name }), nil
}

func getSubnetGroup(tx *store.Tx, region, name string) (cache.SubnetGroup, error) {
	if name == "" {
		return cache.SubnetGroup{}, missing("CacheSubnetGroupName")
	}
	g, err := subnetGroup(tx, region, lower(name))
	if err != nil {
		return cache.SubnetGroup{}, err
	}
	return *g, nil
}

// DeleteCacheSubnetGroup removes a group that no cache uses.
func (c *Control) DeleteCacheSubnetGroup(ctx context.Context, region, name string) error {
	return c.DB.Update(ctx, func(tx *store.Tx) error {
		g, err := getSubnetGroup(tx, region, name)
		if err != nil {
			return err
		}
		users, err := subnetGroupUsers(tx, &g)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return cache.Faultf(codeSubnetGroupInUse, "Cache subnet group %s is currently in use by a cache cluster.", g.Name)
		}
		return records.SubnetGroups.Delete(tx, g.Key())
	})
}

// DescribeCacheSubnetGroups returns the group of that name, or the page of all.
func (c *Control) DescribeCacheSubnetGroups(ctx context.Context, region, name string, page Page[cache.SubnetGroup]) ([]cache.SubnetGroup, error) {
	var out []cache.SubnetGroup
	err := c.DB.View(ctx, func(tx *store.Tx) error {
		if name != "" {
			g, err := getSubnetGroup(tx, region, name)
			out = []cache.SubnetGroup{g}
			return err
		}
		all, err := records.SubnetGroups.List(tx, records.InRegion(region))
		if err != nil {
			return err
		}
		out, err = page.of(all)
		return err
	})
	return out, err
}
