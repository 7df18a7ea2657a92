package cache

import (
	"encoding/json"
	"testing"
)

func TestSlotsAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]string{
		"0-16383": "0-16383", "5": "5", "10-20,3,5-7": "3,5-7,10-20", "0-1, 3-4": "0-1,3-4",
		"": "", "a": "", "1-": "", "-1": "", "5-4": "", "0-16384": "", "1-5,5-9": "", "1,,2": "", "1-2-3": "",
	} {
		s, err := ParseSlots(text)
		if got := s.String(); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q (%v), want %q", text, got, err, want)
		}
	}
}

func TestEvenSlotsCoverEverythingOnce(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 90, 500} {
		next := 0
		for _, s := range EvenSlots(n) {
			if len(s) != 1 || s[0].First != next {
				t.Fatalf("of %d parts one is %s and should begin at %d", n, s, next)
			}
			if c := s.Count(); c != SlotCount/n && c != SlotCount/n+1 {
				t.Errorf("of %d parts one has %d slots", n, c)
			}
			next = s[0].Last + 1
		}
		if next != SlotCount {
			t.Errorf("%d parts end at %d", n, next)
		}
	}
	if n := (Slots{{0, 9}, {20, 29}}).Common(Slots{{5, 24}}); n != 10 {
		t.Errorf("%d slots are common, want 10", n)
	}
}

// Records from before cluster mode are groups of one shard.
func TestAnEarlierRecordIsAGroupOfOneShard(t *testing.T) {
	var g ReplicationGroup
	old := `{"Region":"r","ID":"g","Members":["g-001","g-002"],"Primary":"g-002"}`
	if err := json.Unmarshal([]byte(old), &g); err != nil {
		t.Fatal(err)
	}
	s := g.Shards()
	if len(s) != 1 || s[0].ID != "0001" || s[0].Primary != "g-002" || len(s[0].Members) != 2 || s[0].Slots.String() != "0-16383" {
		t.Errorf("its shards are %+v", s)
	}
	g.SetPrimary("0001", "g-001")
	if !g.Leads("g-001") || g.Leads("g-002") || g.Primary != "g-001" {
		t.Errorf("it is led by %q", g.Primary)
	}
	g = ReplicationGroup{ClusterEnabled: true, NodeGroups: []NodeGroup{{ID: "0001", Slots: Slots{{0, 5}}}, {ID: "0002", Slots: Slots{{6, 9}}}}}
	g.SetPrimary("0002", "x")
	b, err := json.Marshal(g)
	var again ReplicationGroup
	if err != nil || json.Unmarshal(b, &again) != nil || again.NodeGroups[1].Slots.String() != "6-9" || !again.Leads("x") {
		t.Errorf("it is read back as %+v: %v", again.NodeGroups, err)
	}
}
