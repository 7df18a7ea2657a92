package metrics

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Memcached's name as an engine; all others are taken for Redis.
const memcachedEngine = "memcached"

// Target is a node that runs.
type Target struct {
	Node
	// Address is "ip:port" as the engines know each other.
	Address string
	// Read asks the node for the fields of a Reading.
	Read func(ctx context.Context) (map[string]string, error)
}

// Config of a Collector; all fields but Every are needed.
type Config struct {
	// Targets are all nodes that run now.
	Targets func(ctx context.Context) ([]Target, error)
	Host    func() Host
	History *History
	Log     *slog.Logger
	// Every is how often they are asked; 0 means each minute.
	Every time.Duration
}

// Collector asks all nodes once a minute.
type Collector struct {
	Config
	mu     sync.Mutex
	before map[string]*Reading
}

// NewCollector makes one.
func NewCollector(c Config) *Collector {
	if c.Every <= 0 {
		c.Every = time.Minute
	}
	return &Collector{Config: c, before: map[string]*Reading{}}
}

const (
	// atOnce nodes are asked at the same time.
	atOnce = 4
	// answerWait is how long one of them may take.
	answerWait = 5 * time.Second
)

// Run asks at once and at every full minute until the context ends. What cannot be had is
// logged, and has no part in the minute.
func (c *Collector) Run(ctx context.Context) error {
	for {
		if err := c.Collect(ctx); err != nil && ctx.Err() == nil {
			c.Log.Warn("metrics are missing", "error", err)
		}
		t := time.NewTimer(time.Until(time.Now().Truncate(c.Every).Add(c.Every)))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// Collect asks all nodes now.
func (c *Collector) Collect(ctx context.Context) error {
	targets, err := c.Targets(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at, host := time.Now(), c.Host()
	readings := c.readAll(ctx, targets, at, host)
	samples := make(map[Node]Values, len(targets))
	lags := map[string]float64{}
	after := make(map[string]*Reading, len(targets))
	for i, r := range readings {
		if r == nil {
			continue
		}
		n := targets[i].Node
		after[n.key()] = r
		derive := Redis
		if n.Engine == memcachedEngine {
			derive = Memcached
		}
		samples[n] = derive(r, c.before[n.key()], 2*c.Every+c.Every/2)
		for replica, lag := range ReplicaLags(r) {
			lags[replica] = lag
		}
	}
	for _, t := range targets {
		if v := samples[t.Node]; v != nil && v["IsMaster"] == 0 {
			if lag, ok := lags[t.Address]; ok {
				v["ReplicationLag"] = lag
			}
		}
	}
	c.before = after
	return c.History.Add(at, samples)
}

// readAll gives a reading for each target, nil for one that did not answer.
func (c *Collector) readAll(ctx context.Context, targets []Target, at time.Time, host Host) []*Reading {
	out := make([]*Reading, len(targets))
	var work errgroup.Group
	work.SetLimit(atOnce)
	for i := range targets {
		work.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, answerWait)
			defer cancel()
			fields, err := targets[i].Read(ctx)
			if err != nil {
				c.Log.Debug("a node has no metrics this minute", "node", targets[i].key(), "error", err)
				return nil
			}
			out[i] = &Reading{At: at, Fields: fields, Host: host}
			return nil
		})
	}
	_ = work.Wait() // nothing fails
	return out
}

// Before is what a node said at the last full minute; nil if it is not known.
func (c *Collector) Before(region, cluster, node string) *Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.before[Node{Region: region, ClusterID: cluster, NodeID: node}.key()]
}
