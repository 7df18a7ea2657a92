package control_test

import (
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control/controltest"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// TestAStandInIsNobodysCluster: neither a list nor its name shows it, nor can it be asked for anything.
func TestAStandInIsNobodysCluster(t *testing.T) {
	w := controltest.New(t, nil)
	const region = "us-east-1"
	err := w.DB.Update(t.Context(), func(tx *store.Tx) error {
		for _, c := range []cache.CacheCluster{
			{Region: region, ID: "shop-0001-001", GroupID: "shop"},
			{Region: region, ID: cache.StandInID("shop", "0001"), GroupID: "shop", StandIn: true},
		} {
			if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.Control.DescribeCacheClusters(t.Context(), region, "", false, nil)
	if err != nil || len(all) != 1 || all[0].ID != "shop-0001-001" {
		t.Errorf("%v: %v", err, all)
	}
	_, err = w.Control.DescribeCacheClusters(t.Context(), region, "shop-0001.next", false, nil)
	if !cache.IsFault(err, "CacheClusterNotFound") {
		t.Errorf("by its name: %v", err)
	}
}
