package main

import (
	"fmt"
	"testing"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

func TestPrefixOf(t *testing.T) {
	for _, tc := range []struct {
		key   string
		depth int
		want  string
	}{{"a:b:c", 1, "a:"}, {"a:b:c", 2, "a:b:"}, {"a:b:c", 3, "a:b:"}, {"a", 1, ""}, {":a", 1, ":"}, {"a:", 5, "a:"}, {"a:b", 0, ""}} {
		if got := prefixOf([]byte(tc.key), tc.depth); string(got) != tc.want {
			t.Errorf("%q at %d is %q, not %q", tc.key, tc.depth, got, tc.want)
		}
	}
}

// However many prefixes there are, memory stays bounded, nothing is lost from
// the sums, and what weighs most is found.
func TestSurveyIsBounded(t *testing.T) {
	o := &inspectOptions{top: 3, depth: 1}
	s := newSurvey(o, time.UnixMilli(1_000_000))
	value := make([]byte, 50)
	const n = 100_000
	for i := range n {
		key := fmt.Sprintf("single%d:x", i)
		if i%10 == 0 {
			key = fmt.Sprintf("heavy:%d", i)
		}
		s.add(&flow.Entry{Key: []byte(key), Value: value[:1+i%50], Type: rdb.TypeString, DB: i % 2, ExpireAt: int64(i % 3)})
		if len(s.prefix) > 2*maxPrefixes {
			t.Fatalf("%d prefixes are held", len(s.prefix))
		}
	}
	r := s.result("x", nil, timing{})
	sum := r.Others
	for _, p := range r.Prefixes {
		sum.Keys += p.Keys
		sum.Bytes += p.Bytes
	}
	if sum != r.All || r.All.Keys != n || !r.AtLeast {
		t.Errorf("the prefixes add up to %+v, all are %+v", sum, r.All)
	}
	if len(r.Prefixes) != 3 || r.Prefixes[0].Name != "heavy:" || r.Prefixes[0].Keys != n/10 {
		t.Errorf("the prefixes are %+v", r.Prefixes)
	}
	if len(r.Biggest) != 3 || r.Biggest[0].Bytes < r.Biggest[2].Bytes {
		t.Errorf("the biggest are %+v", r.Biggest)
	}
	if len(r.TTLs) != 2 || r.TTLs[0].Name != "expired" || r.TTLs[1].Name != "never" || len(r.Databases) != 2 {
		t.Errorf("%+v, %+v", r.TTLs, r.Databases)
	}
}

func TestSurveyTTLs(t *testing.T) {
	now := time.Now()
	s := newSurvey(&inspectOptions{}, now)
	for left, want := range map[time.Duration]string{
		-time.Second: "expired", 0: "expired", time.Second: "under 1 minute", time.Minute: "under 1 hour", 23 * time.Hour: "under 1 day",
		25 * time.Hour: "under 7 days", 29 * 24 * time.Hour: "under 30 days", 400 * 24 * time.Hour: ttlLonger,
	} {
		got := ttlLonger
		if i := s.ttlClass(&flow.Entry{ExpireAt: now.Add(left).UnixMilli()}); i < len(ttlBounds) {
			got = ttlBounds[i].name
		}
		if got != want {
			t.Errorf("%s left is %q, not %q", left, got, want)
		}
	}
}
