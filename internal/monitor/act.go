package monitor

import (
	"context"
	"fmt"
	"time"

	"holdfast.dev/internal/cache"
)

// act does what a verdict asks for, once.
func (m *Monitor) act(ctx context.Context, w *watched, now time.Time) {
	lasts := now.Sub(w.troubled)
	if w.verdict.Kind == Hung {
		if !w.Leads && w.Ready && !w.silenced {
			w.silenced = true
			m.silence(ctx, w, true)
		}
		if w.Leads && w.Ready && !w.heir {
			m.seekHeir(ctx, w, now)
		}
		if m.gains(w, lasts) {
			m.fence(ctx, w, now)
			return
		}
	}
	if lasts < tellAfter || w.told || !w.Ready {
		return
	}
	w.told = true
	m.tell(ctx, w, w.complaint())
}

// gains tells whether something is to be won by ending a node that hangs: another one
// that leads, or one that comes up anew where there was nothing to lose. A replica that is
// cut off, or reads everything anew, has less than a primary that may still go on; one
// whose link went down with the primary has as much.
func (m *Monitor) gains(w *watched, lasts time.Duration) bool {
	switch {
	case !w.Ready:
		return lasts >= fenceUseless
	case !w.Leads:
		return lasts >= fenceReplica
	}
	return w.heir || w.view == LinkDown && len(m.heirs(w, true)) > 0
}

func (m *Monitor) fence(ctx context.Context, w *watched, now time.Time) {
	if now.Sub(w.fenced) < again {
		return
	}
	w.fenced, w.told = now, true
	n, why := w.Node, w.verdict.Why
	m.Log.Warn("a node hangs and is killed", "node", n.Key, "pid", n.Process.PID, "because", why)
	m.later(func() func() {
		if err := m.Hands.Fence(ctx, n); err != nil {
			m.Log.Error("a node that hangs cannot be killed", "node", n.Key, "error", err)
			return func() {}
		}
		m.say(ctx, n, fmt.Sprintf("Cache node %s did not answer (%s) and was stopped", cache.NodeID, why))
		return func() {}
	})
}

// complaint is the event of an episode.
func (w *watched) complaint() string {
	if w.verdict.Kind == Busy {
		return fmt.Sprintf("Cache node %s is busy and answers nobody: %s. There is no failover while it works", cache.NodeID, w.verdict.Why)
	}
	if w.verdict.Kind == Hung {
		return fmt.Sprintf("Cache node %s does not answer: %s. No replica could take over, so it is left as it is", cache.NodeID, w.verdict.Why)
	}
	return fmt.Sprintf("Cache node %s does not answer, and whether it ever will cannot be told: %s. There is no failover", cache.NodeID, w.verdict.Why)
}

// calm ends an episode.
func (m *Monitor) calm(ctx context.Context, w *watched, now time.Time) {
	if w.troubled.IsZero() {
		return
	}
	if w.silenced {
		m.silence(ctx, w, false)
	}
	if w.told && w.fenced.IsZero() {
		m.tell(ctx, w, fmt.Sprintf("Cache node %s answers again after %s", cache.NodeID, now.Sub(w.troubled).Round(time.Second)))
	}
	w.troubled, w.told, w.silenced, w.verdict = time.Time{}, false, false, Verdict{}
}

func (m *Monitor) tell(ctx context.Context, w *watched, message string) {
	n := w.Node
	m.later(func() func() {
		m.say(ctx, n, message)
		return func() {}
	})
}

func (m *Monitor) say(ctx context.Context, n Node, message string) {
	if err := m.Hands.Tell(ctx, n, message); err != nil && ctx.Err() == nil {
		m.Log.Error("cannot write an event down", "node", n.Key, "event", message, "error", err)
	}
}

func (m *Monitor) silence(ctx context.Context, w *watched, silent bool) {
	n := w.Node
	m.later(func() func() {
		if err := m.Hands.Silence(ctx, n, silent); err != nil && ctx.Err() == nil {
			m.Log.Error("cannot write down whether a node answers", "node", n.Key, "error", err)
		}
		return func() {}
	})
}
