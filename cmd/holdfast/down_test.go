package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/endpoint"
	"holdfast.dev/internal/reconcile"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/store"
	"holdfast.dev/internal/testkit"
)

const testRegion = "us-east-1"

// host is an installation with one group, whose service comes and goes.
type host struct {
	t    *testing.T
	dir  dataDir
	in   *installation
	stop func() // ends the service, or does nothing
	// memory is what the service takes the machine's to be.
	memory reconcile.Memory
}

func newHost(t *testing.T) *host {
	testkit.Engine(t, "valkey-8.1") // so that one is missed by name
	dir, err := dataDir(t.TempDir()).make()
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, dir: dir, stop: func() {}, memory: machineMemory{}}
	h.open()
	t.Cleanup(func() {
		h.stop()
		if err := h.in.stopNodes(context.Background(), downOptions{discard: true, out: io.Discard}); err != nil {
			t.Error(err)
		}
		if err := h.in.close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *host) open() {
	in, err := openInstallation(context.Background(), h.dir, slog.New(slog.DiscardHandler))
	if err != nil {
		h.t.Fatal(err)
	}
	h.in = in
}

// again is another process that takes over the installation.
func (h *host) again() {
	h.stop()
	if err := h.in.close(); err != nil {
		h.t.Fatal(err)
	}
	h.open()
}

// serve runs what makes records true, as the service does.
func (h *host) serve() {
	h.again()
	doors := endpoint.New(endpoint.Config{})
	runner := reconcile.New(reconcile.Config{
		DB: h.in.db, Engines: h.in.engines, Transfers: h.in.mover(nil), Endpoints: doors, Memory: h.memory,
		Now: time.Now, Log: h.in.log,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
		if err := doors.Close(); err != nil {
			h.t.Error(err)
		}
		h.stop = func() {}
	}
}

// create makes the group g and waits for it.
func (h *host) create(nodes int) {
	c, err := control.New(context.Background(), control.Config{
		DB: h.in.db, Catalogue: catalogue{h.in.catalog}, Buckets: bucketLooker{}, Memory: machineMemory{},
		Now: time.Now, Addresses: loopback(),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = c.CreateReplicationGroup(context.Background(), testRegion, control.NewGroup{
		ID: "g", Description: "d", Nodes: &nodes,
		Asked: control.Asked{Engine: cache.Valkey, EngineVersion: "8.1", NodeType: "cache.t3.micro"},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.eventually("the group is available", func(g cache.ReplicationGroup, members []cache.CacheCluster) bool {
		return g.Status == cache.StatusAvailable
	})
}

func (h *host) read() (g cache.ReplicationGroup, members []cache.CacheCluster) {
	h.t.Helper()
	err := h.in.db.View(context.Background(), func(tx *store.Tx) (err error) {
		if g, _, err = records.Groups.Get(tx, cache.Key(testRegion, "g")); err != nil {
			return err
		}
		members, err = records.Clusters.List(tx, "")
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return g, members
}

func (h *host) eventually(what string, cond func(g cache.ReplicationGroup, members []cache.CacheCluster) bool) {
	h.t.Helper()
	testkit.Wait(h.t, 30*time.Second, func() bool { return cond(h.read()) }, "%s", what)
}

// ask gives the primary endpoint a command.
func (h *host) ask(args ...string) (string, error) {
	g, _ := h.read()
	conn, err := resp.Dial(context.Background(), resp.Options{Addr: net.JoinHostPort(g.PrimaryEndpoint.Host, strconv.Itoa(g.PrimaryEndpoint.Port))})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	r, err := conn.Do(context.Background(), args...)
	return string(r.Bytes), err
}

// holds waits until the group has the value and takes writes.
func (h *host) holds(value string) {
	h.t.Helper()
	var got string
	var err error
	testkit.Wait(h.t, 30*time.Second, func() bool {
		_, err = h.ask("SET", "probe", "1")
		return err == nil
	}, "the group takes writes")
	if got, err = h.ask("GET", "k"); err != nil || got != value {
		h.t.Errorf("the group holds %q (%v), want %q", got, err, value)
	}
}

// filled is a host that serves a group with a key.
func filled(t *testing.T, nodes int) *host {
	h := newHost(t)
	h.serve()
	h.create(nodes)
	if _, err := h.ask("SET", "k", "v"); err != nil {
		t.Fatal(err)
	}
	return h
}

// unit is the group as down sees it.
func (h *host) unit() stopping {
	units, err := h.in.toStop(context.Background())
	if err != nil || len(units) != 1 {
		h.t.Fatalf("%d units to stop: %v", len(units), err)
	}
	return units[0]
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

var quietly = downOptions{out: io.Discard}

func TestDownKeepsWhatCachesHold(t *testing.T) {
	h := filled(t, 2)
	h.again()
	h.must(h.in.stopNodes(t.Context(), quietly))
	h.must(h.in.stopNodes(t.Context(), quietly)) // once more changes nothing
	if _, members := h.read(); members[0].Node.Process != nil || members[1].Node.Process != nil {
		t.Error("something is still running")
	}
	h.serve()
	h.holds("v")
}

// TestDownThatIsCutShort is killed after each thing it does, and the service is
// started instead: it loses nothing and takes writes.
func TestDownThatIsCutShort(t *testing.T) {
	cuts := map[string]func(h *host, u stopping) error{
		"writes are refused and the data kept, and nobody wrote that down": func(h *host, u stopping) error {
			c, spec := &u.nodes[0], nodeSpec(u, &u.nodes[0])
			if err := h.in.db.Update(t.Context(), func(tx *store.Tx) error { return reconcile.TellAgain(tx, c) }); err != nil {
				return err
			}
			_, err := h.in.mover(nil).Park(t.Context(), h.in.engines.Admin(spec), h.in.engines.SeedPath(spec))
			return err
		},
		"the data are kept": func(h *host, u stopping) error {
			return h.in.keepData(t.Context(), h.in.mover(nil), u, quietly)
		},
		"the primary was stopped, and nobody wrote that down": func(h *host, u stopping) error {
			if err := h.in.keepData(t.Context(), h.in.mover(nil), u, quietly); err != nil {
				return err
			}
			return h.in.engines.Stop(t.Context(), nodeSpec(u, &u.nodes[0]), u.nodes[0].Node.Process)
		},
		"the primary is down": func(h *host, u stopping) error {
			if err := h.in.keepData(t.Context(), h.in.mover(nil), u, quietly); err != nil {
				return err
			}
			return h.in.stopNode(t.Context(), u, &u.nodes[0], quietly)
		},
	}
	for name, cut := range cuts {
		for nodes := 1; nodes <= 2; nodes++ {
			t.Run(name+strings.Repeat(", with a replica", nodes-1), func(t *testing.T) {
				h := filled(t, nodes)
				h.again()
				h.must(cut(h, h.unit()))
				h.serve()
				h.holds("v")
				h.eventually("nothing is parked any more", func(_ cache.ReplicationGroup, members []cache.CacheCluster) bool {
					for i := range members {
						if n := &members[i].Node; n.Parked || !n.Ready {
							return false
						}
					}
					return true
				})
			})
		}
	}
}

// TestDownLeavesAReplicaThatAloneHasTheData: the primary died while no service
// was there to see it.
func TestDownLeavesAReplicaThatAloneHasTheData(t *testing.T) {
	h := filled(t, 2)
	_, members := h.read()
	h.again()
	h.must(syscall.Kill(members[0].Node.Process.PID, syscall.SIGKILL))
	testkit.Wait(t, 10*time.Second, func() bool {
		alive, err := h.in.engines.Adopt(t.Context(), nodeSpec(h.unit(), &members[0]), *members[0].Node.Process)
		return err == nil && !alive
	}, "the primary is dead")
	err := h.in.stopNodes(t.Context(), quietly)
	if err == nil || !strings.Contains(err.Error(), "cannot keep the data of us-east-1/g-002") {
		t.Errorf("down said %v", err)
	}
	h.serve()
	h.eventually("the replica leads", func(g cache.ReplicationGroup, _ []cache.CacheCluster) bool { return g.Primary == "g-002" })
	h.holds("v")
	h.again()
	h.must(h.in.stopNodes(t.Context(), quietly))
	h.serve()
	h.holds("v")
}
