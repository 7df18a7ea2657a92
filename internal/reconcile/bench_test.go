package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// stored puts groups of two nodes into the records, with everything in order.
func (b *bench) stored(groups int) {
	b.update(func(tx *store.Tx) error {
		for i := range groups {
			id := fmt.Sprintf("g%d", i)
			at := func(name string) cache.Address { return cache.Address{Host: id + name, Port: 6379} }
			g := cache.ReplicationGroup{
				Region: "r", ID: id, Status: cache.StatusAvailable, Primary: cache.MemberID(id, 1),
				PrimaryEndpoint: at("-p"), ReaderEndpoint: at("-r"),
			}
			for n := 1; n <= 2; n++ {
				c := cache.CacheCluster{Region: "r", ID: cache.MemberID(id, n), GroupID: id, Status: cache.StatusAvailable}
				c.Node = cache.Node{Address: at(fmt.Sprint(n)), Build: "new", Ready: true, Role: cache.RolePrimary, Binds: []string{id + "-p"}}
				p, err := b.machine.Start(context.Background(), cache.NodeSpec{Key: c.Key()})
				if err != nil {
					return err
				}
				c.Node.Process = &p
				if n == 2 {
					c.Node.Role, c.Node.Primary, c.Node.Binds = cache.RoleReplica, at("1"), []string{id + "-r"}
				}
				g.Members = append(g.Members, c.ID)
				if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
					return err
				}
			}
			if err := records.Groups.Put(tx, g.Key(), g); err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkPass is one pass when nothing is to be done: because nothing has changed,
// because one group has, and one that looks at everything, as there is each minute.
func BenchmarkPass(b *testing.B) {
	kinds := map[string]func(*Runner){
		"idle":       func(*Runner) {},
		"one":        func(r *Runner) { r.outlook.touch(groupUnit("r/g1")) },
		"everything": func(r *Runner) { r.outlook.full = time.Time{} },
	}
	for _, name := range []string{"idle", "one", "everything"} {
		for _, groups := range []int{10, 100, 500} {
			b.Run(fmt.Sprint(name, " of ", groups, " groups"), func(b *testing.B) { benchPass(b, groups, kinds[name]) })
		}
	}
}

func benchPass(b *testing.B, groups int, before func(*Runner)) {
	h := newBench(b, b.TempDir())
	defer h.close()
	h.stored(groups)
	r := New(Config{DB: h.db, Engines: h.machine, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	defer r.work.Wait()
	defer cancel()
	if _, err := r.pass(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		before(r)
		if _, err := r.pass(ctx); err != nil {
			b.Fatal(err)
		}
	}
	if len(r.flights) != 0 {
		b.Fatalf("something was done: %v", r.flights)
	}
}

// BenchmarkFiftyAmongFiveHundred creates fifty groups beside five hundred that
// are there, with engines that take no time: what is left is the price of planning.
func BenchmarkFiftyAmongFiveHundred(b *testing.B) {
	for b.Loop() {
		h := newBench(b, b.TempDir())
		h.stored(500)
		h.run()
		began := time.Now()
		for i := range 50 {
			h.group(fmt.Sprintf("n%d", i), 2, nil)
		}
		h.eventually("available", func(w world) bool {
			n := 0
			for i := range w.groups {
				if w.groups[i].Status == cache.StatusAvailable {
					n++
				}
			}
			return n == 550
		})
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/50-groups")
		h.close()
	}
}
