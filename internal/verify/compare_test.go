package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const now = 1_800_000_000_000

func str(db int, key, value string, expireAt int64) flow.Entry {
	return flow.Entry{DB: db, Key: []byte(key), Value: rdb.AppendString(nil, []byte(value)), Version: 11, ExpireAt: expireAt}
}

func static(name string, entries ...flow.Entry) End {
	return End{Name: name, Open: func(context.Context) (flow.Source, error) { return &memory{entries: entries}, nil }}
}

func compareAt(t *testing.T, a, b End, opt CompareOptions) *Report {
	t.Helper()
	opt.Now = func() time.Time { return time.UnixMilli(now) }
	r, err := Compare(context.Background(), a, b, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func lines(r *Report) []string {
	var out []string
	for i := range r.Differences {
		out = append(out, r.Differences[i].String())
	}
	return out
}

func TestCompareNamesWhatDiffers(t *testing.T) {
	list := flow.Entry{Key: []byte("typed"), Type: rdb.TypeList, Value: rdb.AppendList(nil, [][]byte{[]byte("v")}), Version: 11}
	a := static("a", str(0, "same", "v", 0), str(0, "only a", "v", 0), str(0, "value", "1", 0), str(0, "expiry", "v", now+1000),
		str(0, "had expiry", "v", now+5), str(0, "typed", "v", 0), str(3, "db", "v", 0), str(0, "gone", "v", now-1))
	b := static("b", str(0, "value", "2", 0), str(0, "same", "v", 0), str(1, "only\xffb", "v", now+7), str(0, "expiry", "v", now+1500),
		str(0, "had expiry", "v", 0), list, str(4, "db", "v", 0), str(2, "gone too", "v", now))
	r := compareAt(t, a, b, CompareOptions{})
	want := []string{
		`db0 "expiry": expiry (A: 2027-01-15T08:00:01.000Z, B: 2027-01-15T08:00:01.500Z)`,
		`db0 "had expiry": expiry (A: 2027-01-15T08:00:00.005Z, B: never)`,
		`db0 "only a": missing in B (A: string)`,
		`db0 "typed": type (A: string, B: list)`,
		`db0 "value": value (string)`,
		`db1 "only\xffb": missing in A (B: string, expires 2027-01-15T08:00:00.007Z)`,
		`db3 "db": missing in B (A: string)`,
		`db4 "db": missing in A (B: string)`,
	}
	if d := cmp.Diff(want, lines(r)); d != "" {
		t.Error(d)
	}
	if r.Equal || r.Expired != 2 || r.Unchecked != 0 || r.UnreadSlots != 0 || r.Verdict() != "different: 8 keys" {
		t.Errorf("%+v", r)
	}
	j, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(j), `{"db":1,"key":"only�b","raw":"b25sef9i","what":"missing in A","a":null,"b":{"type":"string","expireAtMs":1800000000007}}`) {
		t.Errorf("%v %s", err, j)
	}
}

func TestCompareLimits(t *testing.T) {
	var a, b []flow.Entry
	for i := range 1000 {
		a = append(a, str(0, fmt.Sprint(i), "a", 0), str(0, fmt.Sprint("same", i), "a", 0))
		b = append(b, str(0, fmt.Sprint(i), "b", 0), str(0, fmt.Sprint("same", i), "a", 0))
	}
	r := compareAt(t, static("a", a...), static("b", b...), CompareOptions{Limit: 10})
	if len(r.Differences) != 10 || r.Unchecked != 990 || r.UnreadSlots != 0 || r.Equal {
		t.Errorf("%d listed, %d unchecked, %d slots", len(r.Differences), r.Unchecked, r.UnreadSlots)
	}
	// With little memory it takes more passes, and slots are left unread.
	passes := 0
	r = compareAt(t, static("a", a...), static("b", b...), CompareOptions{Limit: 10, MaxHeld: 8, Progress: func(p Progress) { passes = max(passes, p.Pass) }})
	if len(r.Differences) != 10 || r.UnreadSlots < 900 || r.Unchecked > 8 || r.Equal || passes < 3 {
		t.Errorf("%d listed, %d unchecked, %d slots, %d passes", len(r.Differences), r.Unchecked, r.UnreadSlots, passes)
	}
	if r.Verdict() != "different: at least 10 keys" {
		t.Error(r.Verdict())
	}
	// With a high limit, all of them are found in as many passes as it takes.
	r = compareAt(t, static("a", a...), static("b", b...), CompareOptions{Limit: 5000, MaxHeld: 400})
	if len(r.Differences) != 1000 || r.Unchecked != 0 || r.UnreadSlots != 0 {
		t.Errorf("%d listed, %d unchecked, %d slots", len(r.Differences), r.Unchecked, r.UnreadSlots)
	}
}

func TestCompareTolerance(t *testing.T) {
	a := static("a", str(0, "x", "v", now+1000), str(0, "y", "v", now+9), str(0, "never", "v", 0))
	b := static("b", str(0, "x", "v", now+1002), str(0, "y", "v", now+9), str(0, "never", "v", 0))
	if r := compareAt(t, a, b, CompareOptions{Tolerance: 2 * time.Millisecond}); !r.Equal || r.Tolerated != 1 || r.A.Equal(r.B) || !SameData(r.A.String(), r.B.String()) {
		t.Errorf("%+v", r)
	}
	if r := compareAt(t, a, b, CompareOptions{Tolerance: time.Millisecond}); r.Equal || len(r.Differences) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestCompareExpiredFields(t *testing.T) {
	hash := func(key string, fields ...rdb.Field) flow.Entry {
		v := rdb.Value{Class: rdb.ClassHash, Fields: fields}
		return encode(&item{key: key, val: v}, func(n int) int { return n - 1 })
	}
	stays, gone := rdb.Field{Name: []byte("stays"), ExpireAt: now + 1}, rdb.Field{Name: []byte("gone"), ExpireAt: now}
	a := static("a", hash("h", stays, gone), hash("all", gone))
	b := static("b", hash("h", stays))
	if r := compareAt(t, a, b, CompareOptions{}); !r.Equal || r.Expired != 2 {
		t.Errorf("%v %+v", lines(r), r)
	}
	other := rdb.Field{Name: []byte("stays"), ExpireAt: now + 2}
	if r := compareAt(t, a, static("b", hash("h", other)), CompareOptions{}); r.Equal || len(r.Differences) != 1 {
		t.Errorf("%v %+v", lines(r), r)
	}
}

func TestCompareLooksAgain(t *testing.T) {
	asks := map[string]int{}
	a := static("a", str(0, "settles", "old", 0), str(0, "settles late", "old", 0), str(0, "was deleted", "v", 0), str(0, "differs", "1", 0))
	b := static("b", str(0, "settles", "new", 0), str(0, "settles late", "new", 0), str(0, "differs", "2", 0))
	a.Recheck = func(_ context.Context, db int, key []byte) (*flow.Entry, error) {
		k := string(key)
		asks[k]++
		e := str(db, k, "1", 0)
		switch {
		case k == "was deleted":
			return nil, nil
		case k == "settles", k == "settles late" && asks[k] == 3:
			e = str(db, k, "new", 0)
		}
		return &e, nil
	}
	r := compareAt(t, a, b, CompareOptions{})
	if d := cmp.Diff([]string{`db0 "differs": value (string)`}, lines(r)); d != "" || r.Settled != 3 {
		t.Errorf("%s %+v", d, r)
	}
	if asks["differs"] != 3 || asks["settles"] != 1 {
		t.Errorf("asked %v", asks)
	}
	broken := errors.New("broken")
	a.Recheck = func(context.Context, int, []byte) (*flow.Entry, error) { return nil, broken }
	if _, err := Compare(context.Background(), a, b, CompareOptions{}); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// TestCompareFailsWithoutVerdict: whatever goes wrong is an error, never a report.
func TestCompareFailsWithoutVerdict(t *testing.T) {
	broken := errors.New("broken")
	good := static("good", str(0, "k", "v", 0))
	half := End{Name: "half", Open: func(context.Context) (flow.Source, error) {
		return &memory{entries: []flow.Entry{str(0, "k", "v", 0)}, err: broken}, nil
	}}
	unopened := End{Name: "unopened", Open: func(context.Context) (flow.Source, error) { return nil, broken }}
	undecodable := static("undecodable", flow.Entry{Key: []byte("k"), Type: rdb.TypeHash, Value: []byte{1}, Version: 11})
	var opened atomic.Int64
	unsteady := End{Name: "unsteady", Open: func(context.Context) (flow.Source, error) {
		if opened.Add(1) == 1 {
			return &memory{entries: []flow.Entry{str(0, "k", "other", 0)}}, nil
		}
		return &memory{entries: []flow.Entry{str(0, "k", "v", 0)}}, nil
	}}
	for want, ends := range map[error][2]End{
		broken:           {good, half},
		rdb.ErrTruncated: {undecodable, good},
		errUnsteady:      {unsteady, good},
	} {
		r, err := Compare(context.Background(), ends[0], ends[1], CompareOptions{})
		if !errors.Is(err, want) || r != nil {
			t.Errorf("%v: %v, %v", want, r, err)
		}
	}
	if r, err := Compare(context.Background(), unopened, good, CompareOptions{}); !errors.Is(err, broken) || r != nil {
		t.Errorf("%v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r, err := Compare(ctx, good, good, CompareOptions{}); !errors.Is(err, context.Canceled) || r != nil {
		t.Errorf("%v, %v", r, err)
	}
}

func TestComputeNamesTheKey(t *testing.T) {
	bad := flow.Entry{DB: 4, Key: []byte("bad\n"), Type: rdb.TypeString, Value: []byte{0xc3}, Version: 11}
	_, err := Compute(context.Background(), &memory{entries: []flow.Entry{str(0, "good", "v", 0), bad}}, Options{})
	if err == nil || !strings.Contains(err.Error(), `cannot decode key "bad\n" of database 4`) {
		t.Error(err)
	}
}

func TestFingerprintForms(t *testing.T) {
	entries := []flow.Entry{str(0, "k", "value", 0), str(7, "k", "value", now), str(7, "l", "value", 0)}
	f := compute(t, entries)
	if s := f.String(); len(s) != 4+64 || !strings.HasPrefix(s, "hf1:") {
		t.Error(s)
	}
	var text strings.Builder
	if err := f.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	want := f.String() + "\n3 keys, 1 with expiry, 18 bytes (string 3)\ndb0: 1 keys, 0 with expiry, 6 bytes (string 1)\ndb7: 2 keys, 1 with expiry, 12 bytes (string 2)\n"
	if d := cmp.Diff(want, text.String()); d != "" {
		t.Error(d)
	}
	j, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Fingerprint string
		Keys        int
		Types       map[string]int
		Databases   []struct{ DB, Keys, Volatile int }
	}
	if err := json.Unmarshal(j, &back); err != nil || back.Fingerprint != f.String() || back.Keys != 3 || back.Types["string"] != 3 ||
		len(back.Databases) != 2 || back.Databases[1].DB != 7 || back.Databases[1].Volatile != 1 {
		t.Errorf("%v %s", err, j)
	}
	// The same keys under another number are another content, but the same database.
	moved := slices.Clone(entries)
	moved[0].DB = 1
	m := compute(t, moved)
	if m.Equal(f) || m.Databases()[0].Fingerprint != f.Databases()[0].Fingerprint {
		t.Errorf("%v %v", m.Databases(), f.Databases())
	}
	if empty := compute(t, nil); empty.Equal(f) || empty.Totals().Keys != 0 {
		t.Error(empty)
	}
}

// TestFingerprintIsPinned: stored fingerprints must stay comparable; a change of
// the definition needs another prefix.
func TestFingerprintIsPinned(t *testing.T) {
	f := compute(t, []flow.Entry{str(0, "k", "value", now), {
		DB: 1, Key: []byte("z"), Type: rdb.TypeZSet2, Version: 11,
		Value: rdb.AppendZSet2(nil, []rdb.Member{{Name: []byte("m"), Score: 1.5}}),
	}})
	if got := f.String(); got != pinned {
		t.Errorf("%s, want %s", got, pinned)
	}
}

const pinned = "hf1:8c0f91f0cbf3df34af3c0649e1028bad027b099c63c790adcb824bbffbf3e239"
