package source

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdfast.dev/internal/flow"
)

// Whatever is kept, replaced and removed, the walk yields the latest versions.
func TestLiveIndexProperty(t *testing.T) {
	sp, err := newSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	rapid.Check(t, func(rt *rapid.T) {
		if err := sp.reset(); err != nil {
			rt.Fatal(err)
		}
		x := newIndex(sp, 0)
		for i := range x.parts {
			x.parts[i].slots = x.parts[i].slots[:rapid.IntRange(2, 4).Draw(rt, "slots")] // so that they grow
		}
		want := map[string]string{}
		for i := range rapid.IntRange(0, 400).Draw(rt, "steps") {
			db, key := rapid.IntRange(0, 2).Draw(rt, "db"), fmt.Sprint("k", rapid.IntRange(0, 60).Draw(rt, "key"))
			id := fmt.Sprint(db, key)
			_, had := want[id]
			if had != mustHave(rt, x, db, key) {
				rt.Fatalf("%s: %t", id, !had)
			}
			if rapid.IntRange(0, 3).Draw(rt, "what") == 0 {
				was, err := x.remove(db, []byte(key))
				if err != nil || was != had {
					rt.Fatal(was, err)
				}
				delete(want, id)
				continue
			}
			value := make([]byte, rapid.SampledFrom([]int{0, 10, 3000, 700_000, spoolBuffer + 1}).Draw(rt, "size"))
			copy(value, fmt.Sprint(i))
			at, err := sp.add(&flow.Entry{DB: db, Key: []byte(key), Value: value, Type: byte(i), Version: 80, ExpireAt: int64(i)})
			if err != nil {
				rt.Fatal(err)
			}
			if replaced, err := x.put(db, []byte(key), at); err != nil || replaced != had {
				rt.Fatal(replaced, err)
			}
			want[id] = fmt.Sprint(len(value), i)
		}
		got := map[string]string{}
		err := sp.walk(func(at int64, e *flow.Entry) error {
			if x.latest(e.DB, e.Key, at) {
				got[fmt.Sprint(e.DB, string(e.Key))] = fmt.Sprint(len(e.Value), e.ExpireAt)
			}
			return nil
		})
		if err != nil || int64(len(want)) != x.keys || fmt.Sprint(got) != fmt.Sprint(want) {
			rt.Fatalf("%v\n%v\n%v, %d", err, got, want, x.keys)
		}
	})
}

func mustHave(rt *rapid.T, x *liveIndex, db int, key string) bool {
	has, err := x.has(db, []byte(key))
	if err != nil {
		rt.Fatal(err)
	}
	return has
}

// Keys whose hashes are equal are not taken for each other.
func TestLiveIndexCollision(t *testing.T) {
	sp, err := newSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	x := newIndex(sp, 0)
	const h = 12345
	p := &x.parts[0]
	for i, key := range []string{"a", "b", "c"} {
		slot, free, err := x.find(p, h, 0, []byte(key))
		if slot != nil || err != nil {
			t.Fatal(slot, err)
		}
		at, err := sp.add(&flow.Entry{Key: []byte(key)})
		if err != nil {
			t.Fatal(err)
		}
		*free = indexSlot{h, at}
		for _, k := range []string{"a", "b", "c"}[:i+1] {
			if slot, _, err := x.find(p, h, 0, []byte(k)); slot == nil || err != nil {
				t.Errorf("%q: %v, %v", k, slot, err)
			}
		}
	}
}

func TestSpoolLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	sp, err := newSpool(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	if st, err := sp.f.Stat(); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if _, err := newSpool(dir + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestNotificationFlags(t *testing.T) {
	for flags, want := range map[string]bool{
		"": false, "A": false, "K": false, "KA": true, "AKE": true, "Eg$lshzxet": false, "Eg$lshzxetd": true, "xK": false, "Knm": false,
	} {
		if enough(flags) != want {
			t.Errorf("%q: %t", flags, !want)
		}
	}
}

func TestCaptureReadsChannels(t *testing.T) {
	c := &capture{dirtySet: newDirtySet()}
	for channel, payload := range map[string]string{
		"__keyspace@12__:a__:b": "set", "__keyevent@3__:expired": "k@1__:", "__keyspace@0__:": "del",
	} {
		c.notified([]byte(channel), []byte(payload))
	}
	var got []string
	for id := range c.dirty {
		got = append(got, fmt.Sprintf("%d %q", id.db, id.key))
	}
	slices.Sort(got)
	if fmt.Sprint(got) != `[0 "" 12 "a__:b" 3 "k@1__:"]` || c.void != nil {
		t.Error(got, c.void)
	}
	if c.notified([]byte("__keyspace@x__:a"), nil); c.void == nil {
		t.Error("a channel of no database is taken")
	}
}

func TestStatsSeeWhatHappened(t *testing.T) {
	a := &liveAttempt{}
	parse := func(text string, mine int64) liveStats {
		a.dumps = mine
		s, err := a.parseStats([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	begin := parse("# Commandstats\r\ncmdstat_dump:calls=7,usec=1\r\ncmdstat_config|resetstat:calls=1,usec=3\r\n", 0)
	for text, want := range map[string]bool{
		"cmdstat_dump:calls=17,usec=1\r\ncmdstat_config|resetstat:calls=1,usec=3":                                    true,
		"cmdstat_dump:calls=99,usec=1\r\ncmdstat_config|resetstat:calls=1,usec=3\r\ncmdstat_xack:calls=1":            true,
		"cmdstat_dump:calls=16,usec=1\r\ncmdstat_config|resetstat:calls=1,usec=3":                                    false,
		"cmdstat_dump:calls=17,usec=1\r\ncmdstat_config|resetstat:calls=2,usec=3":                                    false,
		"cmdstat_dump:calls=17,usec=1\r\ncmdstat_config|resetstat:calls=1,usec=3\r\ncmdstat_swapdb:calls=1,usec=3":   false,
		"cmdstat_dump:calls=17,usec=1\r\ncmdstat_config|resetstat:calls=1,usec=3\r\ncmdstat_flushall:calls=1,usec=3": false,
	} {
		if err := parse(text, 10).check(begin); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	if g := parse("cmdstat_xgroup|setid:calls=2\r\ncmdstat_xack:calls=1\r\ncmdstat_xadd:calls=9", 0).groups; g != 3 {
		t.Errorf("%d", g)
	}
	if _, err := a.parseStats([]byte("cmdstat_dump:calls=x")); err == nil {
		t.Error("nonsense is taken")
	}
}
