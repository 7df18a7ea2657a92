package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"holdfast.dev/internal/cache"
)

// printReports prints reports one after the other, each with its verdict last.
func printReports(w io.Writer, reports []cache.UpgradeReport) error {
	for i := range reports {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := printUpgrade(w, &reports[i]); err != nil {
			return err
		}
	}
	return nil
}

func printUpgrade(w io.Writer, r *cache.UpgradeReport) error {
	what := "cache cluster "
	if r.Group {
		what = "replication group "
	}
	fmt.Fprintf(w, "%s%s: %s\n", what, r.ID, changeText(&r.From, &r.To))
	fmt.Fprintf(w, "began %s", r.StartedAt.UTC().Format(time.RFC3339))
	if !r.EndedAt.IsZero() {
		fmt.Fprintf(w, ", took %s", seconds(r.EndedAt.Sub(r.StartedAt)))
	}
	fmt.Fprint(w, "\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "node\tfigure\tbefore\tduring\tafter")
	for i := range r.Nodes {
		printNode(t, &r.Nodes[i])
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("cannot print: %w", err)
	}
	fmt.Fprintln(w)
	if len(r.Pauses) > 0 {
		fmt.Fprintf(w, "writes waited %s\n", pausesText(r.Pauses))
	}
	if r.Compared > 0 {
		fmt.Fprintf(w, "%s keys were compared; what was read for that counts in CacheHits, and its connections in NewConnections\n", thousands(r.Compared))
	}
	if !r.EndedAt.IsZero() && !r.Done {
		fmt.Fprintln(w, "the figures of afterwards are not complete yet")
	}
	if _, err := fmt.Fprintln(w, r.Judge().Text); err != nil {
		return fmt.Errorf("cannot print: %w", err)
	}
	return nil
}

// changeText says what changes: "redis 6.0 to valkey 8.1, cache.t3.micro".
func changeText(from, to *cache.Kind) string {
	var out []string
	if was, is := from.Engine+" "+from.EngineVersion, to.Engine+" "+to.EngineVersion; was != is || from.Build != to.Build {
		out = append(out, fmt.Sprintf("%s (%s) to %s (%s)", was, from.Build, is, to.Build))
	}
	if from.NodeType != to.NodeType {
		out = append(out, from.NodeType+" to "+to.NodeType)
	}
	if from.ParameterGroup != to.ParameterGroup {
		out = append(out, from.ParameterGroup+" to "+to.ParameterGroup)
	}
	return cmp.Or(strings.Join(out, ", "), "its nodes are replaced")
}

func pausesText(pauses []time.Duration) string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
	if len(pauses) == 1 {
		return ms(pauses[0])
	}
	return fmt.Sprintf("%d times, %s at the most", len(pauses), ms(slices.Max(pauses)))
}

// reportLines are the figures of a node, by CloudWatch's names.
var reportLines = []struct {
	name  string
	state bool // it stands as it is; else it counts
	of    func(*cache.NodeFigures) int64
}{
	{"CurrItems", true, func(f *cache.NodeFigures) int64 { return f.CurrItems }},
	{"BytesUsedForCache", true, func(f *cache.NodeFigures) int64 { return f.BytesUsedForCache }},
	{"Evictions", false, func(f *cache.NodeFigures) int64 { return f.Evictions }},
	{"Reclaimed", false, func(f *cache.NodeFigures) int64 { return f.Reclaimed }},
	{"CacheHits", false, func(f *cache.NodeFigures) int64 { return f.CacheHits }},
	{"CacheMisses", false, func(f *cache.NodeFigures) int64 { return f.CacheMisses }},
	{"NewConnections", false, func(f *cache.NodeFigures) int64 { return f.NewConnections }},
	{"RejectedConnections", false, func(f *cache.NodeFigures) int64 { return f.RejectedConnections }},
	{"ReplicationBytes", false, func(f *cache.NodeFigures) int64 { return f.ReplicationBytes }},
	{"ErrorCount", false, func(f *cache.NodeFigures) int64 { return f.Errors }},
}

// printNode prints a line per figure. What counts is a rate before and afterwards, and a
// sum of the time in between.
func printNode(w io.Writer, n *cache.NodeReport) {
	fmt.Fprintf(w, "%s\tengine\t%s\t%s\t%s\n", n.ID, engineText(n.Before), engineText(n.During), engineText(n.After))
	for _, l := range reportLines {
		cell := func(f *cache.NodeFigures, sum bool) string {
			switch {
			case f == nil, !l.state && f.Seconds <= 0, l.of(f) < 0:
				return "-"
			case l.state || sum:
				return thousands(l.of(f))
			}
			return thousands(int64(float64(l.of(f))*60/f.Seconds+0.5)) + "/min"
		}
		fmt.Fprintf(w, "\t%s\t%s\t%s\t%s\n", l.name, cell(n.Before, false), cell(n.During, true), cell(n.After, false))
	}
}

func engineText(f *cache.NodeFigures) string {
	if f == nil {
		return "-"
	}
	role := "replica"
	if f.Primary {
		role = "primary"
	}
	return f.Version + ", " + role
}

// reportDocument is a report as JSON.
type reportDocument struct {
	Region    string       `json:"region"`
	CacheID   string       `json:"cacheId"`
	Group     bool         `json:"replicationGroup"`
	From      kindDocument `json:"from"`
	To        kindDocument `json:"to"`
	StartedAt time.Time    `json:"startedAt"`
	EndedAt   *time.Time   `json:"endedAt,omitempty"`
	Complete  bool         `json:"complete"`
	Failed    string       `json:"failed,omitempty"`
	PausesMs  []float64    `json:"writePausesMs"`
	Compared  int64        `json:"keysCompared"`
	Nodes     []nodeReport `json:"nodes"`
	Outcome   string       `json:"outcome"`
	Verdict   string       `json:"verdict"`
}

type kindDocument struct {
	Engine         string `json:"engine"`
	EngineVersion  string `json:"engineVersion"`
	Build          string `json:"build"`
	NodeType       string `json:"nodeType"`
	ParameterGroup string `json:"parameterGroup"`
}

type nodeReport struct {
	ID       string          `json:"cacheClusterId"`
	New      bool            `json:"new,omitempty"`
	Replaced bool            `json:"replaced"`
	Before   *figureDocument `json:"before"`
	During   *figureDocument `json:"during"`
	After    *figureDocument `json:"after"`
}

// figureDocument has the figures by CloudWatch's names, of so many seconds.
type figureDocument struct {
	At      time.Time        `json:"at"`
	Engine  string           `json:"engine"`
	Primary bool             `json:"primary"`
	Seconds float64          `json:"seconds"`
	Figures map[string]int64 `json:"figures"`
}

func printReportsJSON(w io.Writer, reports []cache.UpgradeReport) error {
	out := []reportDocument{}
	for i := range reports {
		out = append(out, document(&reports[i]))
	}
	return printJSON(w, out)
}

func document(r *cache.UpgradeReport) reportDocument {
	kind := func(k *cache.Kind) kindDocument {
		return kindDocument{k.Engine, k.EngineVersion, k.Build, k.NodeType, k.ParameterGroup}
	}
	v := r.Judge()
	d := reportDocument{
		Region: r.Region, CacheID: r.ID, Group: r.Group, From: kind(&r.From), To: kind(&r.To), StartedAt: r.StartedAt,
		Complete: r.Done, Failed: r.Failed, PausesMs: []float64{}, Compared: r.Compared, Nodes: []nodeReport{},
		Outcome: string(v.Outcome), Verdict: v.Text,
	}
	if !r.EndedAt.IsZero() {
		d.EndedAt = &r.EndedAt
	}
	for _, p := range r.Pauses {
		d.PausesMs = append(d.PausesMs, float64(p.Microseconds())/1000)
	}
	for i := range r.Nodes {
		n := &r.Nodes[i]
		d.Nodes = append(d.Nodes, nodeReport{
			ID: n.ID, New: n.New, Replaced: n.Replaced,
			Before: figureDoc(n.Before), During: figureDoc(n.During), After: figureDoc(n.After),
		})
	}
	return d
}

// figureDoc leaves out what is not known.
func figureDoc(f *cache.NodeFigures) *figureDocument {
	if f == nil {
		return nil
	}
	d := &figureDocument{At: f.At, Engine: f.Version, Primary: f.Primary, Seconds: f.Seconds, Figures: map[string]int64{}}
	for _, l := range reportLines {
		if v := l.of(f); v >= 0 && (l.state || f.Seconds > 0) {
			d.Figures[l.name] = v
		}
	}
	return d
}
