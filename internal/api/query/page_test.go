package query_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdfast.dev/internal/api/query"
)

func self(s string) string { return s }

// TestPagesCoverAll walks all pages while items come and go: what is there all
// the time is seen exactly once.
func TestPagesCoverAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.SliceOfNDistinct(rapid.StringN(1, 5, -1), 0, 200, self).Draw(t, "items")
		slices.Sort(items)
		stay := slices.Clone(items)
		limit := rapid.Int32Range(20, 100).Draw(t, "max")
		var seen []string
		var marker *string
		for {
			page, next, err := query.Page(items, self, marker, &limit, query.DescribeLimits)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) > int(limit) || next != nil && len(page) != int(limit) {
				t.Fatalf("a page of %d, max %d", len(page), limit)
			}
			seen = append(seen, page...)
			if next == nil {
				break
			}
			marker = next
			if i := rapid.IntRange(0, len(items)-1).Draw(t, "gone"); rapid.Bool().Draw(t, "goes") {
				stay = slices.DeleteFunc(stay, func(s string) bool { return s == items[i] })
				items = slices.Delete(slices.Clone(items), i, i+1)
			}
		}
		counts := map[string]int{}
		for _, s := range seen {
			counts[s]++
		}
		for _, s := range stay {
			if counts[s] != 1 {
				t.Fatalf("%q seen %d times", s, counts[s])
			}
		}
	})
}

func TestPageRefuses(t *testing.T) {
	items := []string{"a", "b"}
	for _, n := range []int32{-1, 0, 19, 101} {
		if _, _, err := query.Page(items, self, nil, &n, query.DescribeLimits); err == nil {
			t.Errorf("MaxRecords %d is taken", n)
		}
	}
	if n := int32(51); true {
		if _, _, err := query.Page(items, self, nil, &n, query.SnapshotLimits); err == nil {
			t.Error("51 snapshots are taken")
		}
	}
	for _, m := range []string{"a", "%", base64.RawURLEncoding.EncodeToString([]byte("a")), base64.RawURLEncoding.EncodeToString([]byte("1:\xff"))} {
		_, _, err := query.Page(items, self, &m, nil, query.DescribeLimits)
		if err == nil || err.Error() != fmt.Sprintf("InvalidParameterValue: The marker provided is invalid: %s", m) {
			t.Errorf("marker %q: %v", m, err)
		}
	}
	empty := ""
	if page, next, err := query.Page(items, self, &empty, nil, query.DescribeLimits); err != nil || next != nil || len(page) != 2 {
		t.Errorf("an empty marker: %v, %v, %v", page, next, err)
	}
}
