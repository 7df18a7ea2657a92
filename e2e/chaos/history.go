package chaos

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// OpKind is what a client did.
type OpKind string

// The two kinds of operations.
const (
	Write OpKind = "write"
	Read  OpKind = "read"
)

// Op is one operation of a client. Times are nanoseconds since the round began.
type Op struct {
	ID      int
	Client  int
	Episode int
	Key     string
	// Shard holds the key; empty where keys change shards.
	Shard string `json:",omitempty"`
	Kind  OpKind
	// Value was written, or read: "" is no value. No value is written twice.
	Value string
	// Invoke is before the first byte was sent, Return after the answer had come; 0
	// when none did.
	Invoke, Return int64
	// Refused is the answer that says that nothing was done.
	Refused string `json:",omitempty"`
	// Run is the engine's run id, known from the connection; Term the replication id
	// at the instant of the operation.
	Run  string
	Term string `json:",omitempty"`
	// Reached is how many replicas had the write soon after its Return, at least.
	Reached int `json:",omitempty"`
}

// Done tells whether the operation is known to have happened.
func (o Op) Done() bool { return o.Return != 0 && o.Refused == "" }

// reign is a term of one engine.
func (o Op) reign() string { return o.Run + " " + o.Term }

func (o Op) String() string {
	took := "no answer"
	switch {
	case o.Refused != "":
		took = "refused: " + o.Refused
	case o.Return != 0:
		took = fmt.Sprintf("done %s by %.8s in term %.8s", stamp(o.Return), o.Run, o.Term)
		if o.Kind == Write {
			took += fmt.Sprintf(", on %d replicas", o.Reached)
		}
	default:
		took += fmt.Sprintf(" of %.8s", o.Run)
	}
	return fmt.Sprintf("%s client %d %s %s %q: %s", stamp(o.Invoke), o.Client, o.Kind, o.Key, o.Value, took)
}

// Look is what a node held of a key while nobody wrote and the group was whole.
type Look struct {
	Episode int
	At      int64
	Key     string
	Shard   string `json:",omitempty"`
	// Node is its name; Primary tells whether it led.
	Node    string
	Primary bool
	Value   string
	Members []string
}

func (l Look) String() string {
	role := "replica"
	if l.Primary {
		role = "primary"
	}
	return fmt.Sprintf("%s %s %s holds %s %q and %d writes of it", stamp(l.At), role, l.Node, l.Key, l.Value, len(l.Members))
}

// Applied is a fault as it came about.
type Applied struct {
	Fault
	At int64
	// On is what was hit, Shard where; Shard is empty where it is no matter of one.
	On    string
	Where string
	// Takes is how many nodes of the shard may have been without their data by it.
	Takes int
	// Skipped: nothing was done. Note says why, or what else there is to know.
	Skipped bool
	Note    string
}

func (a Applied) String() string {
	return fmt.Sprintf("%s fault #%d %s of %s %s %s", stamp(a.At), a.ID, a.Kind, a.On, a.For, a.Note)
}

// History is all that was seen of a round.
type History struct {
	Schedule Schedule
	Faults   []Applied
	Ops      []Op
	Looks    []Look
	// Took is how long each episode took until all was whole.
	Took []time.Duration
	// Stuck says how a group looked that did not become whole again.
	Stuck string `json:",omitempty"`
}

// taken is how many nodes may have been taken away from a shard in an episode. Of a
// key that changes shards it is those of all shards.
func (h *History) taken(episode int, shard string) int {
	n := 0
	for _, f := range h.Faults {
		if f.Episode == episode && (shard == "" || f.Where == shard || f.Where == "") {
			n += f.Takes
		}
	}
	return n
}

func stamp(ns int64) string { return fmt.Sprintf("%10.6f", time.Duration(ns).Seconds()) }

// String is everything in the order of its beginning, a line each.
func (h *History) String() string {
	type line struct {
		at   int64
		text string
	}
	var lines []line
	for _, f := range h.Faults {
		lines = append(lines, line{f.At, f.String()})
	}
	for _, o := range h.Ops {
		lines = append(lines, line{o.Invoke, o.String()})
	}
	for _, l := range h.Looks {
		lines = append(lines, line{l.At, l.String()})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.at, b.at) })
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintln(&b, l.text)
	}
	b.WriteString(h.Stuck)
	return b.String()
}

// Save writes the history as JSON.
func (h *History) Save(path string) error {
	b, err := json.MarshalIndent(h, "", " ")
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot write the history: %w", err)
	}
	return nil
}

// Load reads what Save wrote.
func Load(path string) (*History, error) {
	b, err := os.ReadFile(path)
	var h History
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the history %s: %w", path, err)
	}
	return &h, nil
}

// recorder collects a history from many goroutines.
type recorder struct {
	began time.Time
	mu    sync.Mutex
	h     History
}

func (r *recorder) now() int64 { return max(1, int64(time.Since(r.began))) }

func (r *recorder) op(o Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.ID = len(r.h.Ops)
	r.h.Ops = append(r.h.Ops, o)
}

func (r *recorder) look(l Look) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Looks = append(r.h.Looks, l)
}

func (r *recorder) fault(a Applied) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Faults = append(r.h.Faults, a)
}

// keys are those of all operations so far.
func (r *recorder) keys() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]bool{}
	var out []string
	for _, o := range r.h.Ops {
		if !seen[o.Key] {
			seen[o.Key] = true
			out = append(out, o.Key)
		}
	}
	return out
}
