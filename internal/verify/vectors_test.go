package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"testing"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/testkit"
	"holdfast.dev/internal/verify"
)

// TestVectorSetsAgree: Redis turns a vector set's elements round at each load and
// links them anew, and it is the same vector set, whatever its form; another
// element, vector or attribute is another.
func TestVectorSetsAgree(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"))
	for _, form := range []string{"NOQUANT", "Q8", "BIN"} {
		for _, reduce := range []bool{false, true} {
			key := fmt.Sprint(form, reduce)
			add := func(name string, x float64) {
				args := []any{"VADD", key}
				if reduce {
					args = append(args, "REDUCE", "3")
				}
				args = append(args, "VALUES", "5", x, 0.5, -1.25, 1-x, x*x, name, form)
				s.Must(args...)
			}
			for i := range 50 {
				add(fmt.Sprint("element", i), float64(i)-20.3)
			}
			s.Must("VSETATTR", key, "element7", `{"year":1999}`)
			was := vectorPrint(t, s, key)
			for range 2 {
				s.Must("RESTORE", key, 0, s.Must("DUMP", key), "REPLACE")
				if now := vectorPrint(t, s, key); now != was {
					t.Errorf("%s: after loading it again %s, before %s", key, now, was)
				}
			}
			for what, change := range map[string]func(){
				"element added":     func() { add("one more", 3) },
				"element removed":   func() { s.Must("VREM", key, "one more"); s.Must("VREM", key, "element3") },
				"attribute changed": func() { s.Must("VSETATTR", key, "element7", `{"year":2000}`) },
				"vector changed":    func() { add("element9", -77) },
			} {
				change()
				if now := vectorPrint(t, s, key); now == was {
					t.Errorf("%s: %s, and the fingerprint is the same", key, what)
				}
			}
		}
	}
}

// vectorPrint is the fingerprint of one key, read at once and as it comes.
func vectorPrint(t *testing.T, s *testkit.Server, key string) string {
	t.Helper()
	d, err := rdb.ParseDump([]byte(s.Must("DUMP", key).(string)))
	if err != nil {
		t.Fatal(err)
	}
	e := flow.Entry{Key: []byte(key), Type: d.Type, Version: d.Version, Value: d.Value}
	whole := fingerprint(t, entries{e})
	e.Value, e.Body = nil, bytes.NewReader(d.Value)
	if parts := fingerprint(t, entries{e}); parts.String() != whole.String() {
		t.Errorf("%s: as it comes %s, at once %s", key, parts, whole)
	}
	return whole.String()
}

// TestBrokenVectorSet: what is not of the known form is an error, no verdict.
func TestBrokenVectorSet(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"))
	s.Must("VADD", "v", "VALUES", "2", "1", "2", "e")
	d, err := rdb.ParseDump([]byte(s.Must("DUMP", "v").(string)))
	if err != nil {
		t.Fatal(err)
	}
	d.Value[9] = 5 // where the number of dimensions should begin
	e := flow.Entry{Key: []byte("v"), Type: d.Type, Version: d.Version, Value: d.Value}
	if f, err := verify.Compute(t.Context(), entries{e}, verify.Options{}); err == nil {
		t.Errorf("%s", f)
	}
}

// entries is a source of entries that are there.
type entries []flow.Entry

func (s entries) Close() error { return nil }

func (s entries) Entries(context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		for i := range s {
			if !yield(&s[i], nil) {
				return
			}
		}
	}
}
