package verify

import (
	"fmt"

	"holdfast.dev/internal/rdb"
)

// cell is the sum over the keys of one slot of one database.
type cell struct {
	data, expiry   Hash
	keys, volatile int64
}

// Slots come in pages, so that a database with few keys takes little room.
const pageSlots = 64

type page [pageSlots]cell

// Totals count the keys of a database or of a whole fingerprint.
type Totals struct {
	// Keys counts all keys, Volatile those of them that expire.
	Keys, Volatile int64
	// Bytes is the size of keys and decoded values, the same in every encoding.
	Bytes int64
	// Classes counts keys by type.
	Classes [rdb.Classes]int64
}

func (t *Totals) add(d *Digest) {
	t.Keys++
	t.Bytes += d.Bytes
	t.Classes[d.Class]++
	if d.ExpireAt != 0 {
		t.Volatile++
	}
}

func (t *Totals) merge(o *Totals) {
	t.Keys += o.Keys
	t.Volatile += o.Volatile
	t.Bytes += o.Bytes
	for i := range t.Classes {
		t.Classes[i] += o.Classes[i]
	}
}

// database holds the sums of one logical database.
type database struct {
	pages  [Slots / pageSlots]*page
	totals Totals
}

func (db *database) cell(slot int) *cell {
	p := &db.pages[slot/pageSlots]
	if *p == nil {
		*p = new(page)
	}
	return &(*p)[slot%pageSlots]
}

// peek is cell without making one.
func (db *database) peek(slot int) cell {
	if db == nil || db.pages[slot/pageSlots] == nil {
		return cell{}
	}
	return db.pages[slot/pageSlots][slot%pageSlots]
}

func (db *database) add(d *Digest) {
	c := db.cell(int(d.Slot))
	c.data.add(d.Data)
	c.keys++
	if d.ExpireAt != 0 {
		c.expiry.add(d.Expiry)
		c.volatile++
	}
	db.totals.add(d)
}

func (db *database) merge(o *database) {
	for i, p := range o.pages {
		if p == nil {
			continue
		}
		for j := range p {
			c := db.cell(i*pageSlots + j)
			c.data.add(p[j].data)
			c.expiry.add(p[j].expiry)
			c.keys += p[j].keys
			c.volatile += p[j].volatile
		}
	}
	db.totals.merge(&o.totals)
}

// sum adds up the slots.
func (db *database) sum() (data, expiry Hash) {
	for _, p := range db.pages {
		if p == nil {
			continue
		}
		for i := range p {
			data.add(p[i].data)
			expiry.add(p[i].expiry)
		}
	}
	return data, expiry
}

// maxDatabases bounds what a damaged or hostile source can make us keep.
const maxDatabases = 1 << 16

// database returns the sums of a database, made if need be.
func (f *Fingerprint) database(db int) (*database, error) {
	d := f.dbs[db]
	if d == nil {
		if len(f.dbs) == maxDatabases {
			return nil, fmt.Errorf("cannot fingerprint more than %d databases", maxDatabases)
		}
		d = new(database)
		f.dbs[db] = d
	}
	return d, nil
}
