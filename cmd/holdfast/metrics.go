package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/metrics"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// metered is what the service knows of its nodes' figures.
type metered struct {
	in        *installation
	history   *metrics.History
	collector *metrics.Collector
	meter     *engine.Meter
}

func (m *metered) close() error { return errors.Join(m.meter.Close(), m.history.Close()) }

// meter begins to keep figures. Those of before that cannot be read are logged and done without.
func (in *installation) meter() (*metered, error) {
	history, err := metrics.OpenHistory(filepath.Join(string(in.dir), "metrics"), time.Now())
	if history == nil {
		return nil, err
	}
	if err != nil {
		in.log.Warn("some metrics of before cannot be read", "error", err)
	}
	m := &metered{in: in, history: history, meter: in.engines.NewMeter()}
	m.collector = metrics.NewCollector(metrics.Config{
		Targets: m.targets, Host: machineFigures, History: history, Log: in.log,
	})
	return m, nil
}

// observer gets ready to look at all nodes: their figures for metrics, shown at an address
// unless it is "", and what becomes of them while they are changed. The function that it
// returns does so until the context ends.
func (in *installation) observer(address string) (func(context.Context) error, error) {
	m, err := in.meter()
	if err != nil {
		return nil, err
	}
	ln, err := listenMetrics(address)
	if err != nil {
		return nil, errors.Join(err, m.close())
	}
	return func(ctx context.Context) error {
		work, ctx := errgroup.WithContext(ctx)
		work.Go(func() error { return m.collector.Run(ctx) })
		if ln != nil {
			in.log.Info("metrics", "url", "http://"+ln.Addr().String()+"/metrics")
			work.Go(func() error { return m.serveMetrics(ctx, ln) })
		}
		work.Go(func() error { return newReporter(m).run(ctx) })
		return errors.Join(work.Wait(), m.close())
	}, nil
}

// targets are all nodes that run.
func (m *metered) targets(ctx context.Context) (out []metrics.Target, err error) {
	err = m.in.db.View(ctx, func(tx *store.Tx) error {
		out = nil
		groups, err := records.Groups.List(tx, "")
		if err != nil {
			return err
		}
		byKey := make(map[string]*cache.ReplicationGroup, len(groups))
		for i := range groups {
			byKey[groups[i].Key()] = &groups[i]
		}
		clusters, err := records.Clusters.List(tx, "")
		for i := range clusters {
			c := &clusters[i]
			out = append(out, m.targetsOf(c, byKey[cache.Key(c.Region, c.GroupID)])...)
		}
		return err
	})
	return out, err
}

// firstNode is the id of the one node of a cache cluster of Redis or Valkey.
const firstNode = "0001"

func (m *metered) targetsOf(c *cache.CacheCluster, g *cache.ReplicationGroup) []metrics.Target {
	n := metrics.Node{Region: c.Region, ClusterID: c.ID, NodeID: firstNode, GroupID: c.GroupID, Engine: c.Engine}
	if c.Memcached == nil {
		if c.Node.Process == nil {
			return nil
		}
		spec := hands{m.in}.node(c, g).Spec
		spec.Key = c.NodeKey()
		return []metrics.Target{{
			Node: n, Address: net.JoinHostPort(c.Node.Address.Host, strconv.Itoa(c.Node.Address.Port)),
			Read: func(ctx context.Context) (map[string]string, error) { return m.meter.Read(ctx, spec) },
		}}
	}
	var out []metrics.Target
	for i := range c.Memcached.Nodes {
		node := &c.Memcached.Nodes[i]
		if node.Process == nil {
			continue
		}
		spec := c.MemcachedSpec(node.ID)
		n.NodeID = node.ID
		out = append(out, metrics.Target{
			Node: n, Address: net.JoinHostPort(node.Address.Host, strconv.Itoa(node.Address.Port)),
			Read: func(ctx context.Context) (map[string]string, error) { return m.in.memcacheds.Stats(ctx, spec) },
		})
	}
	return out
}

// staleMetrics is how old a sample may be that is still shown as the present one.
const staleMetrics = 150 * time.Second

// serveMetrics answers Prometheus until the context ends. It closes the listener.
func (m *metered) serveMetrics(ctx context.Context, ln net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", metrics.ContentType)
		_ = metrics.WritePrometheus(w, m.history.Last(time.Now().Add(-staleMetrics))) // who asked has gone
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	select {
	case err := <-ended:
		return fmt.Errorf("cannot serve metrics: %w", err)
	case <-ctx.Done():
	}
	err := server.Close()
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// listenMetrics opens the address that metrics are asked for at; nil for none.
func listenMetrics(address string) (net.Listener, error) {
	if address == "" {
		return nil, nil //nolint:nilnil // no address, no listener
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for metrics: %w", err)
	}
	return ln, nil
}
