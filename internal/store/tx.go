package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

var (
	errReadOnly = errors.New("the transaction is read-only")
	errTxOver   = errors.New("the transaction is over")
)

// Tx is a transaction, used through the methods of [Table]. It belongs to the
// goroutine that runs the closure and ends with it.
type Tx struct {
	kv    kv
	cache *cache
	base  uint64 // the last committed revision that the transaction sees
	over  bool
}

// Revision of the state that the transaction reads: that of the last change
// before it. The revision that an Update will get is known once it is committed.
func (tx *Tx) Revision() uint64 { return tx.kv.revision() }

func (tx *Tx) end() { tx.over = true }

// kv is what a backend offers to a transaction. Byte slices that it hands out
// are valid until the next call.
type kv interface {
	revision() uint64
	// get returns nil if there is no such record.
	get(table, key string) (value []byte, rev uint64)
	put(table, key string, value []byte) error
	// delete of a record that is not there changes nothing.
	delete(table, key string) error
	// scan calls yield for the records with the prefix whose key is greater than
	// after, in byte order, until it returns false. yield may put and delete.
	scan(table, prefix, after string, yield func(key string, value []byte, rev uint64) bool)
}

// boltTx is kv on a bbolt transaction. Several closures may use one after the
// other; undo takes back what the last of them did.
type boltTx struct {
	tx      *bolt.Tx
	meta    *bolt.Bucket
	records *bolt.Bucket
	tables  map[string]*bolt.Bucket
	write   bool
	rev     uint64 // of the last closure that succeeded
	version int    // counts changes, so that scans see that their cursor is stale
	log     []change
}

// change is one put or delete and what was there before.
type change struct {
	table, key string
	before     []byte // with its revision; nil if there was none
}

func newBoltTx(tx *bolt.Tx, write bool) *boltTx {
	k := &boltTx{
		tx: tx, write: write, tables: make(map[string]*bolt.Bucket),
		meta: tx.Bucket(bucketMeta), records: tx.Bucket(bucketRecords),
	}
	k.rev = readUint(k.meta, keyRevision)
	return k
}

func (k *boltTx) revision() uint64 { return k.rev }

// bucket of a table, nil if nothing was ever stored in it.
func (k *boltTx) bucket(table string) *bolt.Bucket {
	b, ok := k.tables[table]
	if !ok {
		b = k.records.Bucket([]byte(table))
		k.tables[table] = b
	}
	return b
}

func (k *boltTx) get(table, key string) ([]byte, uint64) {
	b := k.bucket(table)
	if b == nil {
		return nil, 0
	}
	return split(b.Get([]byte(key)))
}

// split takes a stored value apart. A value too short to be one counts as none.
func split(v []byte) ([]byte, uint64) {
	if len(v) < 8 {
		return nil, 0
	}
	return v[8:], binary.BigEndian.Uint64(v)
}

func (k *boltTx) put(table, key string, value []byte) error {
	if !k.write {
		return errReadOnly
	}
	b := k.bucket(table)
	if b == nil {
		var err error
		if b, err = k.records.CreateBucketIfNotExists([]byte(table)); err != nil {
			return fmt.Errorf("table %q: %w", table, err)
		}
		k.tables[table] = b
	}
	c := change{table: table, key: key, before: bytes.Clone(b.Get([]byte(key)))}
	v := make([]byte, 8, 8+len(value))
	binary.BigEndian.PutUint64(v, k.rev+1)
	if err := b.Put([]byte(key), append(v, value...)); err != nil {
		return err
	}
	k.note(c)
	return nil
}

func (k *boltTx) delete(table, key string) error {
	if !k.write {
		return errReadOnly
	}
	b := k.bucket(table)
	if b == nil {
		return nil
	}
	before := b.Get([]byte(key))
	if before == nil {
		return nil
	}
	c := change{table: table, key: key, before: bytes.Clone(before)}
	if err := b.Delete([]byte(key)); err != nil {
		return err
	}
	k.note(c)
	return nil
}

func (k *boltTx) note(c change) {
	k.log = append(k.log, c)
	k.version++
}

func (k *boltTx) scan(table, prefix, after string, yield func(string, []byte, uint64) bool) {
	b := k.bucket(table)
	if b == nil {
		return
	}
	pre, last := []byte(prefix), []byte(after)
	c := b.Cursor()
	key, v := seekAfter(c, pre, last)
	for key != nil && bytes.HasPrefix(key, pre) {
		last = append(last[:0], key...)
		version := k.version
		if value, rev := split(v); value != nil && !yield(string(last), value, rev) {
			return
		}
		if k.version == version {
			key, v = c.Next()
			continue
		}
		c = b.Cursor()
		key, v = seekAfter(c, pre, last)
	}
}

// seekAfter finds the first key that is at least prefix and greater than last;
// an empty last excludes nothing.
func seekAfter(c *bolt.Cursor, prefix, last []byte) (key, value []byte) {
	if bytes.Compare(last, prefix) < 0 || len(last) == 0 {
		return c.Seek(prefix)
	}
	key, value = c.Seek(last)
	if bytes.Equal(key, last) {
		key, value = c.Next()
	}
	return key, value
}

// keep makes the changes since the last keep or undo part of the commit, as one
// revision, and returns them.
func (k *boltTx) keep() ([]change, error) {
	if len(k.log) == 0 {
		return nil, nil
	}
	if err := writeUint(k.meta, keyRevision, k.rev+1); err != nil {
		return nil, err
	}
	k.rev++
	done := k.log
	k.log = nil
	return done, nil
}

// undo takes the changes since the last keep or undo back.
func (k *boltTx) undo() error {
	for i := len(k.log) - 1; i >= 0; i-- {
		c := k.log[i]
		b := k.bucket(c.table)
		var err error
		if c.before == nil {
			err = b.Delete([]byte(c.key))
		} else {
			err = b.Put([]byte(c.key), c.before)
		}
		if err != nil {
			return fmt.Errorf("cannot take back a change of %s/%s: %w", c.table, c.key, err)
		}
	}
	k.log = nil
	k.version++
	return nil
}
