package metrics

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// ContentType is that of Prometheus' text format.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// prefix of the names, which are CloudWatch's in the way that exporters spell them.
const prefix = "aws_elasticache_"

// WritePrometheus writes the latest samples in Prometheus' text format. Each figure is a
// gauge, as in CloudWatch: what counts, counts for the minute before.
func WritePrometheus(w io.Writer, last map[Node]Sample) error {
	nodes := slices.SortedFunc(maps.Keys(last), func(a, b Node) int { return cmp.Compare(a.key(), b.key()) })
	labels := make([]string, len(nodes))
	for i, n := range nodes {
		labels[i] = n.labels()
	}
	out := bufio.NewWriter(w)
	for _, name := range names {
		first := true
		for i, n := range nodes {
			v, ok := last[n].Values[name]
			if !ok {
				continue
			}
			full := prefix + Snake(name)
			if first {
				fmt.Fprintf(out, "# HELP %s %s of CloudWatch.\n# TYPE %s gauge\n", full, name, full)
				first = false
			}
			fmt.Fprintf(out, "%s{%s} %s\n", full, labels[i], strconv.FormatFloat(v, 'g', -1, 64))
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("cannot write metrics: %w", err)
	}
	return nil
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (n Node) labels() string {
	var b strings.Builder
	all := [][2]string{
		{"region", n.Region},
		{"cache_cluster_id", n.ClusterID},
		{"cache_node_id", n.NodeID},
		{"replication_group_id", n.GroupID},
		{"engine", n.Engine},
	}
	for i, l := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(l[0] + `="` + escape.Replace(l[1]) + `"`)
	}
	return b.String()
}

// Snake is a CloudWatch name in snake case: "cpuutilization", "curr_items", "db0_average_ttl".
func Snake(name string) string {
	var b strings.Builder
	r := []rune(name)
	for i, c := range r {
		if unicode.IsUpper(c) && i > 0 && !unicode.IsUpper(r[i-1]) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}
