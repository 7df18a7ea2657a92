package metrics

import (
	"strconv"
	"strings"
	"time"
)

// Reading is what a node said of itself at one time.
type Reading struct {
	At time.Time
	// Fields are those of INFO, or of memcached's stats.
	Fields map[string]string
	// Host is the machine at that time; zero if that is not known.
	Host Host
}

// Host is what a machine, or a container, says. A counter counts from some beginning.
type Host struct {
	// CPUBusy and CPUTotal of all processors, in any unit.
	CPUBusy, CPUTotal float64
	// FreeMemory that can be had at once, and Swap in use, in bytes.
	FreeMemory, Swap float64
}

// Values are figures by CloudWatch's names.
type Values map[string]float64

// number of a field, and false where there is none.
func (r *Reading) number(field string) (float64, bool) {
	if r == nil {
		return 0, false
	}
	return parse(r.Fields[field])
}

func parse(s string) (float64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// run names the process that has said it.
func (r *Reading) run() string {
	if id := r.Fields["run_id"]; id != "" {
		return id
	}
	return r.Fields["pid"]
}

// sum of the fields, each 0 where it is not there; false if none is.
func (r *Reading) sum(names ...string) (sum float64, ok bool) {
	for _, name := range names {
		if n, there := r.number(name); there {
			sum, ok = sum+n, true
		}
	}
	return sum, ok
}

// Grown is by how much a counter is more than in the reading before.
func (r *Reading) Grown(before *Reading, fields ...string) (float64, bool) {
	now, ok := r.sum(fields...)
	if !ok || before == nil {
		return 0, false
	}
	then, ok := before.sum(fields...)
	if !ok || then > now || r.run() != before.run() {
		return now, true
	}
	return now - then, true
}

// list splits "a=1,b=2".
func list(s string) map[string]string {
	out := map[string]string{}
	for part := range strings.SplitSeq(s, ",") {
		if name, value, ok := strings.Cut(part, "="); ok {
			out[name] = value
		}
	}
	return out
}

// ParseInfo reads INFO's answer.
func ParseInfo(text string) map[string]string {
	out := make(map[string]string, 256)
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if ok && !strings.HasPrefix(line, "#") {
			out[name] = value
		}
	}
	return out
}

// deriver takes figures from a reading and the one before.
type deriver struct {
	now, before *Reading
	out         Values
}

// derive begins. A reading that is too old to say what happened in a minute is none.
func derive(now, before *Reading, longest time.Duration) *deriver {
	if before != nil && (now.At.Sub(before.At) > longest || !now.At.After(before.At)) {
		before = nil
	}
	return &deriver{now: now, before: before, out: Values{}}
}

// is takes a field as it stands.
func (d *deriver) is(name string, fields ...string) {
	if n, ok := d.now.sum(fields...); ok {
		d.out[name] = n
	}
}

// grew takes by how much a counter has grown.
func (d *deriver) grew(name string, fields ...string) {
	if n, ok := d.now.Grown(d.before, fields...); ok {
		d.out[name] = n
	}
}

// host takes what the machine says.
func (d *deriver) host() {
	h := d.now.Host
	if h == (Host{}) {
		return
	}
	d.out["FreeableMemory"], d.out["SwapUsage"] = h.FreeMemory, h.Swap
	if d.before == nil || d.before.Host == (Host{}) {
		return
	}
	if total := h.CPUTotal - d.before.Host.CPUTotal; total > 0 {
		d.out["CPUUtilization"] = 100 * min(max((h.CPUBusy-d.before.Host.CPUBusy)/total, 0), 1)
	}
}
