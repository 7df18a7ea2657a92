package flow_test

import (
	"slices"
	"testing"
	"time"

	"holdfast.dev/internal/flow"
)

func TestGlob(t *testing.T) {
	for _, tc := range []struct {
		pattern   string
		fits, not []string
	}{
		{"", []string{""}, []string{"a"}},
		{"*", []string{"", "a", "\xff\x00"}, nil},
		{"**", []string{"a", "ab"}, nil},
		{"a*", []string{"a", "ab", "a*"}, []string{"", "ba"}},
		{"*a", []string{"a", "ba", "aa", "aba"}, []string{"", "ab"}},
		{"*ab*ab", []string{"abab", "xabyab", "ababab"}, []string{"ab", "abba", "abxa"}},
		{"a**b", []string{"ab", "axb"}, []string{"a", "b"}},
		{"?", []string{"a", "?", "\xff"}, []string{"", "ab", "é"}},
		{"h[ae]llo", []string{"hallo", "hello"}, []string{"hillo", "hllo"}},
		{"h[^e]llo", []string{"hallo", "h^llo"}, []string{"hello"}},
		{"h[a-c]", []string{"ha", "hb", "hc"}, []string{"hd", "h-", "h"}},
		{"h[c-a]", []string{"ha", "hb", "hc"}, []string{"hd"}},
		{`h\*`, []string{"h*"}, []string{"ha", `h\*`}},
		{`h[\]x]`, []string{"h]", "hx"}, []string{`h\`}},
		{`[\-a]`, []string{"-", "a"}, []string{"\\"}},
		{"[]", nil, []string{"", "a", "]"}},
		{"[^]", []string{"a", "]"}, []string{"", "ab"}},
		{"[ab", []string{"a", "b"}, []string{"[", "ab"}},
		{"[a-]", []string{"a", "]", "^", "_"}, []string{"-", "b"}},
		{"[", nil, []string{"[", ""}},
		{`a\`, []string{`a\`}, []string{"a"}},
		{"a]", []string{"a]"}, []string{"a"}},
		{"[\x80-\xff]*", []string{"\x80", "é"}, []string{"e"}},
		{"*[ab", []string{"a", "xb"}, []string{"x["}},
	} {
		for _, s := range tc.fits {
			if !flow.Glob([]byte(tc.pattern), []byte(s)) {
				t.Errorf("%q does not fit %q", s, tc.pattern)
			}
		}
		for _, s := range tc.not {
			if flow.Glob([]byte(tc.pattern), []byte(s)) {
				t.Errorf("%q fits %q", s, tc.pattern)
			}
		}
	}
}

// A pattern of many stars costs no more than length times length.
func TestGlobOfManyStars(t *testing.T) {
	name := slices.Repeat([]byte("a"), 2000)
	pattern := append(slices.Repeat([]byte("*a"), 200), 'b')
	if flow.Glob(pattern, name) {
		t.Error("it fits")
	}
}

func TestParseTTL(t *testing.T) {
	now := time.Now().UnixMilli()
	const minute = 60_000
	left := func(ms int64) *flow.Entry { return &flow.Entry{ExpireAt: now + ms} }
	for _, tc := range []struct {
		text      string
		none      bool
		fits, not []int64
	}{
		{"none", true, nil, []int64{-5, 0, 1, minute}},
		{"any", false, []int64{-5, 0, 1, minute}, nil},
		{"<1m", false, []int64{-5, minute - 1}, []int64{minute, 2 * minute}},
		{"<=1m", false, []int64{-5, minute}, []int64{minute + 1}},
		{">1m", false, []int64{minute + 1}, []int64{-5, minute}},
		{">=1m", false, []int64{minute}, []int64{minute - 1}},
		{"1m..2m", false, []int64{minute, 2*minute - 1}, []int64{minute - 1, 2 * minute}},
		{">=1m30s", false, []int64{90_000}, []int64{89_999}},
		{"<2d", false, []int64{48*60*minute - 1}, []int64{48 * 60 * minute}},
	} {
		r, err := flow.ParseTTL(tc.text)
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		if r.Contains(&flow.Entry{}, now) != tc.none {
			t.Errorf("%s: a key without expiry: %v", tc.text, !tc.none)
		}
		for _, ms := range tc.fits {
			if !r.Contains(left(ms), now) {
				t.Errorf("%s leaves out %d ms", tc.text, ms)
			}
		}
		for _, ms := range tc.not {
			if r.Contains(left(ms), now) {
				t.Errorf("%s takes in %d ms", tc.text, ms)
			}
		}
	}
	for _, bad := range []string{"", "1h", "<", "<x", "< 1h", ">=-1h", "2m..1m", "1m..1m", "..", "None", "<1h,none", "=1h", "<-1d", "<1.5d"} {
		if r, err := flow.ParseTTL(bad); err == nil {
			t.Errorf("%q is %+v", bad, r)
		}
	}
}

func TestParseNumbers(t *testing.T) {
	n, err := flow.ParseNumbers("0,3-5,2147483647")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]bool{0: true, 1: false, 2: false, 3: true, 4: true, 5: true, 6: false, 2147483647: true} {
		if n.Contains(i) != want {
			t.Errorf("%d: %v", i, !want)
		}
	}
	for _, bad := range []string{"", "a", "1,", "5-3", "-1", "1-", "2147483648", "1--2", "0 ,1"} {
		if n, err := flow.ParseNumbers(bad); err == nil {
			t.Errorf("%q is %v", bad, n)
		}
	}
}

func TestFilter(t *testing.T) {
	now := time.Now().UnixMilli()
	f := flow.Filter{
		Match: [][]byte{[]byte("user:*"), []byte("order:*")}, Exclude: [][]byte{[]byte("*:tmp")},
		DBs: flow.Numbers{{0, 1}}, Types: []string{"string", "hash"}, Without: []string{"hash"},
		TypeNames: func(e *flow.Entry) []string { return []string{string(e.Value)} },
		TTLs:      []flow.TTL{{None: true}, {From: 1000, Before: 2000}}, Now: now,
	}
	for _, tc := range []struct {
		e    flow.Entry
		want flow.Reason
	}{
		{flow.Entry{Key: []byte("user:1"), Value: []byte("string")}, flow.Kept},
		{flow.Entry{Key: []byte("order:1"), Value: []byte("string"), DB: 1, ExpireAt: now + 1999}, flow.Kept},
		{flow.Entry{Key: []byte("other"), Value: []byte("string")}, flow.ByMatch},
		{flow.Entry{Key: []byte("user:tmp"), Value: []byte("string")}, flow.ByExclude},
		{flow.Entry{Key: []byte("user:1"), Value: []byte("string"), DB: 2}, flow.ByDB},
		{flow.Entry{Key: []byte("user:1"), Value: []byte("set")}, flow.ByType},
		{flow.Entry{Key: []byte("user:1"), Value: []byte("hash")}, flow.ByWithout},
		{flow.Entry{Key: []byte("user:1"), Value: []byte("string"), ExpireAt: now + 2000}, flow.ByTTL},
		{flow.Entry{Key: []byte("user:1"), Deleted: true}, flow.Kept},
		{flow.Entry{Key: []byte("other"), Deleted: true}, flow.ByMatch},
	} {
		if got := f.Check(&tc.e); got != tc.want {
			t.Errorf("%q %q in %d: %q, not %q", tc.e.Key, tc.e.Value, tc.e.DB, got, tc.want)
		}
	}
	if !(&flow.Filter{}).Empty() || f.Empty() {
		t.Error("what is empty")
	}
}
