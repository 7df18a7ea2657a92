package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"holdfast.dev/internal/cache"
)

// Nodes are given another type while they run, up and down, with and without cluster mode,
// and nobody is started anew for it.
func TestResize(t *testing.T) {
	for _, clustered := range []bool{false, true} {
		t.Run(fmt.Sprint("cluster mode ", clustered), func(t *testing.T) {
			b := sized(t, clustered)
			for _, to := range []string{"cache.t3.medium", "cache.t3.micro", "cache.m6g.large"} {
				b.ask(cache.Pending{NodeType: to, Now: true})
				b.eventually("resized to "+to, b.settledAs(to))
				b.limitsAre(t, to)
				if told := b.eventsOf("g"); !slices.Contains(told, "Succeeded applying modification to cache node type to "+to+".") {
					t.Errorf("%s: %q", to, told)
				}
			}
			if n := len(b.read().snapshots); n != 0 {
				t.Errorf("%d snapshots were taken though no process was replaced", n)
			}
		})
	}
}

// Replicas grow before their primary, and shrink after it: whoever comes to lead holds
// what its shard has.
func TestReplicasGrowFirstAndShrinkLast(t *testing.T) {
	for to, want := range map[string][]string{
		"cache.t3.medium": {"r/g-002", "r/g-001"}, "cache.t3.micro": {"r/g-001", "r/g-002"},
	} {
		v := parseState(t, to, "group status=modifying\nnode 1 up ready told=primary//p\nnode 2 up ready told=replica/1/r")
		from := small()
		goal := from
		goal.NodeType = to
		v.Group.Become(from)
		v.Group.Upgrade = &cache.Upgrade{From: from, To: goal}
		for i := range v.Members {
			v.Members[i].Become(from)
		}
		for _, key := range want {
			var due []string
			for _, a := range Plan(v, epoch).Do {
				if a.Kind == actResize {
					due = append(due, a.Target)
				}
			}
			if !slices.Equal(due, []string{key}) {
				t.Fatalf("%s: %q is due, want %s", to, due, key)
			}
			_, id := cache.SplitKey(key)
			v.member(id).Become(goal)
		}
	}
}

// Data that grow too large at the last moment stop it: what has been told goes back, and
// nobody is left with writes held.
func TestDataThatGrowWhileNodesShrink(t *testing.T) {
	for _, clustered := range []bool{false, true} {
		t.Run(fmt.Sprint("cluster mode ", clustered), func(t *testing.T) {
			b := sized(t, clustered)
			holds, last := 0, 1
			if clustered {
				last = 2 // the first shard has been told by then
			}
			b.machine.mu.Lock()
			b.machine.hook = func(_ int, name string) {
				if name != "hold" {
					return
				}
				b.machine.mu.Lock()
				defer b.machine.mu.Unlock()
				if holds++; holds == last {
					b.machine.used = 500 << 20
				}
			}
			b.machine.mu.Unlock()
			b.ask(cache.Pending{NodeType: "cache.t3.micro", Now: true})
			b.eventually("back", b.settledAs("cache.t3.small"))
			b.limitsAre(t, "cache.t3.small")
			b.wantEvent("g: Failed applying modification to cache node type to cache.t3.micro.")
			b.wantEvent("take 500.0 MiB of memory and a node of type cache.t3.micro holds 384.0 MiB")
			b.machine.mu.Lock()
			b.machine.hook, b.machine.used = nil, 0
			b.machine.mu.Unlock()
			// After some keys are deleted the same change works.
			b.ask(cache.Pending{NodeType: "cache.t3.micro", Now: true})
			b.eventually("resized", b.settledAs("cache.t3.micro"))
			b.limitsAre(t, "cache.t3.micro")
		})
	}
}

// An engine that does not take its limit is not said to have it.
func TestALimitThatIsNotTaken(t *testing.T) {
	b := sized(t, false)
	b.machine.mu.Lock()
	b.machine.stubborn = true
	b.machine.mu.Unlock()
	b.ask(cache.Pending{NodeType: "cache.t3.medium", Now: true})
	b.eventually("back", b.settledAs("cache.t3.small"))
	b.wantEvent("g: Failed applying modification to cache node type to cache.t3.medium.")
}

// Whatever is cut short goes on, at whichever call to the outside that is.
func TestAResizeThatIsCutShort(t *testing.T) {
	b := sized(t, true)
	b.stop()
	types := []string{"cache.t3.micro", "cache.t3.medium"}
	for cut := 1; cut <= 14; cut++ {
		to := types[cut%2]
		b.ask(cache.Pending{NodeType: to, Now: true})
		b.cutAfter(cut)
		b.run()
		b.eventually(fmt.Sprintf("resized to %s after a cut at %d", to, cut), b.settledAs(to))
		b.limitsAre(t, to)
		b.stop()
	}
}

func (f *fakeMachine) startsOf(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.starts[key]
}

// A node that dies in the midst comes back as what it had been told, and the rest follows.
func TestANodeDiesWhileItIsResized(t *testing.T) {
	for _, key := range []string{"r/g-001", "r/g-002"} {
		b := sized(t, false)
		var once sync.Once
		b.machine.mu.Lock()
		b.machine.hook = func(_ int, name string) {
			if name == "apply" {
				once.Do(func() { b.machine.kill(key) })
			}
		}
		b.machine.mu.Unlock()
		b.ask(cache.Pending{NodeType: "cache.t3.micro", Now: true})
		b.eventually("resized", b.settledAs("cache.t3.micro"))
		b.eventually("whole", b.whole)
		if n := b.machine.startsOf(key); n != 2 {
			t.Errorf("%s was started %d times", key, n)
		}
	}
}

// Whoever is told its role and addresses is told the limit of its memory with them, as it
// was when that began: it is not resized at the same time, and what is more urgent goes first.
func TestAResizeGivesWay(t *testing.T) {
	for name, c := range map[string]struct {
		state, want string
	}{
		"told":             {"node 1 up ready told=primary//p,r", "resize r/g-001"},
		"to be told":       {"node 1 up ready told=primary//", "configure r/g-001"},
		"being told":       {"node 1 up ready told=primary//p,r\nflying configure r/g-001", ""},
		"other parameters": {"node 1 up ready told=primary//p,r\nflying parameters r/g-001", ""},
		"to be told then":  {"node 1 up ready told=primary//\nflying resize r/g-001", "cancel resize r/g-001"},
	} {
		v := parseState(t, name, "group status=modifying\n"+c.state)
		from := small()
		goal := from
		goal.NodeType = "cache.t3.medium"
		v.Group.Become(from)
		v.Group.Upgrade = &cache.Upgrade{From: from, To: goal}
		v.Members[0].Become(from)
		var got []string
		for line := range strings.SplitSeq(decidedOn(Plan(v, epoch)), "\n") {
			if strings.Contains(line, "resize") || strings.Contains(line, "configure") {
				got = append(got, line)
			}
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
