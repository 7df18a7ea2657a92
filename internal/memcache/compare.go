package memcache

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"
	"unicode/utf8"
)

// ClockTolerance is by how much the expiry of one item may be read differently: servers tell the whole seconds
// that are left, by a clock that ticks once a second, and two of them are read.
const ClockTolerance = 2 * time.Second

// mostDoubts is how many differences are looked at again; further ones are counted.
const mostDoubts = 10000

// End is one side of a comparison.
type End struct {
	// Items yields everything, whenever it is called.
	Items func(context.Context) iter.Seq2[*Item, error]
	// Servers are asked again for items that differ. None for a file.
	Servers []*Server
}

// CompareOptions say what counts.
type CompareOptions struct {
	// Limit is how many differences are named.
	Limit int
	// Tolerance of expiries, beyond ClockTolerance.
	Tolerance time.Duration
	// MoreInB: items that only B has are no difference.
	MoreInB bool
	// OtherInB: nor are items that have another value or expiry there.
	OtherInB bool
	// Progress is told now and then how many items of B were read.
	Progress func(items int64)
}

// Difference is one key.
type Difference struct {
	Key string `json:"key"`
	// Raw is the key where it is no UTF-8.
	Raw  []byte `json:"raw,omitempty"`
	What string `json:"what"`
}

// Comparison is what came of it.
type Comparison struct {
	Equal bool  `json:"equal"`
	A     int64 `json:"itemsA"`
	B     int64 `json:"itemsB"`
	Bytes int64 `json:"bytes"`
	// Twice: items of a key that another server of A holds, too.
	Twice int64 `json:"twiceInA,omitempty"`
	// Expired while it was compared; not counted as different.
	Expired int64 `json:"expired"`
	// Settled differed when they were read, and not when they were looked at again.
	Settled int64 `json:"settled"`
	// Different is how many differ, the first of which are named.
	Different   int64        `json:"different"`
	Differences []Difference `json:"differences"`
	// Unchecked differed when they were read and were not looked at again.
	Unchecked int64 `json:"unchecked"`
}

// Verdict is the comparison in a few words.
func (c *Comparison) Verdict() string {
	if c.Equal {
		return "identical"
	}
	return fmt.Sprintf("%d items differ", c.Different+c.Unchecked)
}

// comparing is a comparison that goes on.
type comparing struct {
	CompareOptions
	sums   *Sums
	out    Comparison
	doubts []doubt
}

// doubt is a key that differs, and how.
type doubt struct {
	key  []byte
	what string
}

// Compare compares what has been read of A (sums, which are used up) with everything of B.
func Compare(ctx context.Context, sums *Sums, a, b End, opt CompareOptions) (*Comparison, error) {
	opt.Tolerance += ClockTolerance
	c := &comparing{CompareOptions: opt, sums: sums}
	c.out = Comparison{A: sums.Len(), Bytes: sums.Bytes, Twice: sums.Twice(), Differences: []Difference{}}
	if err := c.readB(ctx, b); err != nil {
		return nil, err
	}
	if err := c.findMissing(ctx, a); err != nil {
		return nil, err
	}
	if err := c.lookAgain(ctx, a, b); err != nil {
		return nil, err
	}
	c.out.Equal = c.out.Different+c.out.Unchecked == 0
	return &c.out, nil
}

func (c *comparing) doubt(key []byte, what string) {
	if len(c.doubts) < mostDoubts {
		c.doubts = append(c.doubts, doubt{bytes.Clone(key), what})
		return
	}
	c.out.Unchecked++
}

// readB holds each item of B against those of A.
func (c *comparing) readB(ctx context.Context, b End) error {
	for i, err := range b.Items(ctx) {
		if err != nil {
			return err
		}
		if c.out.B++; c.out.B%1024 == 0 && c.Progress != nil {
			c.Progress(c.out.B)
		}
		mine, r := c.sums.find(rowOf(i).key), rowOf(i)
		what := onlyInB
		for n := range mine {
			mine[n].expiry |= seenBit
			if what != "" {
				what = mine[n].differs(r, c.Tolerance)
			}
		}
		switch {
		case what == "", what == onlyInB && c.MoreInB, what != onlyInB && c.OtherInB:
		case i.Expired(time.Now()):
			c.out.Expired++
		default:
			c.doubt(i.Key, what)
		}
	}
	return nil
}

// findMissing finds the names of what A has and B does not. Names are not among the sums, so A
// is read again for that.
func (c *comparing) findMissing(ctx context.Context, a End) error {
	missing, now := int64(0), time.Now()
	for n := range c.sums.rows {
		r := &c.sums.rows[n]
		switch {
		case r.expiry&seenBit != 0:
		case r.expiry != 0 && r.expiry <= now.Add(c.Tolerance).Unix():
			c.out.Expired++
			r.expiry |= seenBit
		default:
			missing++
		}
	}
	if missing == 0 {
		return nil
	}
	if a.Items == nil {
		c.out.Unchecked += missing
		return nil
	}
	for i, err := range a.Items(ctx) {
		if err != nil {
			return err
		}
		rows := c.sums.find(rowOf(i).key)
		if len(rows) == 0 || rows[0].expiry&seenBit != 0 {
			continue
		}
		for n := range rows {
			rows[n].expiry |= seenBit
			missing--
		}
		c.doubt(i.Key, onlyInA)
	}
	// What A itself does not have any more differs no longer.
	c.out.Settled += missing
	return nil
}

// lookAgain asks both ends for what differed.
func (c *comparing) lookAgain(ctx context.Context, a, b End) error {
	if len(a.Servers)+len(b.Servers) == 0 {
		for _, d := range c.doubts {
			c.differs(d)
		}
		return nil
	}
	for some := range slices.Chunk(c.doubts, keysAtOnce) {
		keys := make([][]byte, len(some))
		for n, d := range some {
			keys[n] = d.key
		}
		atA, err := c.again(ctx, a, keys)
		if err != nil {
			return err
		}
		atB, err := c.again(ctx, b, keys)
		if err != nil {
			return err
		}
		for _, d := range some {
			if d.what = c.judge(d, atA, atB); d.what == "" {
				c.out.Settled++
				continue
			}
			c.differs(d)
		}
	}
	return nil
}

func (c *comparing) differs(d doubt) {
	c.out.Different++
	if len(c.out.Differences) < c.Limit {
		out := Difference{Key: string(d.key), What: d.what}
		if !utf8.Valid(d.key) {
			out.Raw = d.key
		}
		c.out.Differences = append(c.out.Differences, out)
	}
}

// again are the rows of some keys as the servers have them now; nil for a file.
func (c *comparing) again(ctx context.Context, e End, keys [][]byte) (map[string][]row, error) {
	if len(e.Servers) == 0 {
		return nil, nil
	}
	out := map[string][]row{}
	for _, s := range e.Servers {
		err := Lookup(ctx, s, keys, func(i *Item) error {
			out[string(i.Key)] = append(out[string(i.Key)], rowOf(i))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// judge tells how a key differs now, "" if it does not. A file says what it said.
func (c *comparing) judge(d doubt, atA, atB map[string][]row) string {
	a, b := atA[string(d.key)], atB[string(d.key)]
	if atA == nil {
		if a = c.sums.find(rowOf(&Item{Key: d.key}).key); d.what == onlyInB {
			a = nil
		}
	}
	if atB == nil { // the file still has it, or still does not
		if d.what == onlyInA {
			if len(a) == 0 {
				return ""
			}
			return onlyInA
		}
		return d.what
	}
	switch {
	case len(a) == 0 && len(b) == 0, len(a) == 0 && c.MoreInB, len(a) > 0 && len(b) > 0 && c.OtherInB:
		return ""
	case len(a) == 0:
		return onlyInB
	case len(b) == 0:
		if slices.ContainsFunc(a, func(r row) bool {
			at := r.expiry &^ seenBit
			return at == 0 || at > time.Now().Add(c.Tolerance).Unix()
		}) {
			return onlyInA
		}
		return "" // it expires about now
	}
	what := ""
	for _, x := range a {
		for _, y := range b {
			if what = x.differs(y, c.Tolerance); what == "" {
				return ""
			}
		}
	}
	return what
}
