package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// series are durations of the same thing, in seconds.
type series []float64

// quantile by the nearest rank; 0 of none.
func (s series) quantile(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

// median is the middle, or the mean of the two middle ones.
func (s series) median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// String is the median and the spread.
func (s series) String() string {
	if len(s) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%s–%s)", short(s.median()), short(slices.Min(s)), short(slices.Max(s)))
}

// short writes seconds with three digits and the unit that suits them.
func short(sec float64) string {
	switch {
	case sec >= 1:
		return fmt.Sprintf("%.2f s", sec)
	case sec >= 1e-3:
		return fmt.Sprintf("%.3g ms", sec*1e3)
	}
	return fmt.Sprintf("%.3g µs", sec*1e6)
}

// latencies collects the durations of single requests.
type latencies []time.Duration

func (l latencies) quantile(q float64) time.Duration {
	s := make(series, len(l))
	for i, d := range l {
		s[i] = float64(d)
	}
	return time.Duration(s.quantile(q))
}
