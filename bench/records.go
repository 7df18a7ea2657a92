package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"holdfast.dev/internal/api"
	apielasticache "holdfast.dev/internal/api/elasticache"
	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/sigv4"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

const keyID, secret = "AKIAMEASURED", "a key of this process alone"

// frontDoor is the API over a store full of records: groups that look available
// and behind which nothing runs. There is no reconciler to notice.
func frontDoor(ctx context.Context, path string) (http.Handler, func() error, error) {
	db, err := store.Open(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	h, err := apiOver(ctx, db)
	if err == nil {
		err = storeGroups(ctx, db)
	}
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return h, db.Close, nil
}

func apiOver(ctx context.Context, db *store.DB) (http.Handler, error) {
	ctl, err := control.New(ctx, control.Config{
		DB: db, Catalogue: nothing{}, Buckets: nothing{}, Memory: nothing{}, Now: time.Now,
		Addresses: control.Addresses{Free: func(string, int) bool { return false }},
	})
	if err != nil {
		return nil, err
	}
	return api.New(api.Config{Keys: oneKey{}, Services: []*query.Service{apielasticache.New(ctl)}})
}

func groupID(n int) string { return fmt.Sprintf("orders-%03d", n) }

func storeGroups(ctx context.Context, db *store.DB) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		for n := range storedGroups {
			g := storedGroup(n)
			if err := records.Groups.Put(tx, g.Key(), g); err != nil {
				return err
			}
			for i, id := range g.Members {
				k := storedMember(&g, i, id)
				if err := records.Clusters.Put(tx, k.Key(), k); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// storedGroup is a group of a primary and a replica.
func storedGroup(n int) cache.ReplicationGroup {
	id, now := groupID(n), time.Now().UTC()
	host := func(last int) cache.Address {
		return cache.Address{Host: fmt.Sprintf("127.83.%d.%d", n/60, n%60*4+last), Port: 6379}
	}
	return cache.ReplicationGroup{
		Region: region, ID: id, Description: "orders of the shop",
		Settings: cache.Settings{
			Engine: engineName, EngineVersion: version, NodeType: nodeType, Port: 6379, ParameterGroup: "default.valkey8",
			SnapshotWindow: "01:00-02:00", MaintenanceWindow: "sun:05:00-sun:06:00", NetworkType: "ipv4", IPDiscovery: "ipv4",
		},
		Members:           []string{cache.MemberID(id, 1), cache.MemberID(id, 2)},
		AutomaticFailover: true, CreatedAt: now, Status: cache.StatusAvailable, Primary: cache.MemberID(id, 1),
		PrimaryEndpoint: host(0), ReaderEndpoint: host(1), Secret: "none",
	}
}

func storedMember(g *cache.ReplicationGroup, i int, id string) cache.CacheCluster {
	role := cache.RolePrimary
	if i > 0 {
		role = cache.RoleReplica
	}
	return cache.CacheCluster{
		Region: g.Region, ID: id, GroupID: g.ID, Settings: g.Settings, Zone: g.Region + "a", CreatedAt: g.CreatedAt, Status: cache.StatusAvailable,
		Node: cache.Node{Address: cache.Address{Host: g.PrimaryEndpoint.Host, Port: 6379 + i}, Build: "valkey-8.1.1", Role: role, Ready: true, StartedAt: g.CreatedAt},
	}
}

// oneKey is the one access key that there is.
type oneKey struct{}

// Secret implements sigv4.Keys.
func (oneKey) Secret(id string) (string, sigv4.Identity, bool) {
	return secret, sigv4.Identity{Account: cache.Account, ARN: "arn:aws:iam::" + cache.Account + ":root", UserID: cache.Account}, id == keyID
}

// nothing stands for engines, buckets and memory, which Describe asks for nothing.
type nothing struct{}

var errNothing = errors.New("only records are served here")

// Resolve implements control.Catalogue.
func (nothing) Resolve(string, string) (control.Choice, error) { return control.Choice{}, errNothing }

// Versions implements control.Catalogue.
func (nothing) Versions() []control.Version { return nil }

// Check implements control.Buckets.
func (nothing) Check(context.Context, string, string) error { return errNothing }

// Granted implements control.Buckets.
func (nothing) Granted(context.Context, string, string) error { return errNothing }

// Size implements control.Buckets.
func (nothing) Size(context.Context, string, string, string) (int64, error) { return 0, errNothing }

// Exists implements control.Buckets.
func (nothing) Exists(context.Context, string, string, string) (bool, error) {
	return false, errNothing
}

// Available implements control.Memory.
func (nothing) Available() int64 { return 0 }

// Total implements control.Memory.
func (nothing) Total() int64 { return 0 }
