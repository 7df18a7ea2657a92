package source_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// The harness. Writers run transactions, each of which takes the next number of
// a global counter. A Live reads the server meanwhile. Its entries, written to an
// RDB file and loaded by a fresh server, must be what exactly the transactions 1
// to G make of the same beginning, where G is the counter in the file.

// tx is a transaction: commands between MULTI, INCR of the counter, and EXEC.
type tx [][]string

const (
	harnessKeys = 12_000
	counterKey  = "counter"
)

// world is a server with writers.
type world struct {
	t      testing.TB
	srv    *testkit.Server
	modern bool // knows COPY and PEXPIRETIME: 6.2 and later
	// replica: what is read is one. The engines do not tell their replicas of a
	// consumer that XCLAIM of nothing makes, nor how often pending entries were read again.
	replica bool

	stop atomic.Bool
	wg   sync.WaitGroup
	mu   sync.Mutex
	log  map[int64]tx
	errs []error
	// extra is run by a writer as a transaction, once; ran is how many of them were.
	extra chan tx
	ran   atomic.Int64
	count atomic.Int64
}

func newWorld(t testing.TB, b catalog.Build, opts ...testkit.Option) *world {
	w := &world{t: t, log: map[int64]tx{}, extra: make(chan tx, 16), modern: b.Line() != "redis-6.0"}
	w.srv = testkit.StartServer(t, b, opts...)
	begin(t, w.srv)
	return w
}

// begin makes the beginning, the same on every server.
func begin(t testing.TB, s *testkit.Server) {
	var cmds [][]string
	add := func(args ...string) { cmds = append(cmds, args) }
	for i := range harnessKeys {
		add("SET", fmt.Sprintf("s:%d", i), strings.Repeat(fmt.Sprint(i), 20))
	}
	for i := range 200 {
		add("SET", fmt.Sprintf("acct:%d", i), "1000")
		add("RPUSH", fmt.Sprintf("l:%d", i), "a", "b", fmt.Sprint(i))
		add("ZADD", fmt.Sprintf("z:%d", i), "1.5", "m", fmt.Sprint(i), "n")
	}
	for i := range 6 {
		s := fmt.Sprintf("x:%d", i)
		add("XADD", s, "1-1", "f", "v")
		add("XGROUP", "CREATE", s, "g", "0")
		for j := range 200 {
			add("XADD", s, fmt.Sprintf("2-%d", j+1), "f", fmt.Sprint(j))
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 10 { // streams that are large and seldom read
		s := fmt.Sprintf("q:%d", i)
		for j := range 300 {
			add("XADD", s, fmt.Sprintf("2-%d", j+1), "f", fmt.Sprintf("%x%x%x%x", rnd.Uint64(), rnd.Uint64(), rnd.Uint64(), rnd.Uint64()))
		}
		add("XGROUP", "CREATE", s, "g", "0")
		add("XREADGROUP", "GROUP", "g", "c0", "COUNT", "50", "STREAMS", s, ">")
	}
	for i := range 40 { // values that are large
		for j := range 60 {
			key := fmt.Sprintf("big:%d", i)
			fields := []string{}
			for k := range 50 {
				fields = append(fields, fmt.Sprintf("f%d.%d", j, k), strings.Repeat("v", 20))
			}
			switch i % 5 {
			case 0:
				add(append([]string{"HSET", key}, fields...)...)
			case 1:
				add(append([]string{"RPUSH", key}, fields...)...)
			case 2:
				add(append([]string{"SADD", key}, fields...)...)
			case 3:
				scored := []string{}
				for k := range 50 {
					scored = append(scored, fmt.Sprint(float64(j*k)/3), fields[2*k])
				}
				add(append([]string{"ZADD", key}, scored...)...)
			case 4:
				add("APPEND", key, strings.Repeat(fmt.Sprint(j), 2000))
			}
		}
	}
	pipeline(t, s, cmds)
}

// pipeline runs commands on database 0; each must succeed or answer as it likes.
func pipeline(t testing.TB, s *testkit.Server, cmds [][]string) {
	t.Helper()
	c, err := resp.Dial(t.Context(), at(s))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := resp.NewPipe(t.Context(), c, 0)
	for _, cmd := range cmds {
		for p.Full() {
			if _, err := p.Next(); err != nil {
				t.Fatal(err)
			}
		}
		p.End(resp.AppendCommand(p.Begin(), cmd...))
	}
	for p.Len() > 0 {
		if _, err := p.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// write starts n writers, which run until halt.
func (w *world) write(n int) {
	for i := range n {
		w.wg.Go(func() {
			if err := w.writer(i); err != nil {
				w.mu.Lock()
				w.errs = append(w.errs, err)
				w.mu.Unlock()
			}
		})
	}
	w.t.Cleanup(w.halt)
}

func (w *world) halt() {
	w.stop.Store(true)
	w.wg.Wait()
}

func (w *world) writer(id int) error {
	ctx := context.Background()
	c, err := resp.Dial(ctx, at(w.srv))
	if err != nil {
		return err
	}
	defer c.Close()
	rnd := rand.New(rand.NewPCG(uint64(id), 7))
	seq := 0
	for !w.stop.Load() {
		seq++
		t, extra := w.transaction(rnd, id, seq), int64(0)
		select {
		case t = <-w.extra:
			extra = 1
		default:
		}
		cmds := resp.AppendCommand(nil, "MULTI")
		cmds = resp.AppendCommand(cmds, "INCR", counterKey)
		for _, cmd := range t {
			cmds = resp.AppendCommand(cmds, cmd...)
		}
		cmds = resp.AppendCommand(cmds, "EXEC")
		if err := c.Send(cmds); err != nil {
			return err
		}
		for range len(t) + 2 {
			r, err := c.Receive()
			if err != nil {
				return err
			}
			if err := r.Err(); err != nil {
				return fmt.Errorf("%v: %w", t, err)
			}
		}
		r, err := c.Receive()
		if err != nil {
			return err
		}
		if err := r.Err(); err != nil || len(r.Elems) == 0 {
			return fmt.Errorf("%v: %s %w", t, r.Kind, err)
		}
		w.mu.Lock()
		w.log[r.Elems[0].Int] = t
		w.mu.Unlock()
		w.count.Add(1)
		w.ran.Add(extra)
	}
	return nil
}

// also has a writer run a transaction, and returns when it was run.
func (w *world) also(t tx) {
	w.t.Helper()
	before := w.ran.Load()
	w.extra <- t
	testkit.Wait(w.t, time.Minute, func() bool { return w.ran.Load() > before }, "the transaction to be run")
}

const transfer = `local n = tonumber(ARGV[1])
if tonumber(redis.call('GET', KEYS[1]) or '0') >= n then
  redis.call('DECRBY', KEYS[1], n)
  redis.call('INCRBY', KEYS[2], n)
  redis.call('SET', 'undeclared:' .. ARGV[2], ARGV[1])
end
return 1`

// transaction is one of many kinds; what it does depends on nothing but the data.
func (w *world) transaction(rnd *rand.Rand, id, seq int) tx {
	var t tx
	add := func(args ...string) { t = append(t, args) }
	acct := func() string { return fmt.Sprintf("acct:%d", rnd.IntN(200)) }
	str := func() string { return fmt.Sprintf("s:%d", rnd.IntN(harnessKeys)) }
	n := strconv.Itoa(1 + rnd.IntN(50))
	text := fmt.Sprintf("w%d.%d", id, seq)
	db := strconv.Itoa(1 + rnd.IntN(3))
	stream := fmt.Sprintf("x:%d", rnd.IntN(6))
	if rnd.IntN(100) == 0 {
		stream = fmt.Sprintf("q:%d", rnd.IntN(10))
	}
	switch rnd.IntN(16) {
	case 0, 1:
		a, b := acct(), acct()
		add("DECRBY", a, n)
		add("INCRBY", b, n)
		add("SET", str(), text)
	case 2:
		add("EVAL", transfer, "2", acct(), acct(), n, strconv.Itoa(rnd.IntN(50)))
	case 3:
		a, b := fmt.Sprintf("r:%d", rnd.IntN(20)), fmt.Sprintf("r:%d", rnd.IntN(20))
		add("SET", a, text)
		add("RENAME", a, b)
	case 4:
		k := fmt.Sprintf("m:%d", rnd.IntN(30))
		add("SET", k, text)
		add("MOVE", k, db)
		add("SELECT", db)
		add("MOVE", k, "0")
		add("APPEND", k, n)
		add("SELECT", "0")
	case 5:
		k := fmt.Sprintf("c:%d", rnd.IntN(30))
		if w.modern {
			add("COPY", str(), k, "DB", db, "REPLACE")
		}
		add("SELECT", db)
		add("SET", k+"!", text)
		add("DEL", fmt.Sprintf("c:%d", rnd.IntN(30)))
		add("SELECT", "0")
	case 6: // lives for an hour or so
		k := fmt.Sprintf("t:%d", rnd.IntN(100))
		add("SET", k, text)
		add("PEXPIREAT", k, strconv.FormatInt(4_000_000_000_000+int64(rnd.IntN(1_000_000)), 10))
		add("PEXPIREAT", fmt.Sprintf("s:%d", rnd.IntN(100)), strconv.FormatInt(4_000_000_000_000+int64(rnd.IntN(1_000_000)), 10))
		add("PERSIST", fmt.Sprintf("s:%d", rnd.IntN(100)))
	case 7: // expires while it is read
		k := fmt.Sprintf("v:%d", rnd.IntN(200))
		add("SET", k, text)
		add("PEXPIREAT", k, strconv.FormatInt(time.Now().UnixMilli()+int64(rnd.IntN(400)), 10))
	case 8:
		s := fmt.Sprintf("y:%d", id)
		add("XADD", s, fmt.Sprintf("%d-1", seq), "f", text)
		add("XTRIM", s, "MAXLEN", "50")
	case 9, 10: // tells nobody
		add("XREADGROUP", "GROUP", "g", "c"+strconv.Itoa(rnd.IntN(2)), "COUNT", "1", "STREAMS", stream, ">")
		add("XACK", stream, "g", fmt.Sprintf("2-%d", 1+rnd.IntN(100)))
	case 11:
		add("XCLAIM", stream, "g", "c2", "0", fmt.Sprintf("2-%d", 1+rnd.IntN(100)), "JUSTID")
		add("XREADGROUP", "GROUP", "g", "c1", "COUNT", "3", "STREAMS", stream, "0") // counts deliveries, and nothing else
		if rnd.IntN(10) == 0 {
			add("XGROUP", "SETID", stream, "g", fmt.Sprintf("2-%d", 1+rnd.IntN(100)))
		}
	case 12: // a database that may not have been there
		add("SELECT", strconv.Itoa(10+rnd.IntN(6)))
		add("SET", fmt.Sprintf("d:%d", rnd.IntN(50)), text)
		add("DEL", fmt.Sprintf("d:%d", rnd.IntN(50)))
		add("SELECT", "0")
	case 13:
		i := strconv.Itoa(rnd.IntN(200))
		add("RPUSH", "l:"+i, text)
		add("LPOP", "l:"+i)
		add("ZINCRBY", "z:"+i, "0.25", "m")
		add("HSET", "h:"+i, text[:2], text)
		add("SADD", "u:"+i, n)
	case 14:
		i := rnd.IntN(3) // a few large values that change often
		switch k := fmt.Sprintf("big:%d", i); i % 5 {
		case 0:
			add("HSET", k, "f0."+n, text)
		case 1:
			add("LSET", k, n, text)
		case 2:
			add("SADD", k, text)
		}
	case 15:
		i := rnd.IntN(2000) // many that change seldom
		if i < 40 {
			add("DEL", fmt.Sprintf("big:%d", i))
		} else {
			add("SETRANGE", "big:4", n, text)
		}
	}
	return t
}

// shot is what a Live yielded: the file, and what it says of itself.
type shot struct {
	report source.LiveReport
	file   []byte
	took   time.Duration
}

// shoot reads the server by a Live.
func shoot(ctx context.Context, src *source.Live, version int) (*shot, error) {
	begun := time.Now()
	var entries []flow.Entry
	for e, err := range src.Entries(ctx) {
		if err != nil {
			return nil, err
		}
		entries = append(entries, e.Clone())
	}
	s := &shot{report: src.Report(), took: time.Since(begun)}
	if s.report.Through {
		entries = last(entries)
	} else if int64(len(entries)) != s.report.Keys {
		return nil, fmt.Errorf("%d entries, the report says %d", len(entries), s.report.Keys)
	}
	sort.SliceStable(entries, func(i, j int) bool { return entries[i].DB < entries[j].DB })
	var b bytes.Buffer
	w, err := rdb.NewWriter(&b, rdb.HeaderOf(version))
	if err != nil {
		return nil, err
	}
	for i := range entries {
		e := &entries[i]
		if err := w.Write(&rdb.Entry{DB: e.DB, Key: e.Key, Type: e.Type, Value: e.Value, ExpireAt: e.ExpireAt, Idle: -1, Freq: -1}); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	s.file = b.Bytes()
	return s, nil
}

// last is what a target holds that was written all that came, in that order.
func last(all []flow.Entry) (out []flow.Entry) {
	at := map[flow.Key]int{}
	for i, e := range all {
		at[flow.Key{DB: e.DB, Name: string(e.Key)}] = i
	}
	for i, e := range all {
		if !e.Deleted && at[flow.Key{DB: e.DB, Name: string(e.Key)}] == i {
			out = append(out, e)
		}
	}
	return out
}

// fileVersion is the RDB version that a build writes.
func fileVersion(b catalog.Build) int {
	switch b.Line() {
	case "redis-6.0":
		return 9
	case "redis-7.0":
		return 10
	case "redis-8.0":
		return 12
	case "valkey-9.1":
		return 80
	}
	return 11
}

// differences loads a shot into one fresh server, replays the transactions up to
// its counter in another, and compares.
func (w *world) differences(s *shot) []string {
	w.t.Helper()
	w.halt()
	for _, err := range w.errs {
		w.t.Fatal(err)
	}
	dir := w.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dump.rdb"), s.file, 0o600); err != nil {
		w.t.Fatal(err)
	}
	loaded := testkit.StartServer(w.t, w.srv.Build, testkit.Dir(dir))
	defer loaded.Kill()
	g := int64(0)
	if text, ok := loaded.Must("GET", counterKey).(string); ok {
		var err error
		if g, err = strconv.ParseInt(text, 10, 64); err != nil {
			w.t.Fatal(err)
		}
	}
	replayed := testkit.StartServer(w.t, w.srv.Build)
	defer replayed.Kill()
	begin(w.t, replayed)
	var cmds [][]string
	for i := int64(1); i <= g; i++ {
		t, ok := w.log[i]
		if !ok {
			w.t.Fatalf("transaction %d of %d is not in the log", i, len(w.log))
		}
		cmds = append(cmds, []string{"MULTI"}, []string{"INCR", counterKey})
		cmds = append(cmds, t...)
		cmds = append(cmds, []string{"EXEC"})
	}
	pipeline(w.t, replayed, cmds)
	var out []string
	testkit.Wait(w.t, 10*time.Second, func() bool {
		got, want := content(w.t, loaded), content(w.t, replayed)
		if w.replica {
			asReplicated(got)
			asReplicated(want)
		}
		out = compare(got, want)
		// What expires soon must have expired in both.
		return !slices.ContainsFunc(out, func(s string) bool { return strings.Contains(s, `"v:`) })
	}, "keys to expire")
	w.t.Logf("%d of %d transactions are in the file", g, len(w.log))
	return out
}

// content reads a server key by key, in a form that does not depend on encodings
// nor on when something was replayed.
func content(t testing.TB, s *testkit.Server) map[string]string {
	t.Helper()
	return contentOf(t, source.NewScan(at(s), source.ScanOptions{}))
}

func contentOf(t testing.TB, src flow.Source) map[string]string {
	t.Helper()
	defer src.Close()
	out := map[string]string{}
	for e, err := range src.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		value, err := flowtest.Value(e)
		if err != nil {
			t.Fatal(err)
		}
		v, err := rdb.Decode(e.Type, e.Version, value)
		if err != nil {
			t.Fatal(err)
		}
		out[fmt.Sprintf("%d/%q", e.DB, e.Key)] = fmt.Sprintf("%d %s", e.ExpireAt, describe(v))
	}
	return out
}

func describe(v *rdb.Value) string {
	var parts []string
	for _, i := range v.Items {
		parts = append(parts, string(i))
	}
	for _, f := range v.Fields {
		parts = append(parts, fmt.Sprintf("%q=%q@%d", f.Name, f.Value, f.ExpireAt))
	}
	for _, m := range v.Members {
		parts = append(parts, fmt.Sprintf("%q=%v", m.Name, m.Score))
	}
	if v.Class != rdb.ClassList {
		sort.Strings(parts)
	}
	if s := v.Stream; s != nil {
		for _, e := range s.Entries {
			parts = append(parts, fmt.Sprintf("%v %q", e.ID, e.Pairs))
		}
		parts = append(parts, fmt.Sprint("last ", s.Meta.Last))
		for _, g := range s.Groups {
			parts = append(parts, fmt.Sprintf("group %s %v", g.Name, g.Last))
			for _, p := range g.Pending {
				parts = append(parts, fmt.Sprint("pending ", p.ID, p.Deliveries))
			}
			for _, c := range g.Consumers {
				parts = append(parts, fmt.Sprintf("consumer %s %v", c.Name, c.Pending))
			}
		}
	}
	return v.Class.String() + " " + string(v.Text) + strings.Join(parts, ",")
}

var (
	idler      = regexp.MustCompile(`consumer \w+ \[\],?`)
	deliveries = regexp.MustCompile(`(pending \{\d+ \d+\}) \d+`)
)

func asReplicated(m map[string]string) {
	for k, v := range m {
		v = deliveries.ReplaceAllString(v, "$1")
		m[k] = strings.TrimSuffix(idler.ReplaceAllString(v, ""), ",")
	}
}

func compare(got, want map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		g, ok := got[k]
		switch {
		case !ok:
			out = append(out, k+" is missing")
		case g != want[k]:
			out = append(out, fmt.Sprintf("%s is %s, want %s", k, clip(g), clip(want[k])))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			out = append(out, k+" should not be there")
		}
	}
	return out
}

func clip(s string) string {
	if len(s) > 160 {
		return s[:80] + "…" + s[len(s)-80:]
	}
	return s
}
