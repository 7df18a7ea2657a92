package engine

import (
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
)

// A node is started while slots are on the move: of those its own file counts, by the
// primaries of today; of all others the specification.
func TestWhatIsOnTheMoveIsKeptAsTheNodeHadIt(t *testing.T) {
	const gave = `aa 127.0.0.1:6379@16379 myself,master - 0 0 3 connected 0-49 [50->-cc]
cc 127.0.0.3:6379@16379 master - 0 0 5 connected 51-199
vars currentEpoch 5 lastVoteEpoch 0
`
	const got = `cc 127.0.0.3:6379@16379 myself,master - 0 0 5 connected 60-199 [59-<-aa] [300-<-aa]
aa 127.0.0.1:6379@16379 master - 0 0 3 connected 0-59 200
`
	for name, c := range map[string]struct {
		self, old string
		moving    cache.Slots
		led       bool // the first shard is led by bb now
		want      []string
	}{
		"nothing moves": {"aa", gave, nil, false, []string{"aa 0-99 200", "cc 100-199"}},
		"it gave some away": {
			"aa", gave,
			cache.Slots{{First: 40, Last: 99}},
			false,
			[]string{"aa 0-50 200 [50->-cc]", "cc 51-199"},
		},
		"it got some":         {"cc", got, cache.Slots{{First: 40, Last: 99}}, false, []string{"aa 0-59 200", "cc 60-199 [59-<-aa]"}},
		"only what moves":     {"cc", got, cache.Slots{{First: 90, Last: 99}}, false, []string{"aa 0-89 200", "cc 90-199"}},
		"by a failover since": {"cc", got, cache.Slots{{First: 40, Last: 99}}, true, []string{"bb 0-59 200", "cc 60-199 [59-<-bb]"}},
		"there is no file":    {"aa", "", cache.Slots{{First: 40, Last: 99}}, false, []string{"aa 0-99 200", "cc 100-199"}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := threeNodes(c.self)
			spec.Moving = c.moving
			if c.led {
				spec.Nodes[1].Primary, spec.Nodes[1].Slots = "", spec.Nodes[0].Slots
				spec.Nodes[0].Primary, spec.Nodes[0].Slots = "bb", nil
			}
			text := nodesText(dialect{engine: cache.Redis, version: version{7, 0, 15}}, spec, "tls-port=0", c.old)
			var have []string
			for line := range strings.Lines(text) {
				if head, slots, ok := strings.Cut(strings.TrimSpace(line), " connected "); ok && strings.Contains(head, "master") {
					have = append(have, head[:2]+" "+slots)
				}
			}
			if strings.Join(have, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("it is\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestAClusterIsWholeWhoeverHasWhatIsOnTheMove(t *testing.T) {
	s := seat{slots: "0-59,200"}
	want := cache.Slots{{First: 0, Last: 99}, {First: 200, Last: 200}}
	if s.holds(want, nil) || s.holds(want, cache.Slots{{First: 70, Last: 99}}) {
		t.Error("slots that are missing are not missed")
	}
	if !s.holds(want, cache.Slots{{First: 50, Last: 120}}) {
		t.Error("slots on the move are missed")
	}
}
