package verify

import (
	"context"
	"slices"
	"time"
)

// When keys that differed count as alike. The second end follows the first a little
// later, so a key that is written to all the time may differ each time that both
// are read one after the other. It is alike if the second end has what the first had a
// few readings ago: up to there it has followed. What the first end had when
// everything was read does not count, for a write that never arrives comes later.
//
// A key that stands still at either end, and is never alike, differs. One that moves
// at both and is never caught is neither: it is counted apart.
const (
	settleRounds = 40
	settlePause  = 5 * time.Millisecond // after the first round, and longer from then on
	settleLonger = 5 * time.Millisecond
	settleMost   = 150 * time.Millisecond
	settlePast   = 8 // readings of the first end that are remembered
)

// trace is what is remembered of a key that is looked at again.
type trace struct {
	now [2]side
	// past are readings of the first end, the latest last.
	past []side
	// moved tells whether a reading of an end was not like the one before.
	moved [2]bool
}

// settle looks at the open keys again until none is open, and counts each.
func (c *liveComparison) settle(ctx context.Context) error {
	traces := make(map[keyID]*trace, len(c.open))
	for id := range c.open {
		traces[id] = &trace{}
	}
	clear(c.open)
	for round := 0; len(traces) > 0 && round < settleRounds; round++ {
		if round > 0 {
			if err := pause(ctx, min(settlePause+time.Duration(round)*settleLonger, settleMost)); err != nil {
				return err
			}
		}
		if err := c.again(ctx, traces, round == 0); err != nil {
			return err
		}
		for id, t := range traces {
			if c.alike(t) {
				delete(traces, id)
			}
		}
	}
	for id, t := range traces {
		c.conclude(id, t)
	}
	if c.report.Different >= liveCut {
		return errEnough
	}
	return nil
}

// again reads all keys at the first end and then at the second.
func (c *liveComparison) again(ctx context.Context, traces map[keyID]*trace, begin bool) error {
	c.d.asOf = c.now()
	byDB := map[int][][]byte{}
	for id := range traces {
		byDB[id.db] = append(byDB[id.db], []byte(id.key))
	}
	for db, names := range byDB {
		read := make(map[string]*[2]side, len(names))
		for _, k := range names {
			read[string(k)] = new([2]side)
		}
		for end := range c.ends {
			if err := c.read(ctx, end, db, names, func(key []byte) *[2]side { return read[string(key)] }); err != nil {
				return err
			}
		}
		for k, s := range read {
			traces[keyID{db, k}].note(s, begin)
		}
	}
	return nil
}

func (t *trace) note(s *[2]side, begin bool) {
	for end := range t.now {
		if !begin && !t.now[end].same(&s[end]) {
			t.moved[end] = true
		}
	}
	t.now = *s
	if len(t.past) == settlePast {
		t.past = slices.Delete(t.past, 0, 1)
	}
	t.past = append(t.past, s[0])
}

// same tells whether two readings are of the same content.
func (s *side) same(o *side) bool {
	return s.present == o.present && s.live == o.live && s.class == o.class && s.expireAt == o.expireAt
}

// alike tells whether the second end has what the first has or had, and counts it.
func (c *liveComparison) alike(t *trace) bool {
	for i := len(t.past) - 1; i >= 0; i-- {
		v := c.verdict(&[2]side{t.past[i], t.now[1]})
		if v == verdictSame {
			c.report.Settled++
			return true
		}
		if c.count(v) {
			return true
		}
	}
	return false
}

// verdictLate: the second end has the key a little longer.
const verdictLate verdict = 192

// verdict is that of a look, and knows of replicas that count for themselves.
func (c *liveComparison) verdict(k *[2]side) verdict {
	v := c.judge.verdict(k)
	if v != verdict(ExpiryDiffers) || k[0].expireAt == 0 {
		return v
	}
	if late := k[1].expireAt - k[0].expireAt; late > 0 && late <= c.opt.Late.Milliseconds() {
		return verdictLate
	}
	return v
}

// count counts a verdict that is no difference, and says whether it was none.
func (c *liveComparison) count(v verdict) bool {
	if v == verdictLate {
		c.report.Late++
		return true
	}
	return c.judge.count(v)
}

// conclude judges a key that was never seen alike.
func (c *liveComparison) conclude(id keyID, t *trace) {
	r := c.report
	if t.moved[0] && t.moved[1] {
		r.Unsettled++
		return
	}
	r.Different++
	if len(r.Differences) < c.opt.Limit {
		r.Differences = append(r.Differences, Difference{
			DB: id.db, Key: []byte(id.key), Kind: Kind(c.verdict(&t.now)), A: t.now[0].report(), B: t.now[1].report(),
		})
	}
}
