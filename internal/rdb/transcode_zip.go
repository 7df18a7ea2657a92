package rdb

import (
	"errors"
	"strconv"
)

// Engines load a packed list two to six times as fast as the same elements one
// by one (0.7 to 2.2 µs for a hash of ten fields into Redis 6.0, 2.5 to 16 ms for
// a list of 200,000), so what is a listpack becomes a ziplist where the target
// reads that, and the plain type only where it does not fit.

// errUnfit says that a value does not go into ziplists, if only because it is damaged.
var errUnfit = errors.New("not for a ziplist")

const (
	// maxZiplist is the size that Redis 6 does not let its own ziplists exceed.
	maxZiplist = 1 << 30
	// maxScoreText is the longest score that goes there: the engine copies it to
	// a fixed buffer, and no engine writes more than 24 digits.
	maxScoreText = 64
)

// ziplistType is the form of a listpack's type that has ziplists.
func ziplistType(typ byte, version int) (byte, bool) {
	var to byte
	switch typ {
	case TypeHashListpack:
		to = TypeHashZiplist
	case TypeZSetListpack:
		to = TypeZSetZiplist
	case TypeQuicklist2:
		to = TypeQuicklist
	default:
		return 0, false
	}
	return to, Supports(version, to)
}

// ziplists writes a value of listpacks as one of ziplists. After an errUnfit it
// is to be tried otherwise.
func (t *Transcoder) ziplists(typ byte, value []byte) error {
	c := cursor{buf: value}
	var err error
	if typ == TypeQuicklist2 {
		err = t.quicklist(&c)
	} else {
		t.zip.reset()
		if err = t.repack(&c, typ); err == nil {
			t.out = AppendString(t.out, t.zip.bytes())
		}
	}
	if err == nil && c.pos != len(value) {
		return c.fail(strconv.Itoa(len(value)-c.pos)+" bytes follow the value", ErrCorrupt)
	}
	return err
}

// repack adds the elements of a listpack to the ziplist.
func (t *Transcoder) repack(c *cursor, typ byte) error {
	b, blob, err := c.str(t.blob[:0])
	if t.blob = blob; err != nil {
		return err
	}
	p, err := openPack(b, false)
	if err != nil {
		return errUnfit
	}
	for i := 0; ; i++ {
		e, more, err := p.next()
		switch {
		case err != nil:
			return errUnfit
		case !more && i&1 == 1 && typ != TypeQuicklist2:
			return errUnfit // a name without what belongs to it
		case !more:
			return nil
		case typ == TypeZSetListpack && i&1 == 1 && !goodScore(e):
			return errUnfit
		case len(t.zip.b)+len(e.b) > maxZiplist:
			return errUnfit
		}
		t.zip.add(e)
	}
}

func goodScore(e element) bool {
	if e.isInt {
		return true
	}
	if len(e.b) > maxScoreText {
		return false
	}
	_, err := strconv.ParseFloat(string(e.b), 64)
	return err == nil
}

// quicklist writes a list of listpacks and single items as one of ziplists. Empty
// nodes, which break the engines that read this form, are left out.
func (t *Transcoder) quicklist(c *cursor) error {
	n, err := c.count()
	if err != nil {
		return err
	}
	return t.countAhead(func() error {
		for range n {
			t.zip.reset()
			if err := t.node(c); err != nil {
				return err
			}
			if t.zip.n > 0 {
				t.out = AppendString(t.out, t.zip.bytes())
				t.n++
			}
		}
		return nil
	})
}

func (t *Transcoder) node(c *cursor) error {
	kind, err := c.length()
	if err != nil {
		return err
	}
	switch kind {
	case nodePacked:
		return t.repack(c, TypeQuicklist2)
	case nodePlain:
		item, blob, err := c.str(t.blob[:0])
		if t.blob = blob; err != nil {
			return err
		}
		if len(item) > maxZiplist {
			return errUnfit
		}
		t.zip.add(element{b: item})
		return nil
	}
	return c.fail("unknown kind of list node", ErrCorrupt)
}
