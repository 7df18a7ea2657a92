package chaos

import (
	"reflect"
	"slices"
	"testing"
)

func TestDraw(t *testing.T) {
	for _, topology := range Topologies {
		kindsSeen, different := map[FaultKind]bool{}, false
		for seed := range uint64(200) {
			s := Draw(seed, topology, longRound)
			if !reflect.DeepEqual(s, Draw(seed, topology, longRound)) {
				t.Fatalf("seed %d makes two schedules", seed)
			}
			different = different || !reflect.DeepEqual(s.Faults, Draw(seed+1, topology, longRound).Faults)
			taken := map[place]int{}
			for i, f := range s.Faults {
				at := place{f.Episode, string(rune('0' + f.Shard))}
				if taken[at] += f.Kind.takes(); taken[at] > topology.Replicas {
					t.Errorf("episode %d of seed %d takes all nodes of a shard away:\n%s", f.Episode, seed, s)
				}
				if f.ID != i || f.Episode >= longRound || f.After < firstFault || f.For < shortest || f.For > longest*muchLonger || f.For > longest && f.Episode < patient {
					t.Errorf("seed %d draws %s", seed, f)
				}
				kindsSeen[f.Kind] = true
			}
		}
		if !different {
			t.Error("all seeds make the same schedule")
		}
		for _, k := range kinds(topology) {
			if !kindsSeen[k] {
				t.Errorf("%s never happens to %s", k, topology.Name)
			}
		}
	}
}

// TestShrinkFaults: two faults together break something, in whatever episode they stand.
func TestShrinkFaults(t *testing.T) {
	s := Schedule{Episodes: 5}
	for i := range 20 {
		s.Faults = append(s.Faults, Fault{ID: i, Episode: i / 4, Kind: KillReplica})
	}
	played := 0
	small := ShrinkFaults(s, func(s Schedule) bool {
		played++
		has := func(id int) bool { return slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.ID == id }) }
		return has(6) && has(17)
	})
	if len(small.Faults) != 2 || small.Faults[0].ID != 6 || small.Faults[1].ID != 17 || small.Episodes != 2 || small.Faults[1].Episode != 1 {
		t.Errorf("it was shrunk to %s", small)
	}
	if played > 60 {
		t.Errorf("%d rounds were played for it", played)
	}
}
