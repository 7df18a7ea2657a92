package control

import "holdfast.dev/internal/cache"

// checkDatabases refuses another number of databases for a group in cluster mode that
// there is already: what a node writes into one that its replica has not, is lost there.
func checkDatabases(now, to cache.Kind, u *parameterUser) error {
	if u.group == nil || !u.group.ClusterEnabled {
		return nil
	}
	if is, wants := databases(now), databases(to); is != wants {
		return conflict("The parameter group %s cannot be used: cluster-databases makes %s databases of it, and replication group %s has %s since its creation.",
			to.ParameterGroup, wants, u.group.ID, is)
	}
	return nil
}

// databases is how many there are in cluster mode; a family without the parameter, and its
// default, have one.
func databases(k cache.Kind) string {
	if n := k.Parameters[cache.ParamClusterDatabases]; n != "" && n != "0" {
		return n
	}
	return "1"
}
