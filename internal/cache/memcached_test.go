package cache

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWeeklyWindow(t *testing.T) {
	for _, s := range []string{"", "sun:05:00", "sun:05:00-xyz:06:00", "sun:24:00-mon:01:00", "sun:05:60-sun:06:00", "SUN:05:00-sun:06:00"} {
		if _, ok := ParseWeeklyWindow(s); ok {
			t.Errorf("%q is taken", s)
		}
	}
	for _, c := range []struct {
		window, at string
		inside     bool
		next       string
	}{
		// The 22nd of November 2026 is a Sunday.
		{"sun:05:00-sun:06:00", "2026-11-22T04:59:59Z", false, "2026-11-22T05:00:00Z"},
		{"sun:05:00-sun:06:00", "2026-11-22T05:00:00Z", true, "2026-11-29T05:00:00Z"},
		{"sun:05:00-sun:06:00", "2026-11-22T06:00:00Z", false, "2026-11-29T05:00:00Z"},
		{"sat:23:30-sun:00:30", "2026-11-22T00:29:00Z", true, "2026-11-28T23:30:00Z"},
		{"sat:23:30-sun:00:30", "2026-11-28T23:29:00Z", false, "2026-11-28T23:30:00Z"},
		{"wed:10:00-wed:11:00", "2026-11-25T10:30:00+02:00", false, "2026-11-25T10:00:00Z"},
	} {
		w, ok := ParseWeeklyWindow(c.window)
		at, err := time.Parse(time.RFC3339, c.at)
		if !ok || err != nil {
			t.Fatal(c, ok, err)
		}
		inside, next := w.At(at)
		if inside != c.inside || next.Format(time.RFC3339) != c.next {
			t.Errorf("%s at %s: %t, next %s; want %t, %s", c.window, c.at, inside, next.Format(time.RFC3339), c.inside, c.next)
		}
	}
}

func TestFrontsOfMemcached(t *testing.T) {
	at := func(h string) Address { return Address{Host: h, Port: 11211} }
	m := MemcachedCluster{Discovery: 7, ConfigurationEndpoint: at("cfg"), Nodes: []MemcachedNode{
		{ID: "0001", Address: at("a"), Listed: true},
		{ID: "0002", Address: at("b")},
		{ID: "0003", Address: at("c"), Leaving: true, Listed: true},
		{ID: "0004", Address: at("d"), Leaving: true},
	}}
	want := MemcachedFronts{Version: 7, List: []Address{at("a"), at("c")}, Doors: []MemcachedDoor{
		{at("a"), []string{"0001"}}, {at("b"), []string{"0002"}}, {at("c"), []string{"0003"}}, {at("cfg"), []string{"0001", "0003"}},
	}}
	if diff := cmp.Diff(want, m.Fronts()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParametersOfMemcachedWaitForAReboot(t *testing.T) {
	c := CacheCluster{Memcached: &MemcachedCluster{Nodes: []MemcachedNode{{ID: "0001", Build: "b"}, {ID: "0002"}}}}
	if got := c.ParameterStatus(); got != ParametersInSync {
		t.Errorf("with nothing set: %s", got)
	}
	c.Parameters = map[string]string{"max_item_size": "2097152"}
	if got := c.NodesToReboot(); c.ParameterStatus() != ParametersPendingReboot || len(got) != 1 || got[0] != "0001" {
		t.Errorf("with one set: %s, %v", c.ParameterStatus(), got)
	}
	c.Memcached.Nodes[0].Told = c.ParametersMark()
	c.Parameters = map[string]string{"max_item_size": "2097152"}
	if got := c.ParameterStatus(); got != ParametersInSync {
		t.Errorf("once started with it: %s", got)
	}
	c.Parameters["chunk_size"] = "96"
	if got := c.ParameterStatus(); got != ParametersPendingReboot {
		t.Errorf("with another one set: %s", got)
	}
}
