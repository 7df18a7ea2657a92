package cache

import (
	"fmt"
	"strings"
	"time"
)

// UpgradeReport tells of one change of all nodes of a cache from one kind to another,
// what it held and did before, meanwhile and afterwards, and whether anything was lost.
type UpgradeReport struct {
	Region, ID string
	// Group tells whether ID is a replication group's; else it is a cache cluster's.
	Group    bool
	From, To Kind
	// StartedAt as in Upgrade. EndedAt is zero while it goes on.
	StartedAt time.Time
	EndedAt   time.Time `json:",omitzero"`
	// Failed, Pauses and Compared as in Upgrade.
	Failed   string          `json:",omitempty"`
	Pauses   []time.Duration `json:",omitempty"`
	Compared int64
	// Died as in Upgrade.
	Died  int `json:",omitempty"`
	Nodes []NodeReport
	// Done: the figures of afterwards are there too, or can never be had.
	Done    bool
	Verdict Verdict
}

// NodeReport is about one node.
type NodeReport struct {
	// ID of the cache cluster. New: it came only while the cache was changed.
	ID  string
	New bool `json:",omitempty"`
	// Before and After are nil for a node that was not there, or could not be asked.
	Before *NodeFigures `json:",omitempty"`
	During *NodeFigures `json:",omitempty"`
	After  *NodeFigures `json:",omitempty"`
	// Replaced: another process serves in the place of the one of before.
	Replaced bool
	// Seen is what the figures are counted from; nil once they are complete.
	Seen *NodeCounters `json:",omitempty"`
}

// NodeFigures are by CloudWatch's names what a node held at a time, and what it did in some
// seconds up to then. Of During, CurrItems is the least that was seen and BytesUsedForCache the most.
type NodeFigures struct {
	At      time.Time
	Primary bool
	Version string
	// CurrItems and BytesUsedForCache as they were.
	CurrItems, BytesUsedForCache int64
	// Seconds that all of the following are counted over; 0: they are not known.
	Seconds                                               float64
	Evictions, Reclaimed, CacheHits, CacheMisses          int64
	NewConnections, RejectedConnections, ReplicationBytes int64
	// Errors are commands that were answered by an error; -1 where the engine does not tell.
	Errors int64
	// Removals are commands that clients called and that may take keys away.
	Removals int64
}

// NodeCounters are counters of a node as its engine told them.
type NodeCounters struct {
	At     time.Time
	Fields map[string]string
}

// Outcome is a verdict in one word.
type Outcome string

// The outcomes.
const (
	OutcomeUnderWay Outcome = "under-way"
	OutcomeNoLoss   Outcome = "no-loss"
	OutcomeUnknown  Outcome = "unknown"
	OutcomePossible Outcome = "possible-loss"
)

// Verdict says whether anything was lost.
type Verdict struct {
	Outcome Outcome
	// Text is for people: "no data lost: …".
	Text string
}

// Judge says what is known of losses. It claims that there was none only where each key was
// compared, or no node was replaced, nothing was evicted, and no item is missing that did not
// expire and that nobody took away.
func (r *UpgradeReport) Judge() Verdict {
	if r.EndedAt.IsZero() {
		return Verdict{OutcomeUnderWay, "under way"}
	}
	v := r.judge()
	if r.Failed != "" {
		v.Text = "given up (" + r.Failed + "); " + v.Text
	}
	return v
}

func (r *UpgradeReport) judge() Verdict {
	t := r.totals()
	switch {
	case !t.seen:
		return Verdict{OutcomeUnknown, "not known: the nodes were not seen before it began"}
	case t.evicted > 0:
		return Verdict{OutcomePossible, fmt.Sprintf("possible loss: %s evicted meanwhile", were(t.evicted, "key"))}
	case t.missing > t.expired && t.removals == 0:
		return Verdict{OutcomePossible, fmt.Sprintf("possible loss: %s fewer than before, of which %d expired and none was taken away by a client",
			count(t.missing, "item"), t.expired)}
	case r.Died > 0:
		return Verdict{OutcomeUnknown, fmt.Sprintf("not known: %s ended by itself meanwhile, and what it acknowledged last may not have reached the node that came in its place",
			count(int64(r.Died), "primary node"))}
	case t.replaced && r.Compared == 0 && t.items > 0:
		return Verdict{OutcomeUnknown, "not proved: nodes were replaced and no keys were compared"}
	case !t.after:
		return Verdict{OutcomeUnknown, "not known: a node could not be asked afterwards"}
	}
	said := []string{"no data lost: no node was replaced"}
	if t.replaced {
		said[0] = fmt.Sprintf("no data lost: %s compared, none differs", were(r.Compared, "key"))
	}
	if t.expired > 0 {
		said = append(said, count(t.expired, "key")+" expired meanwhile")
	}
	if t.missing > t.expired {
		said = append(said, fmt.Sprintf("%s fewer than before, where clients gave %s that take keys away",
			count(t.missing, "item"), count(t.removals, "command")))
	}
	return Verdict{OutcomeNoLoss, strings.Join(said, "; ")}
}

// totals are sums over all nodes.
type totals struct {
	seen, after, replaced      bool
	items, missing             int64
	evicted, expired, removals int64
}

// totals counts items where they lead: each is there once.
func (r *UpgradeReport) totals() totals {
	t := totals{seen: len(r.Nodes) > 0, after: true}
	var later int64
	for i := range r.Nodes {
		n := &r.Nodes[i]
		t.replaced = t.replaced || n.Replaced
		if !n.New {
			t.seen = t.seen && n.Before != nil
			t.after = t.after && n.After != nil
		}
		if n.Before != nil && n.Before.Primary {
			t.items += n.Before.CurrItems
		}
		if n.After != nil && n.After.Primary {
			later += n.After.CurrItems
		}
		for _, f := range []*NodeFigures{n.During, n.After} {
			if f != nil {
				t.evicted, t.expired, t.removals = t.evicted+f.Evictions, t.expired+f.Reclaimed, t.removals+f.Removals
			}
		}
	}
	if t.after {
		t.missing = max(t.items-later, 0)
	}
	return t
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func were(n int64, what string) string {
	if n == 1 {
		return "1 " + what + " was"
	}
	return count(n, what) + " were"
}
