package verify

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"holdfast.dev/internal/rdb"
)

// Kind says how a key differs.
type Kind uint8

// The kinds.
const (
	MissingInA Kind = iota + 1
	MissingInB
	TypeDiffers
	ValueDiffers
	ExpiryDiffers
)

var kindNames = map[Kind]string{
	MissingInA: "missing in A", MissingInB: "missing in B",
	TypeDiffers: "type", ValueDiffers: "value", ExpiryDiffers: "expiry",
}

// String is "missing in A", "missing in B", "type", "value" or "expiry".
func (k Kind) String() string { return kindNames[k] }

// Side is what one end says of a differing key. ExpireAt is Unix milliseconds, 0 for never.
type Side struct {
	Class    rdb.Class
	ExpireAt int64
}

// Difference is a key that differs. A or B is nil where the key is missing.
type Difference struct {
	DB   int
	Key  []byte
	Kind Kind
	A, B *Side
}

// Report is the outcome of a comparison.
type Report struct {
	// Names of the ends.
	Names [2]string
	// A and B are the fingerprints of the first reading.
	A, B *Fingerprint
	// Equal: every key is the same at both ends, but for what Expired, Settled
	// and Tolerated count.
	Equal bool
	// Differences lists keys that differ, by database and name, up to the limit.
	Differences []Difference
	// Unchecked counts further keys at which the ends were not seen to agree,
	// and UnreadSlots slots with further differences, when the limit was reached.
	Unchecked   int64
	UnreadSlots int
	// Expired counts keys that only one end had and whose expiry has passed, and
	// hashes that are alike but for fields whose expiry has passed.
	Expired int64
	// Settled counts keys that differed when the ends were read and no longer
	// when they were looked at again.
	Settled int64
	// Tolerated counts keys whose expiries differ by no more than the tolerance.
	Tolerated int64
}

// explained tells whether something counted accounts for sums that differ.
func (r *Report) explained() bool { return r.Expired+r.Settled+r.Tolerated > 0 }

// WriteText writes the verdict, both fingerprints and what differs.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	ta, tb := r.A.Totals(), r.B.Totals()
	fmt.Fprintf(&b, "A %s\n  %s\n  %s\nB %s\n  %s\n  %s\n", r.Names[0], r.A, ta.String(), r.Names[1], r.B, tb.String())
	for i := range r.Differences {
		fmt.Fprintf(&b, "%s\n", &r.Differences[i])
	}
	for _, note := range r.notes() {
		fmt.Fprintf(&b, "%s\n", note)
	}
	b.WriteString(r.Verdict() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Verdict is one line: "identical", or how many keys differ.
func (r *Report) Verdict() string {
	switch {
	case r.Equal:
		return "identical"
	case r.Unchecked > 0 || r.UnreadSlots > 0:
		return fmt.Sprintf("different: at least %d keys", len(r.Differences))
	}
	return fmt.Sprintf("different: %d keys", len(r.Differences))
}

func (r *Report) notes() []string {
	var out []string
	note := func(n int64, text string) {
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, text))
		}
	}
	note(r.Expired, "keys or hashes differ only by what has expired; not counted as different")
	note(r.Settled, "keys differed when read and agree now; not counted as different")
	note(r.Tolerated, "keys have expiries within the tolerance")
	note(r.Unchecked, "further keys differ or may differ; not listed")
	note(int64(r.UnreadSlots), "further slots differ; not read again")
	return out
}

// String is one line that names the key and what differs.
func (d *Difference) String() string {
	s := fmt.Sprintf("db%d %q: %s", d.DB, d.Key, d.Kind)
	switch d.Kind {
	case MissingInA:
		s += fmt.Sprintf(" (B: %s%s)", d.B.Class, expiryText(d.B.ExpireAt, ", expires "))
	case MissingInB:
		s += fmt.Sprintf(" (A: %s%s)", d.A.Class, expiryText(d.A.ExpireAt, ", expires "))
	case TypeDiffers:
		s += fmt.Sprintf(" (A: %s, B: %s)", d.A.Class, d.B.Class)
	case ValueDiffers:
		s += fmt.Sprintf(" (%s)", d.A.Class)
	case ExpiryDiffers:
		s += fmt.Sprintf(" (A: %s, B: %s)", expiryText(d.A.ExpireAt, ""), expiryText(d.B.ExpireAt, ""))
	}
	return s
}

func expiryText(ms int64, lead string) string {
	if ms == 0 {
		if lead != "" {
			return ""
		}
		return "never"
	}
	return lead + time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

type jsonSide struct {
	Type     string `json:"type"`
	ExpireAt int64  `json:"expireAtMs,omitempty"`
}

type jsonDifference struct {
	DB   int       `json:"db"`
	Key  string    `json:"key"`           // with bytes that are not UTF-8 replaced
	Raw  []byte    `json:"raw,omitempty"` // the key in base64, where Key is not exact
	What string    `json:"what"`
	A    *jsonSide `json:"a"`
	B    *jsonSide `json:"b"`
}

// MarshalJSON gives equal, a and b (fingerprints), differences and the counts.
func (r *Report) MarshalJSON() ([]byte, error) {
	diffs := make([]jsonDifference, 0, len(r.Differences))
	for _, d := range r.Differences {
		key := strings.ToValidUTF8(string(d.Key), "\uFFFD")
		j := jsonDifference{DB: d.DB, Key: key, What: d.Kind.String(), A: d.A.json(), B: d.B.json()}
		if key != string(d.Key) {
			j.Raw = d.Key
		}
		diffs = append(diffs, j)
	}
	return json.Marshal(struct {
		Equal       bool             `json:"equal"`
		Names       [2]string        `json:"names"`
		A           *Fingerprint     `json:"a"`
		B           *Fingerprint     `json:"b"`
		Differences []jsonDifference `json:"differences"`
		Unchecked   int64            `json:"unchecked"`
		UnreadSlots int              `json:"unreadSlots"`
		Expired     int64            `json:"expired"`
		Settled     int64            `json:"settled"`
		Tolerated   int64            `json:"tolerated"`
	}{r.Equal, r.Names, r.A, r.B, diffs, r.Unchecked, r.UnreadSlots, r.Expired, r.Settled, r.Tolerated})
}

func (s *Side) json() *jsonSide {
	if s == nil {
		return nil
	}
	return &jsonSide{Type: s.Class.String(), ExpireAt: s.ExpireAt}
}
