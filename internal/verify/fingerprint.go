package verify

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"holdfast.dev/internal/rdb"
)

// prefix names the fingerprint's definition; another definition gets another one.
const prefix = "hf1:"

// Fingerprint identifies the content of a keyspace. See the package's comment
// for what it covers.
type Fingerprint struct {
	dbs map[int]*database
}

func newFingerprint() *Fingerprint { return &Fingerprint{dbs: map[int]*database{}} }

// Merge adds what another source holds, such as a further shard's file.
func (f *Fingerprint) Merge(o *Fingerprint) error {
	for n, other := range o.dbs {
		db, err := f.database(n)
		if err != nil {
			return err
		}
		db.merge(other)
	}
	return nil
}

// Sum is what several sources hold together, such as the files of all shards.
func Sum(prints ...*Fingerprint) (*Fingerprint, error) {
	total := newFingerprint()
	for _, p := range prints {
		if err := total.Merge(p); err != nil {
			return nil, err
		}
	}
	return total, nil
}

// numbers are the databases that hold keys, in order.
func (f *Fingerprint) numbers() []int {
	all := slices.Sorted(maps.Keys(f.dbs))
	return slices.DeleteFunc(all, func(n int) bool { return f.dbs[n].totals.Keys == 0 })
}

// total hashes the sums of all databases together.
func (f *Fingerprint) total() (data, expiry Hash) {
	data, expiry = start(seedTotal, 0), start(seedTotal, seedExpiry)
	for _, n := range f.numbers() {
		db := f.dbs[n]
		d, e := db.sum()
		data = chainSum(data, n, d, db.totals.Keys)
		expiry = chainSum(expiry, n, e, db.totals.Volatile)
	}
	return data, expiry
}

func chainSum(h Hash, n int, sum Hash, count int64) Hash {
	var b [32]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	s := sum.bytes()
	copy(b[8:], s[:])
	binary.LittleEndian.PutUint64(b[24:], uint64(count))
	return murmur(b[:], h)
}

func (h Hash) hex() string {
	b := h.bytes()
	return hex.EncodeToString(b[:])
}

// String is "hf1:" and 64 hexadecimal digits: 32 of the data, 32 of the expiries.
// Equal strings mean equal content; see SameData for the halves.
func (f *Fingerprint) String() string {
	data, expiry := f.total()
	return prefix + data.hex() + expiry.hex()
}

// Equal tells whether data and expiries are the same.
func (f *Fingerprint) Equal(o *Fingerprint) bool { return f.String() == o.String() }

// SameData tells whether two fingerprints in their string form agree on the
// data, whatever they say of when keys expire.
func SameData(a, b string) bool {
	const n = len(prefix) + 32
	return len(a) >= n && len(b) >= n && strings.HasPrefix(a, prefix) && a[:n] == b[:n]
}

// Totals counts all databases together.
func (f *Fingerprint) Totals() Totals {
	var t Totals
	for _, db := range f.dbs {
		t.merge(&db.totals)
	}
	return t
}

// Database is what a fingerprint says of one logical database.
type Database struct {
	DB          int
	Fingerprint string
	Totals      Totals
}

// Databases lists the databases that hold keys, in order. Their fingerprints do
// not depend on their numbers.
func (f *Fingerprint) Databases() []Database {
	var out []Database
	for _, n := range f.numbers() {
		db := f.dbs[n]
		d, e := db.sum()
		data := chainSum(start(seedTotal, 0), 0, d, db.totals.Keys)
		expiry := chainSum(start(seedTotal, seedExpiry), 0, e, db.totals.Volatile)
		out = append(out, Database{DB: n, Fingerprint: prefix + data.hex() + expiry.hex(), Totals: db.totals})
	}
	return out
}

type jsonTotals struct {
	Keys     int64            `json:"keys"`
	Volatile int64            `json:"volatile"`
	Bytes    int64            `json:"bytes"`
	Types    map[string]int64 `json:"types"`
}

type jsonDatabase struct {
	DB          int    `json:"db"`
	Fingerprint string `json:"fingerprint"`
	jsonTotals
}

type jsonFingerprint struct {
	Fingerprint string `json:"fingerprint"`
	jsonTotals
	Databases []jsonDatabase `json:"databases"`
}

func (t *Totals) json() jsonTotals {
	j := jsonTotals{Keys: t.Keys, Volatile: t.Volatile, Bytes: t.Bytes, Types: map[string]int64{}}
	for c, n := range t.Classes {
		if n > 0 {
			j.Types[rdb.Class(c).String()] = n
		}
	}
	return j
}

// MarshalJSON gives fingerprint, keys, volatile, bytes and types (name to
// keys) of the whole and, under databases, of each database.
func (f *Fingerprint) MarshalJSON() ([]byte, error) {
	t := f.Totals()
	j := jsonFingerprint{Fingerprint: f.String(), jsonTotals: t.json(), Databases: []jsonDatabase{}}
	for _, db := range f.Databases() {
		j.Databases = append(j.Databases, jsonDatabase{DB: db.DB, Fingerprint: db.Fingerprint, jsonTotals: db.Totals.json()})
	}
	return json.Marshal(j)
}

// WriteText writes the fingerprint and one line per database.
func (f *Fingerprint) WriteText(w io.Writer) error {
	var b strings.Builder
	t := f.Totals()
	fmt.Fprintf(&b, "%s\n%s\n", f, t.String())
	for _, db := range f.Databases() {
		fmt.Fprintf(&b, "db%d: %s\n", db.DB, db.Totals.String())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// String is one line: keys, volatile keys, bytes, keys by type.
func (t *Totals) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d keys, %d with expiry, %d bytes", t.Keys, t.Volatile, t.Bytes)
	sep := " ("
	for c, n := range t.Classes {
		if n > 0 {
			fmt.Fprintf(&b, "%s%s %d", sep, rdb.Class(c), n)
			sep = ", "
		}
	}
	if sep == ", " {
		b.WriteByte(')')
	}
	return b.String()
}
