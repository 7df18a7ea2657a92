package chaos

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// made is a history written by hand. Times are in steps of a second.
type made struct{ h History }

func (m *made) op(o Op) *made {
	o.ID, o.Key = len(m.h.Ops), "k"
	o.Invoke, o.Return = o.Invoke*int64(time.Second), o.Return*int64(time.Second)
	if o.Shard == "" {
		o.Shard = "0001"
	}
	m.h.Ops = append(m.h.Ops, o)
	return m
}

// write is acknowledged and on one replica.
func (m *made) write(value string, from, to int64, run string) *made {
	return m.op(Op{Kind: Write, Value: value, Invoke: from, Return: to, Run: run, Term: "t", Reached: 1})
}

func (m *made) read(value string, from, to int64, run string) *made {
	return m.op(Op{Kind: Read, Value: value, Invoke: from, Return: to, Run: run, Term: "t"})
}

func (m *made) look(at int64, primary bool, value string, members ...string) *made {
	m.h.Looks = append(m.h.Looks, Look{
		At: at * int64(time.Second), Key: "k", Shard: "0001", Node: "n", Primary: primary, Value: value, Members: members,
	})
	return m
}

func (m *made) takes(n int) *made {
	m.h.Faults = append(m.h.Faults, Applied{Takes: n, Where: "0001"})
	return m
}

// kinds are those of the violations of a history.
func kindsOf(h *History) string {
	var out []string
	for _, v := range Check(h) {
		out = append(out, string(v.Kind))
	}
	return strings.Join(out, ", ")
}

var cases = []struct {
	name string
	h    *made
	want string
}{
	{"nothing", new(made), ""},
	{"a write that is there", new(made).write("a", 1, 2, "p").look(3, true, "a", "a"), ""},
	{"a write that is lost", new(made).write("a", 1, 2, "p").write("b", 3, 4, "p").look(5, true, "b", "b"), "lost"},
	{"it had reached one replica and two nodes were taken away", new(made).takes(1).takes(1).write("a", 1, 2, "p").look(3, true, ""), ""},
	{"one node was taken away", new(made).takes(1).write("a", 1, 2, "p").look(3, true, ""), "lost, stale"},
	{"no replica had it", new(made).op(Op{Kind: Write, Value: "a", Invoke: 1, Return: 2, Run: "p", Term: "t"}).look(3, true, ""), ""},
	{"nobody answered, and it is not there", new(made).op(Op{Kind: Write, Value: "a", Invoke: 1, Run: "p"}).look(3, true, ""), ""},
	{"nobody answered, and it is there", new(made).op(Op{Kind: Write, Value: "a", Invoke: 1, Run: "p"}).look(3, true, "a", "a"), ""},
	{"kept once and not twice", new(made).op(Op{Kind: Write, Value: "a", Invoke: 1, Run: "p"}).look(3, true, "a", "a").look(4, true, ""), "not kept"},
	{"there though nobody wrote it", new(made).look(3, true, "", "a"), "strange"},
	{
		"there though it was refused",
		new(made).op(Op{Kind: Write, Value: "a", Invoke: 1, Return: 2, Refused: "READONLY", Run: "p"}).look(3, true, "a", "a"),
		"strange",
	},
	{"a replica that has less", new(made).write("a", 1, 2, "p").look(3, true, "a", "a").look(4, false, ""), "apart"},
	{"a replica that has the same in another order", new(made).write("a", 1, 2, "p").write("b", 3, 4, "p").look(5, true, "b", "b", "a").look(6, false, "b", "a", "b"), ""},
	{"one after the other", new(made).write("a", 1, 2, "p").write("b", 3, 4, "q").look(5, true, "b", "a", "b"), ""},
	{"the old one again", new(made).write("a", 1, 2, "p").write("b", 3, 4, "q").write("c", 5, 6, "p").look(7, true, "c", "a", "b", "c"), "two primaries"},
	{"perhaps one after the other", new(made).write("a", 1, 4, "p").write("b", 3, 5, "q").write("c", 2, 6, "p").look(7, true, "b", "a", "b", "c"), ""},
	{"read after it was replaced", new(made).write("a", 1, 2, "p").write("b", 3, 4, "p").read("a", 5, 6, "q").look(7, true, "b", "a", "b"), "stale"},
	{"read while it was replaced", new(made).write("a", 1, 2, "p").write("b", 3, 6, "p").read("a", 4, 5, "p").look(7, true, "b", "a", "b"), ""},
	{
		"two readers who see it the other way round",
		new(made).write("a", 1, 9, "p").write("b", 1, 9, "p").read("a", 2, 3, "p").read("b", 4, 5, "p").read("a", 6, 7, "p").look(10, true, "a", "a", "b"),
		"not linearizable",
	},
	{
		"a write without an answer that is read late",
		new(made).op(Op{Kind: Write, Value: "b", Invoke: 1, Run: "p"}).write("a", 2, 3, "p").read("a", 4, 5, "p").read("b", 6, 7, "p").look(8, true, "b", "a", "b"),
		"",
	},
	{
		"a write without an answer that comes and goes",
		new(made).op(Op{Kind: Write, Value: "b", Invoke: 1, Run: "p"}).op(Op{Kind: Write, Value: "a", Invoke: 2, Return: 3, Run: "p", Term: "t"}).
			read("b", 4, 5, "p").read("a", 6, 7, "p").look(8, true, "a", "a", "b"),
		"not linearizable",
	},
}

func TestCheck(t *testing.T) {
	for _, c := range cases {
		if got := kindsOf(&c.h.h); got != c.want {
			t.Errorf("%s: found %q, want %q\n%s", c.name, got, c.want, &c.h.h)
		}
	}
}

// TestAGroupThatStaysBroken is found too.
func TestAGroupThatStaysBroken(t *testing.T) {
	h := History{Stuck: "two primaries"}
	if got := kindsOf(&h); got != string(NotWhole) {
		t.Errorf("found %q", got)
	}
}

// long is a history of one key in which clients take turns, each write read once.
func long(writes int) *made {
	m := new(made)
	var all []string
	for i := range int64(writes) {
		value := fmt.Sprint("v", i)
		all = append(all, value)
		m.write(value, 4*i+1, 4*i+2, "p").read(value, 4*i+3, 4*i+4, "p")
	}
	return m.look(int64(4*writes+9), true, all[writes-1], all...)
}

func TestShrink(t *testing.T) {
	if v := Check(&long(60).h); len(v) > 0 {
		t.Fatalf("a good history has %v", v)
	}
	broken := map[ViolationKind]struct {
		h         *made
		ops, seen int
	}{}
	add := func(k ViolationKind, ops, seen int, h *made) {
		broken[k] = struct {
			h         *made
			ops, seen int
		}{h, ops, seen}
	}
	m := long(60)
	m.h.Looks[0].Members = slices.DeleteFunc(m.h.Looks[0].Members, func(s string) bool { return s == "v31" })
	add(Lost, 1, 1, m)
	add(NotLinearizable, 3, 0, long(60).read("v7", 100, 101, "p"))
	add(TwoPrimaries, 3, 0, long(60).write("x", 100, 101, "q"))
	for kind, b := range broken {
		found := Check(&b.h.h)
		i := slices.IndexFunc(found, func(v Violation) bool { return v.Kind == kind })
		if i < 0 {
			t.Errorf("%s is not found, but %v", kind, found)
			continue
		}
		small := Shrink(&b.h.h, found[i])
		if len(small.Ops) > b.ops || len(small.Looks) != b.seen {
			t.Errorf("%s was shrunk to %d operations and %d looks, want %d and %d:\n%s", kind, len(small.Ops), len(small.Looks), b.ops, b.seen, small)
		}
		if !strings.Contains(kindsOf(small), string(kind)) {
			t.Errorf("%s is not in what is left:\n%s", kind, small)
		}
	}
}

func TestHistoryIsReadAgain(t *testing.T) {
	path := t.TempDir() + "/h.json"
	want := long(3).takes(1)
	if err := want.h.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || got.String() != want.h.String() {
		t.Errorf("%v\n%s\nwant\n%s", err, got, &want.h)
	}
}

// TestSaved checks a history that an earlier run has saved.
func TestSaved(t *testing.T) {
	if *savedFlag == "" {
		t.Skip("-saved names no history")
	}
	h, err := Load(*savedFlag)
	if err != nil {
		t.Fatal(err)
	}
	report(t, h)
}
