package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"holdfast.dev/internal/rdb"
)

// named is a line of one of the report's tables.
type named struct {
	Name string `json:"name"`
	tally
}

// inspectReport is what "holdfast inspect" prints.
type inspectReport struct {
	Name      string       `json:"name"`
	Files     []fileReport `json:"files,omitempty"`
	All       tally        `json:"all"`
	Types     []named      `json:"types"`
	Databases []named      `json:"databases"`
	TTLs      []named      `json:"ttls"`
	Prefixes  []named      `json:"prefixes"`
	// Others are the prefixes that are not listed. AtLeast: there were so many
	// prefixes that those listed may have more keys than is said.
	Others  tally    `json:"otherPrefixes"`
	AtLeast bool     `json:"prefixesAtLeast"`
	Biggest []bigKey `json:"biggest"`
	timing
}

func (s *survey) result(name string, files []fileReport, t timing) *inspectReport {
	r := &inspectReport{
		Name: name, Files: files, All: s.All, timing: t, Others: s.merged, AtLeast: s.lossy,
		Types: []named{}, Databases: []named{}, TTLs: []named{}, Prefixes: []named{}, Biggest: []bigKey{},
	}
	for c := range rdb.Classes {
		if s.types[c].Keys > 0 {
			r.Types = append(r.Types, named{c.String(), s.types[c]})
		}
	}
	for _, db := range slices.Sorted(maps.Keys(s.dbs)) {
		r.Databases = append(r.Databases, named{"db" + strconv.Itoa(db), *s.dbs[db]})
	}
	for i, t := range s.ttls {
		n := ttlNever
		if i < len(ttlBounds) {
			n = ttlBounds[i].name
		} else if i == len(ttlBounds) {
			n = ttlLonger
		}
		if t.Keys > 0 {
			r.TTLs = append(r.TTLs, named{n, t})
		}
	}
	for i, p := range s.prefixesBySize() {
		if i < s.opt.top {
			r.Prefixes = append(r.Prefixes, named{p, *s.prefix[p]})
			continue
		}
		r.Others.Keys += s.prefix[p].Keys
		r.Others.Bytes += s.prefix[p].Bytes
	}
	r.Biggest = append(r.Biggest, s.big...)
	slices.SortFunc(r.Biggest, func(a, b bigKey) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.DB, b.DB), strings.Compare(a.Key, b.Key))
	})
	return r
}

// print writes the report as tables.
func (r *inspectReport) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i := range r.Files {
		r.Files[i].print(w)
	}
	r.table(w, "type", r.Types)
	r.table(w, "database", r.Databases)
	r.table(w, "expires", r.TTLs)
	prefixes := make([]named, 0, len(r.Prefixes)+1)
	for _, p := range r.Prefixes {
		p.Name = printable(p.Name)
		prefixes = append(prefixes, p)
	}
	if r.Others.Keys > 0 {
		prefixes = append(prefixes, named{"(others)", r.Others})
	}
	r.table(w, "prefix", prefixes)
	if r.AtLeast {
		fmt.Fprintf(w, "There are too many prefixes to count each: those listed have at least what is said.\n\n")
	}
	if len(r.Biggest) > 0 {
		fmt.Fprintf(w, "biggest keys\ttype\tbytes\n")
		for _, b := range r.Biggest {
			fmt.Fprintf(w, "db%d %s\t%s\t%s\n", b.DB, printable(b.Key), b.Type, thousands(b.Bytes))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%s keys, %s bytes in %.2f s, %s keys/s\n",
		thousands(r.All.Keys), thousands(r.All.Bytes), r.Seconds, thousands(r.KeysPerSecond))
	if err := w.Flush(); err != nil {
		return fmt.Errorf("cannot print: %w", err)
	}
	return nil
}

func (f *fileReport) print(w io.Writer) {
	sum := "checksum right"
	if !f.Checksummed {
		sum = "no checksum"
	}
	fmt.Fprintf(w, "%s: %s, %s bytes, %s\n", f.Name, f.Header, thousands(f.Bytes), sum)
	for _, name := range slices.Sorted(maps.Keys(f.Aux)) {
		fmt.Fprintf(w, "  %s\t%s\n", printable(name), printable(f.Aux[name]))
	}
	for _, n := range []struct {
		count int
		what  string
	}{{f.Functions, "function libraries"}, {f.ModuleAux, "pieces of modules' own data"}, {f.SlotImports, "unfinished slot migrations"}} {
		if n.count > 0 {
			fmt.Fprintf(w, "  %s\t%d\n", n.what, n.count)
		}
	}
	fmt.Fprintln(w)
}

func (r *inspectReport) table(w io.Writer, title string, lines []named) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(w, "%s\tkeys\tbytes\tof bytes\n", title)
	for _, l := range lines {
		name := l.Name
		if name == "" {
			name = "(none)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.1f %%\n", name, thousands(l.Keys), thousands(l.Bytes), 100*float64(l.Bytes)/float64(max(r.All.Bytes, 1)))
	}
	fmt.Fprintln(w)
}

// printable quotes what would spoil a terminal.
func printable(s string) string {
	if q := strconv.Quote(s); q[1:len(q)-1] != s || len(s) > 200 {
		if len(q) > 200 {
			return q[:200] + "…"
		}
		return q
	}
	return s
}
