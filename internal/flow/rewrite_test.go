package flow_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"holdfast.dev/internal/flow"
)

func prefix(text string) flow.Prefix {
	p, err := flow.ParsePrefix(text)
	if err != nil {
		panic(err)
	}
	return p
}

func prefixes(texts ...string) (out []flow.Prefix) {
	for _, text := range texts {
		out = append(out, prefix(text))
	}
	return out
}

func TestRewrite(t *testing.T) {
	for _, tc := range []struct {
		rw   flow.Rewrite
		db   int
		key  string
		want string
	}{
		{flow.Rewrite{}, 3, "a", "3 a"},
		{flow.Rewrite{DBs: map[int]int{0: 5, 5: 0}}, 5, "a", "0 a"},
		{flow.Rewrite{DBs: map[int]int{0: 5}}, 1, "a", "1 a"},
		{flow.Rewrite{Prefixes: prefixes("old:=new:")}, 0, "old:1", "0 new:1"},
		{flow.Rewrite{Prefixes: prefixes("old:=new:")}, 0, "bold:1", "0 bold:1"},
		{flow.Rewrite{Prefixes: prefixes("old:=")}, 0, "old:1", "0 1"},
		{flow.Rewrite{Prefixes: prefixes("a=x", "ab=y")}, 0, "abc", "0 yc"},
		{flow.Rewrite{Prefixes: prefixes("ab=y", "a=x")}, 0, "acb", "0 xcb"},
		{flow.Rewrite{Prefixes: prefixes("a=b", "b=a")}, 0, "a1", "0 b1"},
		{flow.Rewrite{Prefixes: prefixes("{u}:a:={u}:b:")}, 0, "{u}:a:1", "0 {u}:b:1"},
		{flow.Rewrite{Add: []byte("eu:"), Prefixes: prefixes("old:=new:")}, 0, "old:{u}", "0 eu:new:{u}"},
	} {
		if err := tc.rw.Validate(); err != nil {
			t.Errorf("%+v: %v", tc.rw, err)
		}
		e := flow.Entry{DB: tc.db, Key: []byte(tc.key)}
		if err := flow.NewRewriter(&tc.rw).Apply(&e); err != nil || fmt.Sprintf("%d %s", e.DB, e.Key) != tc.want {
			t.Errorf("%q of %d became %q of %d, %v", tc.key, tc.db, e.Key, e.DB, err)
		}
	}
}

func TestRewriteRefuses(t *testing.T) {
	for want, rw := range map[string]flow.Rewrite{
		"databases 0 and 1 cannot both":    {DBs: map[int]int{0: 5, 1: 5}},
		"empty prefix":                     {Prefixes: []flow.Prefix{{New: []byte("x")}}},
		`to become both "b" and "c"`:       {Prefixes: prefixes("a=b", "a=c")},
		`"a" cannot become "{a}"`:          {Prefixes: prefixes("a={a}")},
		`"{a}" cannot become "b"`:          {Prefixes: prefixes("{a}=b")},
		`"{a" cannot become "{b"`:          {Prefixes: prefixes("{a={b")},
		`"{}" cannot become "{}b"`:         {Prefixes: prefixes("{}={}b")},
		`"a}" cannot become "b}"`:          {Prefixes: prefixes("a}=b}")},
		`"" cannot become "{"`:             {Add: []byte("{")},
		`"{a}{b}" cannot become "x{a}{b}"`: {Prefixes: prefixes("{a}{b}=x{a}{b}")},
	} {
		if err := rw.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, without %s", rw, err, want)
		}
	}
	for _, bad := range []string{"", "=", "=new", "old"} {
		if p, err := flow.ParsePrefix(bad); err == nil {
			t.Errorf("%q is %+v", bad, p)
		}
	}
	for _, bad := range []string{"", "0", "0:", ":1", "0:1,", "0:1,0:2", "0:-1", "0:1:2", "a:b"} {
		if m, err := flow.ParseDBMap(bad); err == nil {
			t.Errorf("%q is %v", bad, m)
		}
	}
}

func TestCollisions(t *testing.T) {
	for _, tc := range []struct {
		rw   flow.Rewrite
		keys string // "db name, …", of which the last collides
		none bool
	}{
		{rw: flow.Rewrite{DBs: map[int]int{0: 5}}, keys: "0 a,5 b"},
		{rw: flow.Rewrite{DBs: map[int]int{0: 5}}, keys: "5 b"},
		{rw: flow.Rewrite{DBs: map[int]int{0: 5, 5: 0}}, keys: "0 a,5 a", none: true},
		{rw: flow.Rewrite{Prefixes: prefixes("old:=new:")}, keys: "0 old:1,0 new:1"},
		{rw: flow.Rewrite{Prefixes: prefixes("old:=new:")}, keys: "0 new:1,0 old:1"},
		{rw: flow.Rewrite{Prefixes: prefixes("old:=new:")}, keys: "0 new:1,0 old:2,1 old:1", none: true},
		{rw: flow.Rewrite{Prefixes: prefixes("old:=new:"), Add: []byte("x:")}, keys: "0 new:1,0 old:1"},
		{rw: flow.Rewrite{Prefixes: prefixes("a:=c:", "b:=c:")}, keys: "0 a:1,0 b:1"},
		{rw: flow.Rewrite{Prefixes: prefixes("a:=b:", "b:=a:")}, keys: "0 a:1,0 b:1", none: true},
		{rw: flow.Rewrite{Prefixes: prefixes("a:=")}, keys: "0 1,0 a:1"},
		{rw: flow.Rewrite{Prefixes: prefixes("app:=app:v2:")}, keys: "0 app:1,0 app:v2:1,0 app:app:1", none: true},
		{rw: flow.Rewrite{Prefixes: prefixes("a=x", "ab=xb")}, keys: "0 ab1,0 ab1", none: true}, // yielded twice
		{rw: flow.Rewrite{Add: []byte("p:")}, keys: "0 a,0 p:a,0 p:p:a", none: true},
	} {
		w := flow.NewRewriter(&tc.rw)
		list := strings.Split(tc.keys, ",")
		for i, item := range list {
			var e flow.Entry
			if _, err := fmt.Sscan(item, &e.DB, (*name)(&e.Key)); err != nil {
				t.Fatal(err)
			}
			err := w.Apply(&e)
			var collision *flow.CollisionError
			if want := i == len(list)-1 && !tc.none; errors.As(err, &collision) != want {
				t.Errorf("%+v: %s of %s: %v", tc.rw, item, tc.keys, err)
			}
		}
	}
}

// name scans as bytes.
type name []byte

func (n *name) Scan(s fmt.ScanState, _ rune) (err error) {
	*n, err = s.Token(true, nil)
	*n = append([]byte(nil), *n...)
	return err
}

// Whatever the rules, two keys become one exactly when that is said, and every
// key is among the origins of what it becomes.
func TestRewriteProperty(t *testing.T) {
	words := []string{"a", "b", "ab", "ba", "aa", "", "b:"}
	r := rand.New(rand.NewPCG(7, 1))
	for range 1000 {
		var rw flow.Rewrite
		for range r.IntN(4) {
			rw.Prefixes = append(rw.Prefixes, flow.Prefix{Old: []byte(words[r.IntN(5)]), New: []byte(words[r.IntN(len(words))])})
		}
		if r.IntN(3) == 0 {
			rw.Add = []byte(words[r.IntN(5)])
		}
		if rw.Validate() != nil {
			continue
		}
		w, owner := flow.NewRewriter(&rw), map[string]string{}
		for range 60 {
			key := words[r.IntN(len(words))] + words[r.IntN(len(words))] + words[r.IntN(len(words))]
			became, _ := rw.AppendName(nil, []byte(key))
			found := false
			for _, k := range rw.Origins(0, became) {
				found = found || k.Name == key
			}
			if !found {
				t.Fatalf("%+v: %q is no origin of %q", rw, key, became)
			}
			other, taken := owner[string(became)]
			err := w.Apply(&flow.Entry{Key: []byte(key)})
			if (err != nil) != (taken && other != key) {
				t.Fatalf("%+v: %q becomes %q after %q: %v", rw, key, became, other, err)
			}
			if err == nil {
				owner[string(became)] = key
			}
		}
	}
}

// Names are told apart when there are many, too.
func TestManyNames(t *testing.T) {
	rw := flow.Rewrite{Prefixes: prefixes("old:=new:")}
	w := flow.NewRewriter(&rw)
	const n = 20_000
	for i := range n {
		if err := w.Apply(&flow.Entry{Key: fmt.Appendf(nil, "old:%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if err := w.Apply(&flow.Entry{Key: fmt.Appendf(nil, "new:%d", i)}); err == nil {
			t.Fatalf("new:%d was overwritten", i)
		}
	}
}

// A name is free again when the key that had it is deleted, and a deletion never
// hits another's.
func TestDeletedKeysGiveTheirNamesBack(t *testing.T) {
	rw := flow.Rewrite{Prefixes: prefixes("old:=new:")}
	w := flow.NewRewriter(&rw)
	for i, step := range []struct {
		key     string
		deleted bool
		ok      bool
	}{
		{"new:1", true, true}, // nobody had it
		{"old:1", false, true},
		{"new:1", false, false},
		{"new:1", true, false},
		{"old:1", true, true},
		{"new:1", false, true},
		{"old:1", true, false},
		{"new:1", true, true},
		{"old:1", false, true},
	} {
		e := flow.Entry{Key: []byte(step.key), Deleted: step.deleted}
		err := w.Apply(&e)
		if (err == nil) != step.ok || errors.Is(err, flow.ErrOwned) != (step.deleted && !step.ok) {
			t.Errorf("step %d: %v", i, err)
		}
	}
}
