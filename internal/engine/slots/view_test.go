package slots

import "testing"

// Flags are words: a node that takes part in no election has not failed.
func TestWhatANodeSees(t *testing.T) {
	v, err := readView(`aa 127.0.0.1:7000@17000,,tls-port=0 myself,master,nofailover - 0 0 4 connected 0-9 11 [3->-bb] [20-<-bb]
bb 127.0.0.2:7000@17000 master,fail - 0 0 5 disconnected 20
cc 127.0.0.3:7000@17000 slave,nofailover aa 0 0 4 connected
dd 127.0.0.4:7000@17000 handshake - 0 0 0 disconnected
ee 127.0.0.5:7000@17000 master,nofailover - 0 0 6 connected
`)
	if err != nil {
		t.Fatal(err)
	}
	if v.self != "aa" || !v.primary || v.bus != "17000" || !v.owns(11) || v.owns(10) || v.owner[20] != "bb" || v.owner[21] != "" {
		t.Errorf("slots are read as of %q", v.self)
	}
	if v.to[3] != "bb" || v.from[20] != "bb" || len(v.to) != 1 || len(v.from) != 1 {
		t.Errorf("marks are read as %v and %v", v.to, v.from)
	}
	for id, gone := range map[string]bool{"aa": false, "bb": true, "cc": true, "ee": false} {
		if v.gone[id] != gone {
			t.Errorf("node %s is gone: %v", id, v.gone[id])
		}
	}
	if len(v.primaries) != 3 || v.epochs["bb"] != 5 {
		t.Errorf("primaries %v, epochs %v", v.primaries, v.epochs)
	}
	for _, bad := range []string{"", "aa 127.0.0.1:7000@17000 master - 0 0 1 connected\n", "aa b myself,master - 0 0 x connected\n", "aa b myself,master - 0 0 1 connected [x->-bb]\n"} {
		if _, err := readView(bad); err == nil {
			t.Errorf("%q makes sense", bad)
		}
	}
}
