package reconcile

import (
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// encrypted ends a change of who has to encrypt.
func (r *Runner) encrypted(v *View) outcome {
	return func(tx *store.Tx) error {
		now, err := v.afresh(tx)
		if err != nil || now == nil || now.Group.TransitChange == nil || !now.encrypted() {
			return err // a node ended meanwhile, and this is planned again
		}
		g := now.Group
		mode := g.TransitChange.To
		g.TransitEncryption, g.TransitChange = mode, nil
		if g.Change == nil && g.Resharding == nil && g.Upgrade == nil && (g.Pending == nil || !g.Pending.Now) {
			g.Status = cache.StatusAvailable
		}
		for i := range now.Members {
			err := changeCluster(tx, now.Members[i].Key(), func(c *cache.CacheCluster) { c.TransitEncryption = mode })
			if err != nil {
				return err
			}
		}
		if err := records.Groups.Put(tx, g.Key(), *g); err != nil {
			return err
		}
		if mode == "" {
			return r.unitEvent(tx, now, "Encryption in transit has been turned off for replication group %s", g.ID)
		}
		return r.unitEvent(tx, now, "Encryption in transit is %s for replication group %s", mode, g.ID)
	}
}

// ownAddresses takes those for TLS out of the addresses of a forwarder that tells clients
// apart; false for one that does not.
func ownAddresses(to []cache.Address) ([]cache.Address, bool) {
	if len(to) == 0 || len(to)%2 != 0 {
		return nil, false
	}
	var own []cache.Address
	for i := 0; i < len(to); i += 2 {
		if to[i+1] != to[i].TLS() {
			return nil, false
		}
		own = append(own, to[i])
	}
	return own, true
}
