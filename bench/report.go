package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"holdfast.dev/internal/engine/catalog"
)

// row is one comparison. Limit is empty where there is nothing to compare with.
type row struct {
	Bench string `json:"bench"`
	What  string `json:"what"`
	// Keys and Bytes that each side moved; 0 where that is not the point.
	Keys  int64 `json:"keys,omitempty"`
	Bytes int64 `json:"bytes,omitempty"`
	// Requests that each side answered.
	Requests int64 `json:"requests,omitempty"`
	// Ours and Limit in seconds, one per round.
	Ours    series  `json:"ours_seconds"`
	LimitIs string  `json:"limit_is,omitempty"`
	Limit   series  `json:"limit_seconds,omitempty"`
	Speed   float64 `json:"speed_of_limit,omitempty"`
}

// report collects the rows, and prints them as they come unless JSON is wanted.
type report struct {
	asJSON bool
	bench  string
	shown  int
	data   struct {
		Machine machine `json:"machine"`
		Rows    []row   `json:"rows,omitempty"`
		// Flows and Figures are the mover's.
		Flows   []flowRow `json:"flows,omitempty"`
		Figures []figure  `json:"figures,omitempty"`
		// Failovers are the service's.
		Failovers []failoverRow `json:"failovers,omitempty"`
		Notes     []string      `json:"notes,omitempty"`
	}
}

type machine struct {
	Time    time.Time `json:"time"`
	System  string    `json:"system"`
	CPUs    int       `json:"cpus"`
	CPU     string    `json:"cpu,omitempty"`
	Go      string    `json:"go"`
	Load    string    `json:"load_average,omitempty"`
	Busy    bool      `json:"busy"`
	Engines []string  `json:"engines"`
	Quick   bool      `json:"quick,omitempty"`
	Rounds  int       `json:"rounds"`
}

func newReport(o options, engines *catalog.Catalog) *report {
	r := &report{asJSON: o.json}
	m := &r.data.Machine
	*m = machine{
		Time: time.Now().UTC().Truncate(time.Second), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		CPU: cpuName(), Go: runtime.Version(), Quick: o.quick, Rounds: o.rounds,
	}
	var now float64
	now, m.Load = loadAverage()
	m.Busy = now > float64(m.CPUs)/4
	for _, b := range engines.Builds() {
		if b.Engine != catalog.Memcached {
			m.Engines = append(m.Engines, b.Name)
		}
	}
	return r
}

func (r *report) header() {
	if r.asJSON {
		return
	}
	m := r.data.Machine
	fmt.Printf("%s, %s, %d CPUs (%s), %s, load average %s\n", m.Time.Format(time.DateTime), m.System, m.CPUs, m.CPU, m.Go, m.Load)
	fmt.Printf("engines: %s\n", strings.Join(m.Engines, ", "))
	if m.Busy {
		fmt.Println("WARNING: the machine is busy with something else; trust the ratios little and the absolute figures less")
	}
	if m.Quick {
		fmt.Println("a quick run: little data, few repetitions")
	}
	fmt.Printf("median of %d rounds (least–most); the last column is our speed as a multiple of the limit's\n", m.Rounds)
}

// begin and end stand around the rows of a benchmark.
func (r *report) begin(b bench) { r.bench, r.shown = b.name, len(r.data.Rows) }

func (r *report) end() {
	if r.asJSON || r.shown == len(r.data.Rows) {
		return
	}
	fmt.Printf("\n%s\n", r.bench)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, x := range r.data.Rows[r.shown:] {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%s\n", x.What, x.Ours, rates(x.Ours, x), x.LimitIs, limitText(x), speedText(x))
	}
	if err := w.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: cannot print:", err)
	}
}

func limitText(x row) string {
	if len(x.Limit) == 0 {
		return ""
	}
	return strings.TrimSpace(x.Limit.String() + "  " + rates(x.Limit, x))
}

func speedText(x row) string {
	if x.Speed == 0 {
		return ""
	}
	return fmt.Sprintf("× %.2f", x.Speed)
}

// rates is what a median means in keys and bytes a second.
func rates(s series, x row) string {
	sec := s.median()
	if sec == 0 {
		return ""
	}
	var out []string
	if x.Keys > 0 {
		out = append(out, fmt.Sprintf("%.2f M keys/s", float64(x.Keys)/sec/1e6))
	}
	if x.Requests > 0 {
		out = append(out, fmt.Sprintf("%.0f k requests/s", float64(x.Requests)/sec/1e3))
	}
	if x.Bytes > 0 {
		out = append(out, fmt.Sprintf("%.0f MB/s", float64(x.Bytes)/sec/1e6))
	}
	return strings.Join(out, " ")
}

func (r *report) add(x row) {
	x.Bench = r.bench
	if ours := x.Ours.median(); len(x.Limit) > 0 && ours > 0 {
		x.Speed = x.Limit.median() / ours
	}
	r.data.Rows = append(r.data.Rows, x)
	fmt.Fprintf(os.Stderr, "  %s: %s %s\n", x.What, x.Ours, speedText(x))
}

func (r *report) note(format string, args ...any) {
	n := fmt.Sprintf(format, args...)
	r.data.Notes = append(r.data.Notes, n)
	fmt.Fprintln(os.Stderr, "  "+n)
}

func (r *report) finish() error {
	r.besidePeers()
	if r.asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r.data)
	}
	r.flows()
	r.failovers()
	if len(r.data.Notes) > 0 {
		fmt.Println()
	}
	for _, n := range r.data.Notes {
		fmt.Println("note:", n)
	}
	_, load := loadAverage()
	fmt.Printf("\nload average at the end: %s\n", load)
	return nil
}
