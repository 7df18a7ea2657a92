package resp

import (
	"maps"
	"reflect"
	"strings"
	"testing"
)

// readReply reads what a server would send.
func readReply(t *testing.T, text string) *Reply {
	t.Helper()
	r, err := NewReader(strings.NewReader(text)).Next()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A server sends ranges and replicas in any order, and its own host empty, null
// or as a question mark when it does not know how it is reached.
func TestParseTopology(t *testing.T) {
	const text = "*4\r\n" +
		"*3\r\n:8192\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:7001\r\n$1\r\nb\r\n" +
		"*3\r\n:100\r\n:8191\r\n*3\r\n$0\r\n\r\n:7000\r\n$1\r\na\r\n" +
		"*5\r\n:0\r\n:50\r\n*3\r\n$-1\r\n:7000\r\n$1\r\na\r\n" +
		"*4\r\n$4\r\nhost\r\n:7009\r\n$1\r\nd\r\n*2\r\n$2\r\nip\r\n$1\r\n1\r\n" +
		"*3\r\n$3\r\n::1\r\n:7008\r\n$1\r\nc\r\n" +
		"*3\r\n:60\r\n:60\r\n*3\r\n$1\r\n?\r\n:7000\r\n$1\r\na\r\n"
	got, err := parseTopology(readReply(t, text), "asked")
	if err != nil {
		t.Fatal(err)
	}
	want := &Topology{Shards: []Shard{
		{
			Primary: ClusterNode{"a", "asked:7000"}, Replicas: []ClusterNode{{"c", "[::1]:7008"}, {"d", "host:7009"}},
			Slots: []SlotRange{{0, 50}, {60, 60}, {100, 8191}},
		},
		{Primary: ClusterNode{"b", "127.0.0.1:7001"}, Slots: []SlotRange{{8192, 16383}}},
	}}
	// Which of a shard's ranges names replicas does not matter here: the first one met does.
	got.Shards[0].Replicas = want.Shards[0].Replicas
	got.Shards[1].Replicas = nil
	if !reflect.DeepEqual(got, want) || !got.Equal(want) {
		t.Errorf("%+v", got)
	}
	if n := got.Covered(); n != 51+1+8092+8192 {
		t.Errorf("%d slots", n)
	}
	owners := got.Owners()
	if owners[0] != 0 || owners[51] != -1 || owners[60] != 0 || owners[16383] != 1 {
		t.Error("wrong owners")
	}
	if a := got.Addrs(); !reflect.DeepEqual(a, []string{"asked:7000", "127.0.0.1:7001", "[::1]:7008", "host:7009"}) {
		t.Errorf("%v", a)
	}
	want.Shards[1].Slots = []SlotRange{{8193, 16383}}
	if got.Equal(want) {
		t.Error("a slot less is equal")
	}
}

func TestParseTopologyRefuses(t *testing.T) {
	for _, text := range []string{
		":1\r\n",
		"*1\r\n*2\r\n:0\r\n:1\r\n",
		"*1\r\n*3\r\n:5\r\n:4\r\n*2\r\n$1\r\nh\r\n:1\r\n",
		"*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\nh\r\n:1\r\n",
		"*1\r\n*3\r\n:-1\r\n:4\r\n*2\r\n$1\r\nh\r\n:1\r\n",
		"*1\r\n*3\r\n:0\r\n:4\r\n*1\r\n$1\r\nh\r\n",
		"*1\r\n*3\r\n:0\r\n:4\r\n*2\r\n$1\r\nh\r\n:70000\r\n",
	} {
		if top, err := parseTopology(readReply(t, text), "h"); err == nil {
			t.Errorf("%q: %+v", text, top)
		}
	}
}

func TestRedirection(t *testing.T) {
	for text, want := range map[string]Redirect{
		"MOVED 3999 127.0.0.1:6381": {false, 3999, "127.0.0.1:6381"},
		"ASK 12 host.example:1":     {true, 12, "host.example:1"},
		"MOVED 3999 :6381":          {false, 3999, "asked:6381"},
		"MOVED 1 ?:6381":            {false, 1, "asked:6381"},
		"MOVED 1 2001:db8::1:6381":  {false, 1, "[2001:db8::1]:6381"},
		"MOVED 1 [::1]:6381":        {false, 1, "[::1]:6381"},
	} {
		if got, ok := redirection(&ServerError{text}, "asked"); !ok || got != want {
			t.Errorf("%q: %v %v", text, got, ok)
		}
	}
	for _, text := range []string{"ERR no", "MOVED", "MOVED x h:1", "MOVED 16384 h:1", "MOVED 1 h", "MOVED 1 h:", "TRYAGAIN a b"} {
		if got, ok := redirection(&ServerError{text}, "asked"); ok {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestParseClaims(t *testing.T) {
	line := "07c3 127.0.0.1:30001@31001,host.example myself,master - 0 0 7 connected 0-5 9 [10->-aa] [11-<-bb] 12-12"
	c, err := parseClaims(strings.Fields(line))
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != "07c3" || c.Epoch != 7 || !c.Primary || !reflect.DeepEqual(c.Slots, []SlotRange{{0, 5}, {9, 9}, {12, 12}}) ||
		!maps.Equal(c.Leaving, map[int]string{10: "aa"}) || !maps.Equal(c.Arriving, map[int]string{11: "bb"}) {
		t.Errorf("%+v", c)
	}
	for _, bad := range []string{"0-5x", "[10]", "16384", "[x->-aa]"} {
		if _, err := parseClaims(strings.Fields("a b myself,master - 0 0 7 connected " + bad)); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

// User, password and TLS go to every node; nothing of it is printed.
func TestOptionsAt(t *testing.T) {
	o := Options{Network: "unix", Addr: "/tmp/s", Username: "u", Password: "secret", DB: 3}
	n := o.At("10.0.0.1:7000")
	if n.Network != "tcp" || n.Addr != "10.0.0.1:7000" || n.Password != "secret" || n.Username != "u" || n.DB != 3 || strings.Contains(n.String(), "secret") {
		t.Errorf("%v", n)
	}
}
