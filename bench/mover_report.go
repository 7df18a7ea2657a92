package main

import (
	"fmt"
	"os"
)

// flowRow is one flow of the mover beside its limit. Ratios are of speeds: 1 is as
// fast as the limit.
type flowRow struct {
	Flow string `json:"flow"`
	What string `json:"what"`
	Keys int64  `json:"keys"`

	Ours    series `json:"ours_seconds"`
	LimitIs string `json:"limit_is"`
	Limit   series `json:"limit_seconds"`
	// PeakBytes is the most memory that the program had, CPU what it used, in seconds;
	// where this process did the work, memory is not told.
	PeakBytes int64   `json:"peak_bytes,omitempty"`
	CPU       float64 `json:"cpu_seconds,omitempty"`
	// ServerCPU and LimitServerCPU are what the servers used, in seconds; unlike
	// durations they hardly depend on what else the machine does.
	ServerCPU      float64 `json:"server_cpu_seconds,omitempty"`
	LimitServerCPU float64 `json:"limit_server_cpu_seconds,omitempty"`

	Ratio float64 `json:"ratio"`
	// Target is the least that Ratio has to be; 0 where there is no target.
	Target float64 `json:"target,omitempty"`
	Met    *bool   `json:"met,omitempty"`
}

// figure is something that is no ratio of speeds: a pause, a quantile, a growth.
type figure struct {
	Flow   string `json:"flow"`
	What   string `json:"what"`
	Value  string `json:"value"`
	Target string `json:"target,omitempty"`
	Met    *bool  `json:"met,omitempty"`
}

// flow makes a row of the costs of ours and of a limit.
func (l *lab) flow(f flowRow, ours, limit []cost) flowRow {
	f.Flow = l.report.bench
	f.Ours, f.Limit = times(ours), times(limit)
	f.PeakBytes = int64(medianOf(ours, func(c cost) float64 { return float64(c.peak) }))
	f.CPU = medianOf(ours, func(c cost) float64 { return c.cpu })
	f.ServerCPU = medianOf(ours, func(c cost) float64 { return c.busy })
	f.LimitServerCPU = medianOf(limit, func(c cost) float64 { return c.busy })
	if ours := f.Ours.median(); ours > 0 {
		f.Ratio = f.Limit.median() / ours
	}
	if f.Target > 0 {
		f.Met = told(f.Ratio >= f.Target)
	}
	l.report.data.Flows = append(l.report.data.Flows, f)
	fmt.Fprintf(os.Stderr, "  %s: %s × %.2f of %s\n", f.What, f.Ours, f.Ratio, f.LimitIs)
	return f
}

func (l *lab) figure(f figure) {
	f.Flow = l.report.bench
	l.report.data.Figures = append(l.report.data.Figures, f)
	fmt.Fprintf(os.Stderr, "  %s: %s\n", f.What, f.Value)
}

func told(b bool) *bool { return &b }

func times(all []cost) series {
	var s series
	for _, c := range all {
		s = append(s, c.took.Seconds())
	}
	return s
}

func medianOf(all []cost, of func(cost) float64) float64 {
	var s series
	for _, c := range all {
		s = append(s, of(c))
	}
	return s.median()
}

// flows prints the table of the mover's flows, as Markdown, which a terminal shows too.
func (r *report) flows() {
	if len(r.data.Flows) > 0 {
		fmt.Println("\n| flow | data | the limit | ours | memory, CPU | servers' CPU, of the limit's | speed, of the limit's | at least | |")
		fmt.Println("|---|---|---|---|---|---|---|---|---|")
	}
	for _, f := range r.data.Flows {
		fmt.Printf("| `%s` | %s | %s %s | %s | %s | %s | × %.2f | %s | %s |\n", f.Flow, f.What, f.LimitIs, speed(f.Limit, f.Keys),
			speed(f.Ours, f.Keys), footprint(f), serverShare(f), f.Ratio, atLeast(f.Target), verdict(f.Met))
	}
	if len(r.data.Figures) > 0 {
		fmt.Println("\n| flow | figure | measured | target | |")
		fmt.Println("|---|---|---|---|---|")
	}
	for _, f := range r.data.Figures {
		fmt.Printf("| `%s` | %s | %s | %s | %s |\n", f.Flow, f.What, f.Value, f.Target, verdict(f.Met))
	}
}

func speed(s series, keys int64) string {
	if len(s) == 0 {
		return ""
	}
	return fmt.Sprintf("%s, %.0f k keys/s", s, float64(keys)/s.median()/1e3)
}

func footprint(f flowRow) string {
	if f.PeakBytes == 0 {
		return short(f.CPU)
	}
	return fmt.Sprintf("%d MB, %s", f.PeakBytes>>20, short(f.CPU))
}

// serverShare is what the servers used for ours, as a multiple of what they used for the limit.
func serverShare(f flowRow) string {
	if f.ServerCPU == 0 || f.LimitServerCPU == 0 {
		return ""
	}
	return fmt.Sprintf("× %.2f", f.ServerCPU/f.LimitServerCPU)
}

func atLeast(target float64) string {
	if target == 0 {
		return ""
	}
	return fmt.Sprintf("× %.2f", target)
}

func verdict(met *bool) string {
	switch {
	case met == nil:
		return ""
	case *met:
		return "met"
	}
	return "**missed**"
}
