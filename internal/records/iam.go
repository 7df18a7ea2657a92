package records

import (
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// Who may call the API. Keyed by cache.IAMKey, access keys by their id; no region.
var (
	IAMUsers    = store.NewTable[cache.IAMUser]("iamusers")
	IAMPolicies = store.NewTable[cache.ManagedPolicy]("iampolicies")
	AccessKeys  = store.NewTable[cache.AccessKey]("accesskeys")
)
