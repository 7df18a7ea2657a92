package records_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

func open(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// TestPlaces goes through the whole pool: every address is different, a usable
// one, and after the last comes the first.
func TestPlaces(t *testing.T) {
	for _, p := range []records.Pool{{Base: "127.83"}, {}} {
		seen := map[cache.Address]bool{}
		for i := range p.Size() {
			a := p.At(i, 6379)
			ip, err := netip.ParseAddr(a.Host)
			if err != nil || !ip.IsLoopback() || a.Port < 1024 || a.Port > 65535 || seen[a] {
				t.Fatalf("place %d: %v, again: %v", i, a, seen[a])
			}
			if b := ip.As4(); p.Base != "" && (b[1] != 83 || b[3] == 0 || b[3] == 255 || a.Port != 6379) {
				t.Fatalf("place %d: %v", i, a)
			}
			seen[a] = true
		}
		if p.At(p.Size(), 6379) != p.At(0, 6379) {
			t.Errorf("pool %q does not go around", p.Base)
		}
	}
}

func TestClaims(t *testing.T) {
	db := open(t)
	p := records.Pool{Base: "127.83"}
	a := p.At(9, 6379)
	claim := func(tx *store.Tx, a cache.Address, owner string, want bool) error {
		got, err := records.ClaimAddress(tx, p, a, owner)
		if got != want {
			t.Errorf("%v for %s: %v", a, owner, got)
		}
		return err
	}
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for _, c := range []struct {
			at    cache.Address
			owner string
			want  bool
		}{
			{a, "one", true},
			{a, "one", false},
			{a, "two", false},
			{cache.Address{Host: a.Host, Port: 7000}, "two", false}, // a host is whole
			{cache.Address{Host: a.Host + "0", Port: 6379}, "two", true},
		} {
			if err := claim(tx, c.at, c.owner, c.want); err != nil {
				return err
			}
		}
		if err := records.ReleaseAddresses(tx, "one"); err != nil {
			return err
		}
		if err := claim(tx, cache.Address{Host: a.Host, Port: 7000}, "three", true); err != nil {
			return err
		}
		p.Base = ""
		if err := claim(tx, cache.Address{Host: "127.0.0.1", Port: 16379}, "four", true); err != nil {
			return err
		}
		if err := claim(tx, cache.Address{Host: "127.0.0.1", Port: 16380}, "four", true); err != nil {
			return err
		}
		if err := claim(tx, cache.Address{Host: "127.0.0.1", Port: 16380}, "five", false); err != nil {
			return err
		}
		if err := records.ReleaseAddresses(tx, "four"); err != nil {
			return err
		}
		n, err := records.Addresses.Count(tx, "")
		if n != 2 {
			t.Errorf("%d addresses are left", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestEventOrder adds events at times whose shortest forms would not sort, and
// many at one instant.
func TestEventOrder(t *testing.T) {
	db := open(t)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var want []string
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for i, d := range []time.Duration{0, 1, 10, 100, time.Millisecond, time.Second, time.Second, time.Second, time.Minute} {
			text := fmt.Sprint(i)
			want = append(want, text)
			if err := records.AddEvent(tx, "r", cache.EventGroup, "g", text, start.Add(d)); err != nil {
				return err
			}
		}
		return records.AddEvent(tx, "r2", cache.EventGroup, "g", "elsewhere", start)
	})
	if err != nil {
		t.Fatal(err)
	}
	between := func(from, to time.Duration) []string {
		var got []string
		err := db.View(t.Context(), func(tx *store.Tx) error {
			for e, err := range records.EventsBetween(tx, "r", start.Add(from), start.Add(to)) {
				if err != nil {
					return err
				}
				got = append(got, e.Value.Message)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := between(0, time.Hour); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := between(10, time.Second); fmt.Sprint(got) != "[2 3 4]" {
		t.Errorf("a part: %v", got)
	}
	if got := between(time.Second, time.Second+1); fmt.Sprint(got) != "[5 6 7]" {
		t.Errorf("an instant: %v", got)
	}
}
