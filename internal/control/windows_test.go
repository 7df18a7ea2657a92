package control

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		snapshot, maintenance string
		want                  bool
	}{
		{"05:00-06:00", "sun:06:00-sun:07:00", false},
		{"05:00-06:00", "sun:04:00-sun:05:00", false},
		{"05:00-06:00", "sun:05:59-sun:07:00", true},
		{"23:00-01:00", "mon:00:30-mon:01:30", true},
		{"23:00-00:00", "mon:00:00-mon:01:00", false},
		{"00:00-01:00", "sat:23:30-sun:00:30", true},
		{"12:00-13:00", "sun:13:00-mon:12:00", false},
		{"12:00-13:01", "sun:13:00-mon:12:00", true},
	} {
		s, err := parseSnapshotWindow(c.snapshot)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseMaintenanceWindow(c.maintenance)
		if err != nil {
			t.Fatal(err)
		}
		if got := overlap(s, m); got != c.want {
			t.Errorf("%s and %s: %v", c.snapshot, c.maintenance, got)
		}
	}
}

// TestWindowsNeverOverlap picks what was not asked for, minute by minute against
// what comes out.
func TestWindowsNeverOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		region := rapid.SampledFrom([]string{"us-east-1", "us-west-2", "eu-west-1", "sa-east-1"}).Draw(t, "region")
		snapshot, maintenance := "", ""
		if rapid.Bool().Draw(t, "snapshot asked") {
			from := rapid.IntRange(0, minutesADay-1).Draw(t, "from")
			snapshot = formatDaily(span{from, rapid.IntRange(shortest, 23*60).Draw(t, "length")})
		}
		if rapid.Bool().Draw(t, "maintenance asked") {
			from := rapid.IntRange(0, minutesAWeek-1).Draw(t, "weekly from")
			maintenance = formatWeekly(span{from, rapid.IntRange(shortest, minutesADay).Draw(t, "weekly length")})
		}
		s, m, err := windows(region, rapid.StringMatching("[a-z]{1,8}").Draw(t, "id"), snapshot, maintenance)
		if err != nil {
			if snapshot == "" && maintenance == "" {
				t.Fatalf("nothing was asked for: %v", err)
			}
			return
		}
		if snapshot != "" && s != snapshot || maintenance != "" && m != maintenance {
			t.Fatalf("asked for %q and %q, got %q and %q", snapshot, maintenance, s, m)
		}
		daily, err := parseSnapshotWindow(s)
		if err != nil {
			t.Fatal(err)
		}
		weekly, err := parseMaintenanceWindow(m)
		if err != nil {
			t.Fatal(err)
		}
		for i := range weekly.length {
			if at := (weekly.from + i - daily.from + minutesAWeek) % minutesADay; at < daily.length {
				t.Fatalf("%s and %s overlap at minute %d", s, m, i)
			}
		}
	})
}

// TestLongWindowsLeaveAnHour takes every length that leaves one.
func TestLongWindowsLeaveAnHour(t *testing.T) {
	for length := shortest; length <= minutesADay; length++ {
		for _, from := range []int{0, 1, 29, 59, 23*60 + 17} {
			_, _, err := windows("us-east-1", "x", "", formatWeekly(span{from, length}))
			if (err != nil) != (length > minutesADay-shortest) {
				t.Fatalf("%d minutes from %d: %v", length, from, err)
			}
		}
	}
}

func TestPickBase(t *testing.T) {
	seen := map[string]bool{}
	for i := range 234 {
		seen[pickBase(func(n int) int {
			if n != 234 {
				t.Fatalf("one of %d", n)
			}
			return i
		})] = true
	}
	if len(seen) != 234 || seen["127.53"] || seen["127.15"] || seen["127.251"] || !seen["127.16"] || !seen["127.250"] {
		t.Errorf("%d bases, resolver: %v", len(seen), seen["127.53"])
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 1 << 10: "1.0 KiB", 3 << 20: "3.0 MiB", 5 << 30: "5.00 GiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestExportNames(t *testing.T) {
	long := fmt.Sprintf("%01000d", 1)
	for name, ok := range map[string]bool{"a": true, "Über 1": true, long: true, "": false, long + "1": false, "a/b": false, "a\nb": false, "a\xff": false} {
		if err := checkExportName(name); (err == nil) != ok {
			t.Errorf("%.20q: %v", name, err)
		}
	}
}
