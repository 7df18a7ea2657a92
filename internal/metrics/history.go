package metrics

import (
	"slices"
	"sync"
	"time"
)

// Kept is for how long samples can be read, where they are written to disk, and atHand for
// how long they are in memory: a day of hundreds of nodes would be a hundred megabytes.
const (
	Kept   = 24 * time.Hour
	atHand = 3 * time.Hour
)

// Node says whose figures they are.
type Node struct {
	Region, ClusterID, NodeID string
	// GroupID is "" for a node of no replication group.
	GroupID string `json:",omitempty"`
	Engine  string
}

// key names a node among all.
func (n Node) key() string { return n.Region + "/" + n.ClusterID + "/" + n.NodeID }

// Sample is what was seen of a node in the minute up to At.
type Sample struct {
	At     time.Time
	Values Values
}

// History keeps the samples of some hours in memory and, where it has a directory, those of a
// day on disk. It may be used from many goroutines.
type History struct {
	mu    sync.Mutex
	nodes map[string]*series
	disk  *disk
}

// series are the samples of one node, oldest first.
type series struct {
	node    Node
	samples []packed
}

type packed struct {
	at    int64 // Unix seconds
	bytes []byte
}

// NewHistory is empty, and keeps nothing on disk.
func NewHistory() *History { return &History{nodes: map[string]*series{}} }

// Add takes the samples of one time, and forgets those that are too old. What is added is in
// memory even if it cannot be written to disk.
func (h *History) Add(at time.Time, samples map[Node]Values) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n, v := range samples {
		h.put(n, packed{at.Unix(), pack(v)})
	}
	h.forget(at.Add(-atHand).Unix())
	if h.disk == nil {
		return nil
	}
	return h.disk.write(at, samples)
}

func (h *History) put(n Node, p packed) {
	s := h.nodes[n.key()]
	if s == nil {
		s = &series{}
		h.nodes[n.key()] = s
	}
	s.node = n
	if len(s.samples) > 0 && s.samples[len(s.samples)-1].at >= p.at {
		return // a clock that was set back
	}
	s.samples = append(s.samples, p)
}

func (h *History) forget(before int64) {
	for key, s := range h.nodes {
		old := 0
		for old < len(s.samples) && s.samples[old].at < before {
			old++
		}
		if old == len(s.samples) {
			delete(h.nodes, key)
			continue
		}
		s.samples = slices.Delete(s.samples, 0, old)
	}
}

// Last is the latest sample of every node that has one not older than a time, by name.
func (h *History) Last(since time.Time) map[Node]Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[Node]Sample{}
	for _, s := range h.nodes {
		if p := s.samples[len(s.samples)-1]; p.at >= since.Unix() {
			out[s.node] = p.sample()
		}
	}
	return out
}

// Range are the samples of a node from one time, inclusive, to another, exclusive, oldest
// first. Those that are not in memory are read from disk.
func (h *History) Range(region, cluster, node string, from, to time.Time) ([]Sample, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := Node{Region: region, ClusterID: cluster, NodeID: node}.key()
	s := h.nodes[key]
	if s == nil {
		s = &series{}
	}
	first := to.Unix()
	if len(s.samples) > 0 {
		first = min(first, s.samples[0].at)
	}
	var out []Sample
	if h.disk != nil && from.Unix() < first {
		older := func(n Node, p packed) {
			if n.key() == key && p.at >= from.Unix() && p.at < first {
				out = append(out, p.sample())
			}
		}
		if err := h.disk.scan(from, time.Unix(first, 0), older); err != nil {
			return nil, err
		}
	}
	for _, p := range s.samples {
		if p.at >= from.Unix() && p.at < to.Unix() {
			out = append(out, p.sample())
		}
	}
	return out, nil
}

func (p packed) sample() Sample {
	v, _ := unpack(p.bytes, names) // it is our own
	return Sample{At: time.Unix(p.at, 0).UTC(), Values: v}
}
