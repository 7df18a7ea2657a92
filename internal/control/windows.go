package control

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"holdfast.dev/internal/cache"
)

const (
	minutesADay  = 24 * 60
	minutesAWeek = 7 * minutesADay
	shortest     = 60 // minutes of a window
)

var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

var (
	clockRE       = `([01][0-9]|2[0-3]):([0-5][0-9])`
	dayRE         = `(sun|mon|tue|wed|thu|fri|sat):`
	maintenanceRE = regexp.MustCompile(`^` + dayRE + clockRE + `-` + dayRE + clockRE + `$`)
)

// span is a stretch of time: from is minutes into the day or the week, and it
// may go on over its end.
type span struct{ from, length int }

// parseSnapshotWindow reads "hh24:mi-hh24:mi".
func parseSnapshotWindow(s string) (span, error) {
	d, ok := cache.ParseDailyWindow(s)
	if !ok {
		return span{}, invalid("The snapshot window %q is not valid. It must be of the form hh24:mi-hh24:mi, for example 05:00-09:00.", s)
	}
	w := span{d.From, d.Length}
	if w.length < shortest {
		return span{}, invalid("Snapshot window must be at least 60 minutes.")
	}
	return w, nil
}

// parseMaintenanceWindow reads "ddd:hh24:mi-ddd:hh24:mi".
func parseMaintenanceWindow(s string) (span, error) {
	m := maintenanceRE.FindStringSubmatch(lower(s))
	if m == nil {
		return span{}, invalid("The maintenance window %q is not valid. It must be of the form ddd:hh24:mi-ddd:hh24:mi, for example sun:23:00-mon:01:30.", s)
	}
	from := slices.Index(days, m[1])*minutesADay + minutes(m[2], m[3])
	to := slices.Index(days, m[4])*minutesADay + minutes(m[5], m[6])
	w := span{from, (to - from + minutesAWeek) % minutesAWeek}
	switch {
	case w.length < shortest:
		return span{}, invalid("Maintenance window must be at least 60 minutes.")
	case w.length > minutesADay:
		return span{}, invalid("Maintenance window must not be longer than 24 hours.")
	}
	return w, nil
}

func minutes(hour, minute string) int {
	h, _ := strconv.Atoi(hour) // the pattern lets digits through only
	m, _ := strconv.Atoi(minute)
	return 60*h + m
}

// overlap tells whether a window of every day ever meets one of every week: only
// the hours matter then.
func overlap(snapshot, maintenance span) bool {
	a, b := snapshot.from%minutesADay, maintenance.from%minutesADay
	return (b-a+minutesADay)%minutesADay < snapshot.length || (a-b+minutesADay)%minutesADay < maintenance.length
}

func errOverlap() error {
	return invalid("The snapshot window and maintenance window must not overlap.")
}

// maintenanceHours are when a region's windows begin, where ElastiCache says so:
// eight hours from this one, UTC.
var maintenanceHours = map[string]int{"us-east-1": 3, "us-west-2": 6, "eu-west-1": 22, "ap-northeast-1": 13}

// windows checks those that were asked for and picks those that were not, the
// same for the same name every time.
func windows(region, id, snapshot, maintenance string) (string, string, error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(region + "/" + id)) // never fails
	draw := int(h.Sum32() >> 1)
	var s, m span
	var err error
	if snapshot != "" {
		if s, err = parseSnapshotWindow(snapshot); err != nil {
			return "", "", err
		}
	}
	if maintenance != "" {
		if m, err = parseMaintenanceWindow(maintenance); err != nil {
			return "", "", err
		}
	} else {
		m = pickMaintenance(region, draw, s)
	}
	if snapshot == "" {
		if s, err = pickSnapshot(draw, m); err != nil {
			return "", "", err
		}
	}
	if overlap(s, m) {
		return "", "", errOverlap()
	}
	return formatDaily(s), formatWeekly(m), nil
}

// pickMaintenance draws an hour of the region's eight, or, where the snapshot
// window takes all of those, one of the others.
func pickMaintenance(region string, draw int, snapshot span) span {
	first, ok := maintenanceHours[region]
	if !ok {
		first = 3
	}
	day := draw / 16 % 7
	for i := range 24 {
		hour := (first + (draw+i)%8) % 24
		if i >= 8 {
			hour = (first + i) % 24
		}
		m := span{day*minutesADay + hour*60, shortest}
		if snapshot.length == 0 || !overlap(snapshot, m) {
			return m
		}
	}
	return span{day * minutesADay, shortest} // no hour is left: the caller finds the overlap
}

// pickSnapshot draws an hour outside the maintenance window.
func pickSnapshot(draw int, maintenance span) (span, error) {
	start := draw % 24 * 60
	for i := range 2 * 24 {
		s := span{(start + 30*i) % minutesADay, shortest}
		if !overlap(s, maintenance) {
			return s, nil
		}
	}
	// A very long window may leave exactly an hour that begins at any minute.
	s := span{(maintenance.from + maintenance.length) % minutesADay, shortest}
	if overlap(s, maintenance) {
		return span{}, invalid("The maintenance window leaves no hour of the day for the snapshot window.")
	}
	return s, nil
}

func formatDaily(w span) string {
	return clock(w.from) + "-" + clock(w.from+w.length)
}

func formatWeekly(w span) string {
	end := w.from + w.length
	return strings.Join([]string{days[w.from/minutesADay%7], ":", clock(w.from), "-", days[end/minutesADay%7], ":", clock(end)}, "")
}

func clock(m int) string { return fmt.Sprintf("%02d:%02d", m/60%24, m%60) }
