package discovery

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cutting runs a splitter over input that comes in pieces, and returns what it
// said of each request that is not just passed on, and all that it passed on.
func cutting(t *testing.T, split requests, input []byte, piece int) (said []string, passedOn string) {
	t.Helper()
	var have, out []byte
	for len(input) > 0 || len(have) > 0 {
		n := min(piece, len(input))
		have, input = append(have, input[:n]...), input[n:]
		for len(have) > 0 {
			took, q := split.next(have)
			if took == 0 {
				break
			}
			switch q.kind {
			case ours:
				said = append(said, fmt.Sprintf("ours %d op %#x opaque %d", q.reply, q.op, q.opaque))
			case versionAsked:
				said = append(said, "version")
				out = append(out, have[:took]...)
			default:
				out = append(out, have[:took]...)
			}
			have = have[took:]
		}
		if n == 0 {
			break // the rest is an incomplete request
		}
	}
	return said, string(out)
}

func TestTextRequests(t *testing.T) {
	long := "get " + strings.Repeat("abcdefghij ", 4000) + "z\r\n"
	for _, c := range []struct {
		name, in string
		said     []string
		out      string // "" means: all of it
	}{
		{name: "plain", in: "get a\r\nset a 0 0 3\r\nabc\r\nquit\r\n"},
		{
			name: "config", in: "get a\r\nconfig get cluster\r\nget b\r\n",
			said: []string{"ours 1 op 0x0 opaque 0"}, out: "get a\r\nget b\r\n",
		},
		{name: "bare newline", in: "config get cluster\n", said: []string{"ours 1 op 0x0 opaque 0"}, out: "-"},
		{name: "in data", in: "set a 0 0 20\r\nconfig get cluster\r\n\r\n"},
		{name: "in data of cas", in: "cas a 0 0 20 77 noreply\r\nconfig get cluster\r\n\r\n"},
		{name: "in data of ms", in: "ms a 20 T0 q\r\nconfig get cluster\r\n\r\nms b S20\r\nconfig get cluster\r\n\r\n"},
		{
			name: "after data", in: "set a 0 0 20\r\nconfig get cluster\r\n\r\nconfig get cluster\r\n",
			said: []string{"ours 1 op 0x0 opaque 0"}, out: "set a 0 0 20\r\nconfig get cluster\r\n\r\n",
		},
		{name: "older", in: "get AmazonElastiCache:cluster\r\n", said: []string{"ours 2 op 0x0 opaque 0"}, out: "-"},
		{name: "older, with others", in: "get AmazonElastiCache:cluster a\r\n"},
		{name: "another", in: "config get nodes\r\n", said: []string{"ours 3 op 0x0 opaque 0"}, out: "-"},
		{name: "to change it", in: "config set cluster 0 3\r\n", said: []string{"ours 4 op 0x0 opaque 0"}, out: "-"},
		{name: "version", in: "version\r\nversions\r\n", said: []string{"version"}},
		{name: "a long get", in: long + "version\r\n", said: []string{"version"}},
		{name: "no length", in: "set a 0 0 x\r\nversion\r\n", said: []string{"version"}},
		{name: "a negative length", in: "set a 0 0 -5\r\nversion\r\n", said: []string{"version"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := c.out
			if want == "" {
				want = c.in
			}
			for _, piece := range []int{1, 2, 3, 7, 1000, 1 << 20} {
				said, out := cutting(t, &textRequests{}, []byte(c.in), piece)
				if d := cmp.Diff(c.said, said); d != "" {
					t.Errorf("in pieces of %d: %s", piece, d)
				}
				if out != strings.TrimPrefix(want, "-") {
					t.Errorf("in pieces of %d it passes %q on", piece, out)
				}
			}
		})
	}
}

// packet is a request of the binary protocol.
func packet(op byte, opaque byte, key, value string) []byte {
	b := make([]byte, headerSize)
	b[0], b[1], b[3], b[15] = magicRequest, op, byte(len(key)), opaque
	b[10], b[11] = byte((len(key)+len(value))>>8), byte(len(key)+len(value))
	return append(append(b, key...), value...)
}

func TestBinaryRequests(t *testing.T) {
	get := packet(opGet, 1, "a", "")
	inside := packet(0x01, 2, "k", string(packet(opConfigGet, 3, "cluster", "")))
	for _, c := range []struct {
		name    string
		in, out []byte
		said    []string
	}{
		{name: "plain", in: get, out: get},
		{
			name: "config", in: bytes.Join([][]byte{get, packet(opConfigGet, 9, "cluster", ""), get}, nil),
			out: bytes.Join([][]byte{get, get}, nil), said: []string{"ours 5 op 0x60 opaque 9"},
		},
		{name: "in a value", in: inside, out: inside},
		{name: "older", in: packet(opGet, 4, legacyKey, ""), said: []string{"ours 5 op 0x0 opaque 4"}},
		{name: "older, with its key", in: packet(opGetKey, 4, legacyKey, ""), said: []string{"ours 6 op 0xc opaque 4"}},
		{name: "another", in: packet(opConfigGet, 4, "nodes", ""), said: []string{"ours 7 op 0x60 opaque 4"}},
		{name: "to change it", in: packet(opConfigSet, 4, "cluster", "v"), said: []string{"ours 8 op 0x64 opaque 4"}},
		{name: "a no-op", in: packet(opNoop, 5, "", ""), out: packet(opNoop, 5, "", ""), said: []string{"version"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, piece := range []int{1, 5, 24, 25, 1000} {
				said, out := cutting(t, &binaryRequests{}, c.in, piece)
				if d := cmp.Diff(c.said, said); d != "" {
					t.Errorf("in pieces of %d: %s", piece, d)
				}
				if out != string(c.out) {
					t.Errorf("in pieces of %d it passes %q on", piece, out)
				}
			}
		})
	}
}

func TestTextReplies(t *testing.T) {
	in := "VALUE a 0 9\r\nVERSION 1\r\nEND\r\nVERSION 1.6\r\nVA 9 s9\r\nVERSION 2\r\nHD\r\nSTAT version 3\r\n" +
		"VALUE b 0 0 17\r\n\r\nVERSION 4\r\n"
	for _, piece := range []int{1, 2, 5, 1000} {
		var split textReplies
		var have []byte
		var marked []string
		total := 0
		for at := 0; at < len(in); {
			n := min(piece, len(in)-at)
			have, at = append(have, in[at:at+n]...), at+n
			for len(have) > 0 {
				took, mark := split.next(have)
				if took == 0 {
					break
				}
				if mark {
					marked = append(marked, string(have[:took]))
				}
				total, have = total+took, have[took:]
			}
		}
		if d := cmp.Diff([]string{"VERSION 1.6\r\n", "VERSION 4\r\n"}, marked); d != "" || total != len(in) {
			t.Errorf("in pieces of %d, %d of %d bytes: %s", piece, total, len(in), d)
		}
	}
}

// FuzzRequests: whatever a client sends, all of it is taken in the end but for a short rest, and it does not
// matter in which pieces it comes.
func FuzzRequests(f *testing.F) {
	f.Add([]byte("set a 0 0 20\r\nconfig get cluster\r\n\r\nversion\r\n"), false, 3)
	f.Add(packet(opConfigGet, 3, "cluster", ""), true, 7)
	f.Add([]byte("ms a 99999999999999999999\r\nconfig get cluster\r\n"), false, 1)
	f.Add([]byte("\x80\x60\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff"), true, 5)
	f.Fuzz(func(t *testing.T, in []byte, binary bool, piece int) {
		if piece <= 0 || piece > 1<<16 {
			return
		}
		fresh := func() requests {
			if binary {
				return &binaryRequests{}
			}
			return &textRequests{}
		}
		whole, out := cutting(t, fresh(), in, len(in)+1)
		parts, again := cutting(t, fresh(), in, piece)
		if len(in) < longestLine && (cmp.Diff(whole, parts) != "" || out != again) {
			t.Errorf("whole: %v, in pieces of %d: %v", whole, piece, parts)
		}
		if len(out) > len(in) {
			t.Errorf("%d bytes became %d", len(in), len(out))
		}
	})
}

func TestPayload(t *testing.T) {
	l := List{Version: 12, Nodes: []Node{
		{"shop.pc4ldq.0002.use1.cache.amazonaws.com", "10.80.249.27", 11211},
		{"shop.pc4ldq.0001.use1.cache.amazonaws.com", "", 11211},
	}}
	want := "CONFIG cluster 0 113\r\n12\nshop.pc4ldq.0001.use1.cache.amazonaws.com||11211 " +
		"shop.pc4ldq.0002.use1.cache.amazonaws.com|10.80.249.27|11211\n\r\nEND\r\n"
	if d := cmp.Diff(want, string(asText("CONFIG cluster", l.payload()))); d != "" {
		t.Error(d)
	}
}
