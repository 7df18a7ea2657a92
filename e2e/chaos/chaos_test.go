package chaos

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

var (
	seedFlag     = flag.Uint64("seed", shortSeed, "the seed of the first round; those after it have the numbers after it")
	minutesFlag  = flag.Float64("minutes", 0, "go on for so long, with longer rounds; 0 is one short round")
	topologyFlag = flag.String("topology", "", "the one topology to run; empty is all")
	faultsFlag   = flag.String("faults", "", "the numbers of the faults to keep, as in 0,3,4; empty is all")
	episodesFlag = flag.Int("episodes", 0, "the length of a round; 0 is as many as there should be")
	shrinkFlag   = flag.Bool("shrink", false, "play what fails again with fewer and fewer faults")
	savedFlag    = flag.String("saved", "", "a history for TestSaved to check")
	outFlag      = flag.String("out", os.TempDir(), "where the histories of failed rounds go")
)

// Episodes of a short and of a long round.
const shortRound, longRound = 3, 6

// shortSeed is that of the round that everybody waits for: in its three episodes there
// is everything but slots that move, for which there are tests of their own.
const shortSeed = 51

const programVar = "HOLDFAST_CHAOS_PROGRAM"

func TestMain(m *testing.M) {
	flag.Parse()
	// The rounds wait much more than they compute.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(inside(m))
}

// inside builds the program, and runs the tests where packets can be dropped.
func inside(m *testing.M) int {
	if runtime.GOOS != "linux" {
		fmt.Fprintln(os.Stderr, "SKIPPED: these tests look into /proc and need 127.0.0.0/8, so they need Linux")
		return 0
	}
	if os.Getenv(programVar) == "" {
		dir, err := os.MkdirTemp("", "holdfast-chaos-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program := filepath.Join(dir, "holdfast")
		if out, err := exec.Command("go", "build", "-tags", "grpcnotrace", "-o", program, "../../cmd/holdfast").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "cannot build: %v\n%s", err, out)
			return 1
		}
		if err := os.Setenv(programVar, program); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	ended, isolated, err := Isolate(os.Args)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	case ended != nil:
		return ended.ExitCode()
	case !isolated:
		fmt.Fprintln(os.Stderr, "no network namespace of our own is to be had here: nodes are not cut off from each other")
	}
	return m.Run()
}

// bases are the address ranges 127.x that rounds take, one each: below those of the
// other tests, which run at the same time.
var bases struct {
	sync.Mutex
	next int
}

const firstBase, lastBase = 16, 52

func base(t *testing.T) string {
	t.Helper()
	bases.Lock()
	defer bases.Unlock()
	for range lastBase - firstBase + 1 {
		n := firstBase + (bases.next+os.Getpid())%(lastBase-firstBase+1)
		bases.next++
		if !listening(t)[n] {
			return fmt.Sprintf("127.%d", n)
		}
	}
	t.Fatalf("something listens in each range from 127.%d to 127.%d", firstBase, lastBase)
	return ""
}

// listening tells in which ranges 127.x something listens.
func listening(t *testing.T) map[int]bool {
	t.Helper()
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	taken := map[int]bool{}
	for line := range strings.SplitSeq(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) < 4 || f[3] != "0A" { // listening
			continue
		}
		ip, err := hex.DecodeString(f[1][:8]) // in the machine's order: the first number last
		if err == nil && ip[3] == 127 {
			taken[int(ip[2])] = true
		}
	}
	return taken
}

// TestChaos plays the schedules of seeds against each topology.
func TestChaos(t *testing.T) {
	for _, topology := range Topologies {
		if *topologyFlag != topology.Name && (*topologyFlag != "" || topology.ByHand && *minutesFlag == 0) {
			continue
		}
		t.Run(topology.Name, func(t *testing.T) {
			t.Parallel()
			testkit.Engine(t, topology.Engine+"-"+topology.Version)
			end := time.Now().Add(time.Duration(*minutesFlag * float64(time.Minute)))
			episodes := shortRound
			if *minutesFlag > 0 {
				episodes = longRound
			}
			if *episodesFlag > 0 {
				episodes = *episodesFlag
			}
			for seed := *seedFlag; ; seed++ {
				s := Draw(seed, topology, episodes)
				if *faultsFlag != "" {
					s = s.Only(numbers(t, *faultsFlag)...)
				}
				judge(t, s)
				if !time.Now().Before(end) {
					return
				}
			}
		})
	}
}

func numbers(t *testing.T, list string) []int {
	t.Helper()
	var out []int
	for f := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil {
			t.Fatalf("-faults wants numbers: %v", err)
		}
		out = append(out, n)
	}
	return out
}

// play is one round.
func play(t *testing.T, s Schedule) *History {
	t.Helper()
	r := Round{
		Program: os.Getenv(programVar), Dir: filepath.Join(t.TempDir(), "data"), Base: base(t),
		Listen: fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)),
	}
	h, err := r.Run(context.WithoutCancel(t.Context()), s)
	if err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	return h
}

// judge plays a schedule and reports what it finds.
func judge(t *testing.T, s Schedule) {
	t.Helper()
	t.Logf("%s", s)
	h := play(t, s)
	t.Log(h.Figures())
	if h.Stuck != "" {
		t.Log("the group did not become whole")
	}
	found := Check(h)
	if len(found) == 0 {
		for _, f := range h.Faults {
			if f.Note != "" {
				t.Logf("%s", f)
			}
		}
		return
	}
	path := filepath.Join(*outFlag, fmt.Sprintf("holdfast-chaos-%s-%d.json", s.Topology.Name, s.Seed))
	if err := h.Save(path); err != nil {
		t.Error(err)
	}
	t.Errorf("%d violations; the whole history is in %s", len(found), path)
	report(t, h)
	t.Logf("play it again: make chaos SEED=%d TOPOLOGY=%s EPISODES=%d", s.Seed, s.Topology.Name, s.Episodes)
	if *shrinkFlag {
		small := ShrinkFaults(s, func(s Schedule) bool { return len(Check(play(t, s))) > 0 })
		t.Logf("the fewest faults that show a violation:\n%s", small)
	}
}

// report tells what there is to be found in a history, once for each kind, with the
// smallest part that shows it.
func report(t *testing.T, h *History) {
	t.Helper()
	found := Check(h)
	count := map[ViolationKind]int{}
	for _, v := range found {
		if count[v.Kind]++; count[v.Kind] > 1 {
			continue // the same thing, seen at another key
		}
		t.Errorf("%s", v)
		if v.Kind != NotWhole {
			t.Logf("the smallest part of the history that shows it:\n%s", Shrink(h, v))
		}
	}
	t.Logf("violations by kind: %v", count)
}
