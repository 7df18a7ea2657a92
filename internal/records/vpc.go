package records

import (
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// VpcOf is the id of the network that a subnet group stands for; "" for a group
// that is not there, or for none.
func VpcOf(tx *store.Tx, region, subnetGroup string) (string, error) {
	if subnetGroup == "" {
		return "", nil
	}
	g, _, err := SubnetGroups.Get(tx, cache.Key(region, subnetGroup))
	return g.VpcID, err
}
