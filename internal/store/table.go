package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// Table is a named set of records of type T, kept in the order of their keys. It
// has no state of its own: it is the name and the type of what is in the store.
type Table[T any] struct{ name string }

// NewTable names a table. The name is not empty and has no slash; a wrong one is
// an error of every call. Two tables of one name are one table.
func NewTable[T any](name string) Table[T] { return Table[T]{name: name} }

// Item is a record with its key and the revision of its last change.
type Item[T any] struct {
	Key      string
	Revision uint64
	Value    T
}

// Prefix is what [DB.Watch] takes to watch the keys of the table that begin with
// prefix; "" means all of them.
func (t Table[T]) Prefix(prefix string) string { return t.name + "/" + prefix }

// Get returns the record, and false if there is none.
func (t Table[T]) Get(tx *Tx, key string) (T, bool, error) {
	item, ok, err := t.Item(tx, key)
	return item.Value, ok, err
}

// Item is Get with the record's revision. A record that the same Update has put
// has the revision 1 above [Tx.Revision] if the Update gets committed.
func (t Table[T]) Item(tx *Tx, key string) (Item[T], bool, error) {
	if err := t.check(tx, key); err != nil {
		return Item[T]{}, false, fmt.Errorf("cannot read %s/%s: %w", t.name, key, err)
	}
	raw, rev := tx.kv.get(t.name, key)
	if raw == nil {
		return Item[T]{}, false, nil
	}
	v, err := decode[T](tx, t.name, key, raw, rev)
	return Item[T]{Key: key, Revision: rev, Value: v}, err == nil, err
}

// Put stores the record in place of what may be there.
func (t Table[T]) Put(tx *Tx, key string, v T) error {
	if err := t.check(tx, key); err != nil {
		return fmt.Errorf("cannot put %s/%s: %w", t.name, key, err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode %s/%s: %w", t.name, key, err)
	}
	if err := tx.kv.put(t.name, key, raw); err != nil {
		return fmt.Errorf("cannot put %s/%s: %w", t.name, key, err)
	}
	return nil
}

// Delete removes the record. One that is not there is no error.
func (t Table[T]) Delete(tx *Tx, key string) error {
	if err := t.check(tx, key); err != nil {
		return fmt.Errorf("cannot delete %s/%s: %w", t.name, key, err)
	}
	if err := tx.kv.delete(t.name, key); err != nil {
		return fmt.Errorf("cannot delete %s/%s: %w", t.name, key, err)
	}
	return nil
}

// List returns the records whose key begins with prefix, in the order of their
// keys; nil if there are none.
func (t Table[T]) List(tx *Tx, prefix string) ([]T, error) {
	var out []T
	for item, err := range t.Scan(tx, prefix, "") {
		if err != nil {
			return nil, err
		}
		out = append(out, item.Value)
	}
	return out, nil
}

// Scan goes through the records whose key begins with prefix and is greater than
// after, in the order of their keys. The first error ends it. The loop may put
// and delete records: those ahead are seen as they are when reached.
func (t Table[T]) Scan(tx *Tx, prefix, after string) iter.Seq2[Item[T], error] {
	return func(yield func(Item[T], error) bool) {
		if err := t.check(tx, "-"); err != nil {
			yield(Item[T]{}, fmt.Errorf("cannot list %s/%s: %w", t.name, prefix, err))
			return
		}
		tx.kv.scan(t.name, prefix, after, func(key string, raw []byte, rev uint64) bool {
			v, err := decode[T](tx, t.name, key, raw, rev)
			if err != nil {
				yield(Item[T]{}, err)
				return false
			}
			return yield(Item[T]{Key: key, Revision: rev, Value: v}, nil)
		})
	}
}

// Peek is a Scan of all records whose key begins with prefix, by values that the store
// keeps for itself: they are not to be changed, nor used after the loop has gone on.
func (t Table[T]) Peek(tx *Tx, prefix string) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		if err := t.check(tx, "-"); err != nil {
			yield(nil, fmt.Errorf("cannot list %s/%s: %w", t.name, prefix, err))
			return
		}
		tx.kv.scan(t.name, prefix, "", func(key string, raw []byte, rev uint64) bool {
			v, err := decodeShared[T](tx, t.name, key, raw, rev)
			return yield(v, err) && err == nil
		})
	}
}

// Count returns how many keys begin with prefix, without decoding the records.
func (t Table[T]) Count(tx *Tx, prefix string) (int, error) {
	if err := t.check(tx, "-"); err != nil {
		return 0, fmt.Errorf("cannot count %s/%s: %w", t.name, prefix, err)
	}
	n := 0
	tx.kv.scan(t.name, prefix, "", func(string, []byte, uint64) bool { n++; return true })
	return n, nil
}

func (t Table[T]) check(tx *Tx, key string) error {
	switch {
	case tx.over:
		return errTxOver
	case t.name == "" || strings.Contains(t.name, "/"):
		return fmt.Errorf("%q is not a table name", t.name)
	case key == "":
		return errors.New("the key is empty")
	}
	return nil
}

// decode turns stored JSON into a value of the caller's own.
func decode[T any](tx *Tx, table, key string, raw []byte, rev uint64) (T, error) {
	v, err := decodeShared[T](tx, table, key, raw, rev)
	if err != nil {
		var zero T
		return zero, err
	}
	if !copyable[T]() {
		return *v, nil // it was not kept
	}
	return copyOf(v), nil
}

// decodeShared turns stored JSON into a value that nobody may change: it is that of
// the cache, or goes there.
func decodeShared[T any](tx *Tx, table, key string, raw []byte, rev uint64) (*T, error) {
	if v, ok := cached[T](tx.cache, table, key, rev); ok {
		return v, nil
	}
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("cannot decode %s/%s: %w", table, key, err)
	}
	// A revision above base is not committed, and its number may be given again.
	if rev <= tx.base {
		remember(tx.cache, table, key, rev, v)
	}
	return v, nil
}
