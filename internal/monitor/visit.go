package monitor

import (
	"context"
	"errors"
	"time"
)

// watched is what is known of one node.
type watched struct {
	Node
	line line
	// since is from when on it is watched; owed from when on it owes an answer, or
	// takes no connection; zero while it does not.
	since, owed time.Time
	dialled     time.Time
	dialling    bool
	refused     bool
	last        Reply
	// cpu is the processor time that it had used at the first look of an episode or when
	// it was last seen to move, moved when that was.
	cpu   time.Duration
	moved time.Time
	// asked is when its replicas were asked, view what they said, offset how far they were.
	asked  time.Time
	view   View
	offset int64
	// sought is when its replicas were asked whether they follow it, heir that one does.
	sought time.Time
	heir   bool
	// What has been done about an episode that began at troubled.
	troubled time.Time
	verdict  Verdict
	told     bool
	silenced bool
	fenced   time.Time
}

func (w *watched) close() { w.line.close() }

func (w *watched) forgive(now time.Time, missed time.Duration) {
	if !w.owed.IsZero() {
		w.owed = now
	}
	if !w.troubled.IsZero() {
		w.troubled = w.troubled.Add(missed)
	}
	w.moved, w.view, w.asked = time.Time{}, NotAsked, time.Time{}
}

// visit looks for an owed answer, asks when it is time to, and judges.
func (m *Monitor) visit(ctx context.Context, w *watched, turn int, now time.Time) {
	if !w.line.open() {
		m.connect(ctx, w, now)
	} else if w.line.waits {
		m.hear(w)
	}
	every := primaries
	if !w.Leads {
		every = replicas
	}
	if w.line.open() && !w.line.waits && turn%every == 0 {
		if err := w.line.ask(); err != nil {
			w.hangUp()
		} else {
			w.owed = now
		}
	}
	calm := w.troubled.IsZero() && w.last == Pong
	if calm && (w.owed.IsZero() || now.Sub(w.owed) < beat/2) {
		return
	}
	m.judge(ctx, w, now)
}

// hear takes an answer, if there is one.
func (m *Monitor) hear(w *watched) {
	reply, err := w.line.hear()
	switch {
	case err != nil:
		w.hangUp()
	case reply != NoReply:
		w.last = reply
		w.settle()
	}
}

// settle forgets what was owed.
func (w *watched) settle() {
	w.owed, w.moved, w.asked = time.Time{}, time.Time{}, time.Time{}
	w.refused, w.view, w.heir = false, NotAsked, false
}

// hangUp forgets the connection. What was owed on it stays owed.
func (w *watched) hangUp() {
	w.line.close()
	w.dialled = time.Time{}
}

// connect makes a connection, on which one question is answered already.
func (m *Monitor) connect(ctx context.Context, w *watched, now time.Time) {
	if w.owed.IsZero() {
		w.owed = now
	}
	if w.dialling || now.Sub(w.dialled) < redial {
		return
	}
	w.dialling, w.dialled = true, now
	login := w.Login
	m.later(func() func() {
		made, reply, err := dial(ctx, login)
		return func() {
			w.dialling = false
			switch {
			case err != nil:
				w.refused = errors.Is(err, errRefused)
			case m.byKey[w.Key] != w:
				made.close()
			default:
				w.line = made
				w.last = reply
				w.settle()
			}
		}
	})
}

// judge gathers the evidence and acts on the verdict.
func (m *Monitor) judge(ctx context.Context, w *watched, now time.Time) {
	e := Evidence{Void: m.late, Last: w.last, Refused: w.refused && !w.owed.IsZero(), Replicas: w.view, Unseen: true}
	if !w.owed.IsZero() {
		e.Owed = max(now.Sub(w.owed), 1)
		m.look(w, &e, now)
	}
	if e.Owed >= cutAfter && e.State != stopped {
		m.askReplicas(ctx, w, now)
	}
	v := Judge(e)
	switch {
	case v.Kind == Fine && (m.late || !w.owed.IsZero()):
		return // nothing speaks against it, and nothing tells that it answers
	case v.Kind == Fine || v.Kind == Dead:
		m.calm(ctx, w, now)
		return
	}
	if w.troubled.IsZero() {
		w.troubled = now
	}
	w.verdict = v
	m.act(ctx, w, now)
}

// look asks the process table.
func (m *Monitor) look(w *watched, e *Evidence, now time.Time) {
	s, err := m.Hands.Look(w.Process)
	if err != nil {
		return
	}
	e.State, e.Unseen = s.State, false
	if w.moved.IsZero() {
		w.cpu, w.moved = s.CPU, now
		e.Idle = 1 // nothing is known of before, which is not to speak for it
		return
	}
	if s.CPU != w.cpu {
		w.cpu, w.moved = s.CPU, now
	}
	e.Idle = now.Sub(w.moved)
	if !s.CPUKnown {
		e.Idle = 1
	}
}

// heirs are the replicas of a primary that answer, and that have been ready or not.
func (m *Monitor) heirs(w *watched, ready bool) []*watched {
	var out []*watched
	for _, o := range m.nodes {
		if o.Follows == w.Key && o.Ready == ready && o.last == Pong && o.line.open() && o.troubled.IsZero() {
			out = append(out, o)
		}
	}
	return out
}

// seekHeir asks the replicas of a primary that hangs whether one follows it at present.
// One that was never ready may: it has the data a moment before that is written down, and
// with a primary that hangs it never comes to that.
func (m *Monitor) seekHeir(ctx context.Context, w *watched, now time.Time) {
	if now.Sub(w.sought) < redial {
		return
	}
	w.sought = now
	for _, h := range append(m.heirs(w, true), m.heirs(w, false)...) {
		n := h.Node
		m.later(func() func() {
			ctx, cancel := context.WithTimeout(ctx, redial)
			defer cancel()
			up, _, err := m.Hands.Link(ctx, n)
			return func() { w.heir = w.heir || err == nil && up }
		})
	}
}

// askReplicas asks the replicas of a primary that owes an answer, now and then.
func (m *Monitor) askReplicas(ctx context.Context, w *watched, now time.Time) {
	if !w.Leads || now.Sub(w.asked) < redial {
		return
	}
	heirs := m.heirs(w, true)
	if len(heirs) == 0 {
		return
	}
	first := w.asked.IsZero()
	w.asked = now
	nodes := make([]Node, len(heirs))
	for i, h := range heirs {
		nodes[i] = h.Node
	}
	m.later(func() func() {
		ctx, cancel := context.WithTimeout(ctx, redial)
		defer cancel()
		up, most := false, int64(0)
		var failed error
		for _, n := range nodes {
			stands, offset, err := m.Hands.Link(ctx, n)
			failed = errors.Join(failed, err)
			up, most = up || stands, max(most, offset)
		}
		return func() {
			switch {
			case w.asked.IsZero() || failed != nil: // it answered meanwhile
			case !up:
				w.view = LinkDown
			case !first && most > w.offset:
				w.view = LinkMoves
			default:
				w.view = LinkStill
			}
			w.offset = most
		}
	})
}
