package reconcile

import (
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
)

// planned are the ids of the actions that are due, of these kinds.
func planned(v View, kinds ...Kind) string {
	var out []string
	for _, a := range Plan(v, epoch).Do {
		for _, k := range kinds {
			if a.Kind == k {
				out = append(out, a.ID())
			}
		}
	}
	return strings.Join(out, ", ")
}

const pairThatServes = `group
node 1 up ready told=primary//p
node 2 up ready told=replica/1/r`

// TestPlanParameters: a node that serves is told values that it does not have.
func TestPlanParameters(t *testing.T) {
	timeout := map[string]string{"timeout": "30"}
	for _, c := range []struct {
		name, want string
		change     func(v *View)
	}{
		{"nothing is set", "", func(*View) {}},
		{"a value is set", "parameters r/g-001, parameters r/g-002", func(v *View) {}},
		{"one node has it", "parameters r/g-002", func(v *View) { v.Members[0].Node.Parameters.Told = timeout }},
		{"both have it", "", func(v *View) {
			v.Members[0].Node.Parameters.Told, v.Members[1].Node.Parameters.Told = timeout, timeout
		}},
		{"one was started since", "parameters r/g-001", func(v *View) {
			v.Members[0].Node.Parameters = cache.NodeParameters{Told: timeout, Unsure: true}
			v.Members[1].Node.Parameters.Told = timeout
		}},
		{"one is not ready", "parameters r/g-002", func(v *View) { v.Members[0].Node.Ready = false }},
		{"one does not keep commands back yet", "parameters r/g-001", func(v *View) {
			for i := range v.Members {
				v.Members[i].Parameters = map[string]string{"rename-commands": "KEYS blocked"}
			}
			v.Members[0].Node.Blocked = "keys"
		}},
		{"the group is being created", "", func(v *View) { v.Group.Status = cache.StatusCreating }},
		{"what is told goes on", "parameters r/g-002", func(v *View) { v.InFlight["parameters r/g-001"] = true }},
		{"a value waits for a reboot", "", func(v *View) {
			for i := range v.Members {
				v.Members[i].Parameters = map[string]string{"databases": "20"}
			}
		}},
		{"nothing is set any more", "parameters r/g-001", func(v *View) {
			v.Members[0].Parameters, v.Members[1].Parameters = nil, nil
			v.Members[0].Node.Parameters.Told = timeout
		}},
	} {
		v := parseState(t, c.name, pairThatServes)
		for i := range v.Members {
			m := &v.Members[i]
			m.Engine, m.EngineVersion, m.ParameterGroup = cache.Redis, "7.0", "mine"
			if c.name != "nothing is set" {
				m.Parameters = timeout
			}
		}
		c.change(&v)
		if got := planned(v, actParameters); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestPlanReboot: a primary goes only once a replica has its data, and leads no more
// when it comes back.
func TestPlanReboot(t *testing.T) {
	for _, c := range []struct{ name, state, reboot, stopped, want string }{
		{"a primary with a replica", pairThatServes, "g-001", "", "reboot r/g-001"},
		{"a replica", pairThatServes, "g-002", "", "reboot r/g-002"},
		{"a primary whose replica has nothing", strings.Replace(pairThatServes, "node 2 up ready", "node 2 up", 1), "g-001", "", ""},
		{"a primary alone", "group\nnode 1 up ready told=primary//p,r", "g-001", "", "reboot r/g-001"},
		{"a node alone", "node 1 up ready told=primary//", "g-001", "", "reboot r/g-001"},
		{"a node alone, stopped", "node 1 told=primary//", "g-001", "yes", "start r/g-001"},
		{"a primary, stopped", strings.Replace(pairThatServes, "node 1 up ready", "node 1", 1), "g-001", "yes", "promote r/g"},
		{"a node alone, started", "node 1 up told=primary//", "g-001", "yes", ""},
		{"a node alone, ready", "node 1 up ready told=primary//", "g-001", "yes", "rebooted r/g-001"},
	} {
		v := parseState(t, c.name, c.state)
		v.member(c.reboot).Reboot = &cache.Reboot{Stopped: c.stopped != ""}
		if got := planned(v, actReboot, actRebooted, actStart, actPromote); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
