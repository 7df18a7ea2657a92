package migrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// patience is how long a cluster may take to agree on a machine that has other things to do.
const patience = 90 * time.Second

// tag is a key of a slot.
func tag(slot int) []byte {
	for i := 0; ; i++ {
		if key := []byte(fmt.Sprint(i)); resp.Slot(key) == slot {
			return key
		}
	}
}

func TestShardHolds(t *testing.T) {
	s := Shard{Slots: []resp.SlotRange{{First: 5, Last: 5}, {First: 10, Last: 12}}}
	for slot, want := range map[int]bool{0: false, 4: false, 5: true, 6: false, 9: false, 10: true, 11: true, 12: true, 13: false, 16383: false} {
		if s.Holds(tag(slot)) != want {
			t.Errorf("slot %d: %t", slot, !want)
		}
	}
	if all := (Shard{}); !all.Holds([]byte("any")) {
		t.Error("the only shard does not hold a key")
	}
}

// Who may go on from the place where another one was.
func TestEarlierOf(t *testing.T) {
	slots := []resp.SlotRange{{First: 0, Last: 99}}
	kept := map[string]shardState{
		"redis://a:1": {source.FollowState{Road: "replica", Source: "redis://a:1", ReplID: "x"}, "id", 7, slots},
	}
	b, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	f := &Follows{}
	if f.earlier, err = readState(b); err != nil {
		t.Fatal(err)
	}
	shard := func(addr, id string, epoch int64, slots []resp.SlotRange) *Shard {
		return &Shard{Options: resp.Options{Addr: addr}, ID: id, Epoch: epoch, Slots: slots}
	}
	for name, tc := range map[string]struct {
		s    *Shard
		want bool
	}{
		"as it was":                {shard("a:1", "id", 7, slots), true},
		"the same elsewhere":       {shard("b:1", "id", 7, slots), true},
		"taken over":               {shard("b:1", "other", 8, slots), true},
		"slots went and came back": {shard("a:1", "id", 8, slots), false},
		"a slot more":              {shard("a:1", "id", 7, []resp.SlotRange{{First: 0, Last: 100}}), false},
		"no cluster any more":      {shard("a:1", "", 0, nil), false},
	} {
		got := f.earlierOf(tc.s)
		if (got != nil) != tc.want {
			t.Errorf("%s: %+v", name, got)
		}
		if got != nil && (got.Source != tc.s.Options.String() || got.ReplID != "x") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if f.earlier, err = readState([]byte(`{"redis://a:1":{"road":"replica","source":"redis://a:1","replId":"x"}}`)); err != nil {
		t.Fatal(err)
	}
	if f.earlierOf(shard("a:1", "", 0, nil)) == nil || f.earlierOf(shard("b:1", "", 0, nil)) != nil {
		t.Error("a server goes on by its address alone")
	}
}

func TestPassing(t *testing.T) {
	for _, err := range []error{
		&resp.ServerError{Text: "MOVED 1 a:1"}, fmt.Errorf("reading: %w", &resp.ServerError{Text: "ASK 1 a:1"}),
		&resp.ServerError{Text: "CLUSTERDOWN The cluster is down"}, fmt.Errorf("reading: %w", io.ErrUnexpectedEOF),
	} {
		if !passing(err) {
			t.Errorf("%v is final", err)
		}
	}
	for _, err := range []error{&resp.ServerError{Text: "NOPERM no"}, &resp.ServerError{Text: "ERR x"}, errors.New("disk full")} {
		if passing(err) {
			t.Errorf("%v passes", err)
		}
	}
}

// One cluster for both, for starting one takes seconds.
func TestSourceCluster(t *testing.T) {
	c := testkit.StartCluster(t, testkit.Engine(t, "redis-7.0"), 2, 1, testkit.Config("repl-diskless-sync-delay 0"))
	t.Run("follows", func(t *testing.T) { followsCluster(t, c) })
	t.Run("watch", func(t *testing.T) { watchesShards(t, c) })
}

// The shards are told when each slot has one owner, and none is on its way.
func watchesShards(t *testing.T, c *testkit.ClusterServers) {
	w := newShardWatch(resp.Options{Addr: c.Replicas[1][0].Addr()})
	defer w.close()
	look := func() []Shard {
		t.Helper()
		var shards []Shard
		testkit.Wait(t, patience, func() (ok bool) { shards, ok = lookOnce(t, w); return ok }, "the shards are not told")
		return shards
	}
	before := look()
	if len(before) != 2 || before[0].Options.Addr != c.Primaries[0].Addr() || before[0].Of != 2 || !before[1].Holds([]byte("foo")) {
		t.Fatalf("%+v", before)
	}
	const slot = 12182 // of foo
	if err := c.OpenSlot(slot, c.Primaries[1], c.Primaries[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := w.look(t.Context()); !errors.Is(err, errMoving) || !strings.Contains(err.Error(), "12182") {
		t.Errorf("%v", err)
	}
	if err := c.CloseSlot(slot, c.Primaries[0]); err != nil {
		t.Fatal(err)
	}
	after := look()
	if !after[0].Holds([]byte("foo")) || after[1].Holds([]byte("foo")) || after[0].Epoch <= before[0].Epoch || sameShards(before, after) {
		t.Errorf("%+v", after)
	}
	c.Primaries[0].Kill()
	if _, err := w.look(t.Context()); err == nil {
		t.Error("a shard without a primary is a shard")
	}
	c.Replicas[0][0].Must("CLUSTER", "FAILOVER", "TAKEOVER")
	over := look()
	if over[0].Options.Addr != c.Replicas[0][0].Addr() || !after[0].continues(&over[0]) || after[0].same(&over[0]) {
		t.Errorf("%+v", over)
	}
}

func lookOnce(t *testing.T, w *shardWatch) ([]Shard, bool) {
	shards, err := w.look(t.Context())
	return shards, err == nil && len(shards) == 2
}
