package endpoint

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// feed gives bytes in pieces as a connection does, and returns what goes on and who logs in.
func feed(t testing.TB, pieces [][]byte) (out string, logins []string) {
	t.Helper()
	var c commands
	var held, all []byte
	for _, p := range pieces {
		held = append(held, p...)
		for len(held) > 0 {
			n, l := c.next(held)
			if n == 0 {
				break
			}
			if n > len(held) {
				t.Fatalf("%d of %d bytes", n, len(held))
			}
			all = append(all, held[:n]...)
			if l != nil && !l.queued {
				logins = append(logins, fmt.Sprintf("%q", l.args[l.user:l.user+2]))
				var again commands
				with := l.with(string(l.args[l.user+1]))
				if n, l := again.next(with); n != len(with) || l == nil {
					t.Fatalf("%q is no log-in", with)
				}
			}
			held = held[n:]
		}
		if len(held) >= maxLogin {
			t.Fatalf("%d bytes are held", len(held))
		}
	}
	return string(append(all, held...)), logins
}

func TestLoginsAreFound(t *testing.T) {
	long := strings.Repeat("x", maxLogin)
	for in, want := range map[string]string{
		"*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\nt\r\n":   `["u" "t"]`,
		"*3\r\n$4\r\naUtH\r\n$0\r\n\r\n$0\r\n\r\n":     `["" ""]`,
		"*2\r\n$4\r\nAUTH\r\n$1\r\nt\r\n":              ``,
		"AUTH u t\r\n":                                 `["u" "t"]`,
		"  auth\tu t\n":                                `["u" "t"]`,
		"AUTH u \"t\"\r\n":                             ``,
		"GET AUTH u t\r\nAUTH u t\r\n":                 `["u" "t"]`,
		"*1\r\n$4\r\nPING\r\nAUTH u t\r\n":             `["u" "t"]`,
		"*2\r\n$3\r\nGET\r\n$10\r\nAUTH u t\r\n\r\n":   ``,
		"hello 3 auth u t setname n\r\n":               `["u" "t"]`,
		"hello 3 setname auth auth u t\r\n":            `["u" "t"]`,
		"hello 3\r\nhello 3 setname auth\r\nhello\r\n": ``,
		"MULTI\r\nAUTH u t\r\nEXEC\r\nAUTH v t\r\n":    `["v" "t"]`,
		"*1\r\n$5\r\nMULTI\r\nAUTH u t\r\n":            ``,
		"*0\r\n*-1\r\nAUTH u t\r\n":                    `["u" "t"]`,
		"*03\r\nAUTH u t\r\n":                          ``, // the engine ends the connection
		"*3\r\n$x\r\nAUTH u t\r\n":                     ``,
		"*1\r\n$-1\r\nAUTH u t\r\n":                    ``,
		"AUTH u " + long + "\r\nAUTH u t\r\n":          `["u" "t"]`,
		fmt.Sprintf("*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$%d\r\n%s\r\nAUTH u t\r\n", len(long), long): `["u" "t"]`,
		fmt.Sprintf("*2\r\n$%d\r\n%s\r\n$1\r\nu\r\nAUTH u t\r\n", len(long), long):               `["u" "t"]`,
	} {
		whole, found := feed(t, [][]byte{[]byte(in)})
		if got := strings.Join(found, " "); got != want || whole != in {
			t.Errorf("%.60q: %s, want %s", in, got, want)
		}
		var bytewise [][]byte
		for i := range in {
			bytewise = append(bytewise, []byte{in[i]})
		}
		out, again := feed(t, bytewise)
		if got := strings.Join(again, " "); got != want || out != in {
			t.Errorf("%.60q, byte by byte: %s, want %s", in, got, want)
		}
	}
}

// FuzzCommands: whatever comes goes on whole and in order, and what is found does not depend
// on the pieces that it comes in.
func FuzzCommands(f *testing.F) {
	f.Add([]byte("*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\nt\r\nPING\r\n"), uint8(3))
	f.Add([]byte("hello 3 auth u t\r\n*1\r\n$5\r\nMULTI\r\nAUTH u t\r\n"), uint8(1))
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$9223372036854775807\r\n"), uint8(7))
	f.Add([]byte("*2147483648\r\n$4\r\nAUTH"), uint8(2))
	f.Add([]byte("AUTH u "+strings.Repeat("t", maxLogin)+"\r\n"), uint8(200))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		whole, found := feed(t, [][]byte{in})
		var pieces [][]byte
		for rest := in; len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		out, again := feed(t, pieces)
		if whole != string(in) || out != string(in) {
			t.Fatal("other bytes go on than have come")
		}
		if fmt.Sprint(found) != fmt.Sprint(again) {
			t.Fatalf("found %s, in pieces %s", found, again)
		}
	})
}

// BenchmarkCommands is how fast commands are looked at, beside copying their bytes.
func BenchmarkCommands(b *testing.B) {
	for _, size := range []int{10, 1000} {
		one := fmt.Sprintf("*3\r\n$3\r\nSET\r\n$7\r\nkey:123\r\n$%d\r\n%s\r\n", size, strings.Repeat("v", size))
		in := bytes.Repeat([]byte(one), maxLogin/len(one))
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			var c commands
			for b.Loop() {
				if n, l := c.next(in); n != len(in) || l != nil {
					b.Fatal(n)
				}
			}
		})
	}
}
