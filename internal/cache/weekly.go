package cache

import (
	"regexp"
	"slices"
	"strconv"
	"time"
)

// WeeklyWindow is a maintenance window, in UTC.
type WeeklyWindow struct {
	start  time.Duration // since the beginning of Sunday
	length time.Duration
}

const week = 7 * 24 * time.Hour

var weeklyRE = regexp.MustCompile(`^([a-z]{3}):([0-9]{2}):([0-9]{2})-([a-z]{3}):([0-9]{2}):([0-9]{2})$`)

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseWeeklyWindow reads "ddd:hh24:mi-ddd:hh24:mi".
func ParseWeeklyWindow(s string) (WeeklyWindow, bool) {
	m := weeklyRE.FindStringSubmatch(s)
	if m == nil {
		return WeeklyWindow{}, false
	}
	at := func(day, hour, minute string) (time.Duration, bool) {
		d := slices.Index(weekdays, day)
		h, _ := strconv.Atoi(hour) // digits
		n, _ := strconv.Atoi(minute)
		return time.Duration(d*24+h)*time.Hour + time.Duration(n)*time.Minute, d >= 0 && h < 24 && n < 60
	}
	from, ok := at(m[1], m[2], m[3])
	to, also := at(m[4], m[5], m[6])
	if !ok || !also {
		return WeeklyWindow{}, false
	}
	return WeeklyWindow{start: from, length: (to - from + week) % week}, true
}

// At tells whether t lies in the window, and when the next one begins after t.
func (w WeeklyWindow) At(t time.Time) (inside bool, next time.Time) {
	t = t.UTC()
	midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	last := midnight.AddDate(0, 0, -int(t.Weekday())).Add(w.start)
	if last.After(t) {
		last = last.Add(-week)
	}
	return t.Before(last.Add(w.length)), last.Add(week)
}
