package reconcile

import (
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
)

// upgradingShards is a group of two shards, the first of which is upgraded from build "new" to
// "newer"; node 9, if there is one, is the stand-in of that.
func upgradingShards(t *testing.T, nodes string, change func(*View)) View {
	v := parseState(t, t.Name(), "group status=modifying\nshard 0001 slots=0-8191 primary=1\nshard 0002 slots=8192-16383 primary=5\n"+strings.TrimSpace(nodes)+
		"\nnode 5 shard=0002 up ready told=primary//")
	v.Group.Upgrade = &cache.Upgrade{From: formerKind, To: laterKind}
	for i := range v.Members {
		m := &v.Members[i]
		if m.ID == "g-009" {
			m.StandIn = true
			v.Group.Upgrade.StandIns = []string{m.ID}
		}
		m.Become(formerKind)
		if m.Node.Build == laterKind.Build {
			m.Become(laterKind)
		}
		m.Node.Proved = m.Node.Process
	}
	if change != nil {
		change(&v)
	}
	return v
}

// TestTheNextStepOfAnUpgradeOfACluster: who is to do what, at each stage of the road.
func TestTheNextStepOfAnUpgradeOfACluster(t *testing.T) {
	const (
		lead    = "node 1 shard=0001 up ready told=primary//c\n"
		replica = "node 2 shard=0001 up ready told=replica/1/\n"
		standIn = "node 9 shard=0001 up ready told=replica/1/ build=newer\n"
	)
	unproved := func(id string) func(*View) {
		return func(v *View) { v.member(id).Node.Proved = nil }
	}
	led := func(by string) func(*View) {
		return func(v *View) { v.Group.NodeGroups[0].Primary = by }
	}
	failed := func(also func(*View)) func(*View) {
		return func(v *View) {
			v.Group.Upgrade.Failed = "why"
			if also != nil {
				also(v)
			}
		}
	}
	handing := func(v *View) {
		v.Group.Upgrade.Handing = &cache.Handover{NodeGroup: "0001", From: "g-001", To: "g-009"}
	}
	for _, c := range []struct {
		name, nodes string
		change      func(*View)
		want        string
	}{
		{"a stand-in is wanted", lead + replica, nil, "recruit r/g 0001"},
		{"which is started like any other", lead + replica + "node 9 shard=0001 status=creating build=newer", nil, "start r/g-009"},
		{"and introduced", lead + replica + strings.Replace(standIn, "up", "status=creating up", 1), nil, "join r/g-009"},
		{"and compared", lead + replica + standIn, unproved("g-009"), "prove r/g-009"},
		{"before a replica is started anew", lead + replica + standIn, nil, "exchange r/g-002"},
		{"one at a time", lead + replica + "node 3 shard=0001 up told=replica/1/ build=newer\n" + standIn, nil, "ready r/g-003"},
		{"one that is dead first", lead + replica + "node 3 shard=0001\n" + standIn, nil, "exchange r/g-003"},
		{"not while it is backed up", lead + replica + standIn + "flying ready r/g-002\nflying snapshot r/s", nil, ""},
		{"a replica takes over", lead + strings.Replace(replica, "\n", " build=newer\n", 1) + standIn, nil, "hand-over r/g 0001"},
		{"once it is compared", lead + strings.Replace(replica, "\n", " build=newer\n", 1) + standIn, unproved("g-002"), "prove r/g-002"},
		{"the stand-in, where there is none", lead + standIn, nil, "hand-over r/g 0001"},
		{"nobody is told anything meanwhile", lead + "node 9 shard=0001 up told=replica/1/ build=newer", handing, "hand-over r/g 0001"},
		{"unless the primary dies", "node 1 shard=0001 told=primary//\n" + standIn, handing, "promote r/g 0001"},
		{"the former primary follows", "node 1 shard=0001 up told=replica/9/\n" + strings.Replace(standIn, "replica/1/", "primary//", 1), led("g-009"), "exchange r/g-001"},
		{"and gets the lead back", "node 1 shard=0001 up ready told=replica/9/ build=newer\n" + strings.Replace(standIn, "replica/1/", "primary//", 1), led("g-009"), "hand-over r/g 0001"},
		{"the stand-in goes", "node 1 shard=0001 up ready told=primary//c build=newer\n" + standIn, nil, "dismiss r/g-009"},
		{"not while a replica is away", "node 1 shard=0001 up ready told=primary//c build=newer\nnode 2 shard=0001 build=newer\n" + standIn, nil, "start r/g-002"},
		{"for good", "node 1 shard=0001 up ready told=primary//c build=newer\nnode 9 shard=0001 departed build=newer", nil, "remove r/g-009"},
		{"the next shard is begun then", "node 1 shard=0001 up ready told=primary//c build=newer\n", nil, "recruit r/g 0002"},
		{"of a failed one the stand-in goes at once", lead + replica + standIn, failed(nil), "dismiss r/g-009"},
		{"replicas go back", lead + strings.Replace(replica, "\n", " build=newer\n", 1) + standIn, failed(nil), "exchange r/g-002"},
		{"but do not with a new primary", "node 1 shard=0001 up told=replica/9/\n" + strings.Replace(standIn, "replica/1/", "primary//", 1), failed(led("g-009")), "exchange r/g-001"},
		{"nobody comes", lead + "node 9 shard=0001 status=creating build=newer\nstep start r/g-009 attempts=6 error=dead wait=1m", nil, "stop-short r/g"},
		{"what differs is not taken", lead + standIn + "step prove r/g-009 attempts=10 error=differs wait=1m", unproved("g-009"), "stop-short r/g"},
		{"the end", "node 1 shard=0001 up ready told=primary// build=newer\nforward c 1,5\n", func(v *View) { v.member("g-005").Node.Build = "newer"; v.member("g-005").Become(laterKind) }, "upgraded r/g"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, a := range Plan(upgradingShards(t, c.nodes, c.change), epoch).Do {
				if a.Kind != actConfigure && a.Kind != actForward && a.Kind != actParameters && a.Kind != actUnforward {
					got = append(got, a.ID())
				}
			}
			if strings.Join(got, ", ") != c.want {
				t.Errorf("it is %q and should be %q", strings.Join(got, ", "), c.want)
			}
		})
	}
}
