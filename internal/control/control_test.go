package control_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/control/controltest"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

func group(id string, nodes int) control.NewGroup {
	return control.NewGroup{ID: id, Nodes: &nodes, Asked: control.Asked{NodeType: "cache.t3.micro"}}
}

// TestFiftyAtOnce creates groups side by side: every one gets addresses of its own.
func TestFiftyAtOnce(t *testing.T) {
	w := controltest.New(t, nil)
	var all sync.WaitGroup
	errs := make([]error, 50)
	for i := range errs {
		all.Go(func() {
			_, errs[i] = w.Control.CreateReplicationGroup(t.Context(), region, group(fmt.Sprint("g", i), 2))
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	checkInvariants(t, w, true)
	if a := readAll(t, w.DB); len(a.groups) != 50 || len(a.claims) != 200 {
		t.Errorf("%d groups, %d addresses", len(a.groups), len(a.claims))
	}
}

// TestOneNameOnce creates the same group many times at once: once it is new.
func TestOneNameOnce(t *testing.T) {
	w := controltest.New(t, nil)
	var all sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		all.Go(func() { _, errs[i] = w.Control.CreateReplicationGroup(t.Context(), region, group("same", 2)) })
	}
	all.Wait()
	made := 0
	for _, err := range errs {
		switch {
		case err == nil:
			made++
		case !cache.IsFault(err, "ReplicationGroupAlreadyExists"):
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("made %d times", made)
	}
	checkInvariants(t, w, true)
}

// TestRecords looks at what reconcile is given.
func TestRecords(t *testing.T) {
	w := controltest.New(t, nil)
	for _, id := range []string{"One", "two"} {
		if _, err := w.Control.CreateReplicationGroup(t.Context(), region, group(id, 3)); err != nil {
			t.Fatal(err)
		}
	}
	a := readAll(t, w.DB)
	one, two := a.groups[0], a.groups[1]
	if one.ID != "one" || one.Primary != "one-001" || one.EngineVersion != "7.1" || one.ParameterGroup != "default.redis7" || one.Port != 6379 {
		t.Errorf("%+v", one)
	}
	if raw, err := hex.DecodeString(one.Secret); err != nil || len(raw) != 32 || one.Secret == two.Secret {
		t.Errorf("secrets %q and %q", one.Secret, two.Secret)
	}
	for i, k := range a.clusters[:3] {
		role := cache.RoleReplica
		if i == 0 {
			role = cache.RolePrimary
		}
		if k.ID != cache.MemberID("one", i+1) || k.Node.Role != role || k.Node.Build != "redis-7.0.15" || k.Secret != "" {
			t.Errorf("member %d: %+v", i, k)
		}
	}
}

// TestPoolSurvives opens the same store again: the addresses stay where they
// were chosen, and those let go are not given at once.
func TestPoolSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	w := controltest.New(t, nil)
	open := func() (*control.Control, *store.DB) {
		db, err := store.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := control.New(t.Context(), control.Config{
			DB: db, Catalogue: &w.Engines, Buckets: w.Buckets, Memory: &w.Memory, Now: w.Now,
			Addresses: control.Addresses{Range: true, Free: func(string, int) bool { return true }},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c, db
	}
	seen := map[string]bool{}
	base := ""
	for i := range 3 {
		c, db := open()
		g, err := c.CreateReplicationGroup(t.Context(), region, group("g", 1))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []cache.Address{g.Members[0].Node.Address, g.PrimaryEndpoint, g.ReaderEndpoint} {
			if seen[a.Host] {
				t.Errorf("round %d: %s again", i, a.Host)
			}
			seen[a.Host] = true
			b := strings.Join(strings.Split(a.Host, ".")[:2], ".")
			if base == "" {
				base = b
			}
			if b != base {
				t.Errorf("base %s after %s", b, base)
			}
		}
		again := controltest.World{DB: db, Buckets: w.Buckets}
		if err := again.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.DeleteReplicationGroup(t.Context(), region, "g", ""); err != nil {
			t.Fatal(err)
		}
		if err := again.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOnePortEach is the platform without a range of addresses.
func TestOnePortEach(t *testing.T) {
	w := controltest.New(t, func(c *control.Config) { c.Addresses.Range = false })
	w.Taken[cache.Address{Host: "127.0.0.1", Port: 16380}] = true
	g, err := w.Control.CreateReplicationGroup(t.Context(), region, group("g", 1))
	if err != nil {
		t.Fatal(err)
	}
	got := []cache.Address{g.Members[0].Node.Address, g.PrimaryEndpoint, g.ReaderEndpoint}
	for i, port := range []int{16379, 16381, 16382} {
		if got[i] != (cache.Address{Host: "127.0.0.1", Port: port}) {
			t.Errorf("address %d is %v", i, got[i])
		}
	}
	if g.Port != 6379 {
		t.Errorf("the port that was asked for is %d", g.Port)
	}
}

// TestNoAddressLeft ends soon, and as a fault that names the port.
func TestNoAddressLeft(t *testing.T) {
	for _, own := range []bool{true, false} {
		tried := 0
		w := controltest.New(t, func(c *control.Config) {
			c.Addresses.Range = own
			c.Addresses.Free = func(string, int) bool { tried++; return false }
		})
		_, err := w.Control.CreateReplicationGroup(t.Context(), region, group("g", 1))
		if !cache.IsFault(err, "InsufficientCacheClusterCapacity") || strings.Contains(err.Error(), "6379") != own || tried > 1000 {
			t.Errorf("a host each: %v; %d tried: %v", own, tried, err)
		}
	}
}

func TestQuotas(t *testing.T) {
	w := controltest.New(t, nil)
	ctx := t.Context()
	for i := range 50 {
		if _, err := w.Control.CreateReplicationGroup(ctx, region, group(fmt.Sprint("g", i), 6)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.Control.CreateReplicationGroup(ctx, region, group("more", 1))
	if !cache.IsFault(err, "NodeQuotaForCustomerExceeded") {
		t.Errorf("the 301st node: %v", err)
	}
	if _, err := w.Control.CreateReplicationGroup(ctx, "eu-west-1", group("more", 1)); err != nil {
		t.Errorf("another region: %v", err)
	}
}

// TestStrictMemory reserves what node types name.
func TestStrictMemory(t *testing.T) {
	w := controltest.New(t, func(c *control.Config) { c.StrictMemory = true })
	w.Memory.All = 3 * 536870912
	if _, err := w.Control.CreateReplicationGroup(t.Context(), region, group("a", 2)); err != nil {
		t.Fatal(err)
	}
	_, err := w.Control.CreateReplicationGroup(t.Context(), "eu-west-1", group("b", 2))
	if !cache.IsFault(err, "InsufficientCacheClusterCapacity") || !strings.Contains(err.Error(), "2.00 GiB") || !strings.Contains(err.Error(), "1.50 GiB") {
		t.Errorf("two more: %v", err)
	}
	if _, err := w.Control.CreateReplicationGroup(t.Context(), region, group("c", 1)); err != nil {
		t.Errorf("one more: %v", err)
	}
	checkInvariants(t, w, true)
}

// TestCatalogueErrors: what the catalogue says of a version is told to the caller.
func TestCatalogueErrors(t *testing.T) {
	w := controltest.New(t, func(c *control.Config) { c.Catalogue = refusing{} })
	_, err := w.Control.CreateReplicationGroup(t.Context(), region, group("g", 1))
	if !cache.IsFault(err, "InvalidParameterValue") || !strings.Contains(err.Error(), "run the script") {
		t.Error(err)
	}
}

type refusing struct{}

func (refusing) Resolve(string, string) (control.Choice, error) {
	return control.Choice{}, errors.New("nothing is installed; run the script")
}
func (refusing) Versions() []control.Version { return nil }

func TestEventsArePruned(t *testing.T) {
	w := controltest.New(t, nil)
	add := func(n int) {
		err := w.DB.Update(t.Context(), func(tx *store.Tx) error {
			for i := range n {
				if err := records.AddEvent(tx, region, cache.EventGroup, "g", fmt.Sprint(i), w.Now()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	add(100)
	w.Pass(records.EventsKept + time.Hour)
	add(20)
	err := w.DB.View(context.Background(), func(tx *store.Tx) error {
		n, err := records.Events.Count(tx, "")
		if n != 20 {
			t.Errorf("%d events are left", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
