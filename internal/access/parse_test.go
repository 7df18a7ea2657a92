package access_test

import (
	"strings"
	"testing"

	"holdfast.dev/internal/access"
)

func TestNormalised(t *testing.T) {
	for _, c := range []struct{ in, out, since string }{
		{"", "off -@all", "6.0"},
		{"~a:*", "off ~a:* -@all", "6.0"},
		{"on ~* +@all", "on ~* +@all", "6.0"},
		{"ON AllKeys AllCommands", "on ~* +@all", "6.0"},
		{"on ~app::* -@all +@read", "on ~app::* -@all +@read", "6.0"},
		{"on  +GET   ~keys*  off on", "on ~keys* -@all +get", "6.0"},
		{"on off ~a ~b ~a", "off ~a ~b -@all", "6.0"},
		{"~Ab* resetkeys ~cD", "off ~cD -@all", "6.0"},
		{"+get nocommands +set -@all +@read -@dangerous", "off -@all +@read -@dangerous", "6.0"},
		{"-@all +@read +@all -keys", "off +@all -keys", "6.0"},
		{"+@all -get +get", "off +@all -get +get", "6.0"},
		{"+client|list +client|ID", "off -@all +client|list +client|id", "6.0"},
		{"+@connection +client|list", "off -@all +@connection +client|list", "7.0"},
		{"+@read +@write +client|list", "off -@all +@read +@write +client|list", "6.0"},
		{"+@connection -client +client|list", "off -@all +@connection -client +client|list", "6.0"},
		{"+client -client|kill", "off -@all +client -client|kill", "7.0"},
		{"-client|kill", "off -@all -client|kill", "7.0"},
		{"+select|0 +select|1", "off -@all +select|0 +select|1", "6.0"},
		{"+getdel", "off -@all +getdel", "6.2"},
		{"+getdel -@all", "off -@all", "6.0"},
		{"+client|no-touch", "off -@all +client|no-touch", "7.2"},
		{"&*", "off &* -@all", "6.2"},
		{"&news.* &x", "off resetchannels &news.* &x -@all", "6.2"},
		{"resetchannels", "off resetchannels -@all", "6.2"},
		{"&a allchannels resetchannels &b", "off resetchannels &b -@all", "6.2"},
		{"%r~a %Wr~b %RW~* ~c", "off %R~a %RW~b %RW~* ~c -@all", "7.0"},
		{"%R~a resetkeys", "off -@all", "6.0"},
		{"on (~a +get) +set (  %W~b   &x )", "on -@all +set (~a -@all +get) (%W~b resetchannels &x -@all)", "7.0"},
		{"(~a +get) clearselectors ()", "off -@all (-@all)", "7.0"},
		{"(~* +@all) clearselectors", "off -@all", "6.0"},
		{"db=1,01,0 db=2,3", "off db=2,3 -@all", "9.1"},
		{"DB=1 alldbs", "off -@all", "6.0"},
		{"resetdbs (db=7)", "off resetdbs -@all (db=7 -@all)", "9.1"},
		{"on sanitize-payload ~über:*", "on ~über:* -@all", "6.0"},
		{`~a"b\*'`, `off ~a"b\*' -@all`, "6.0"},
		{"-config -@admin", "off -@all -config -@admin", "6.0"},
	} {
		s, err := access.Parse(c.in)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		if s.String() != c.out || s.MinVersion() != c.since {
			t.Errorf("%q is %q since %s, want %q since %s", c.in, s.String(), s.MinVersion(), c.out, c.since)
		}
		if got := strings.Join(s.Rules(), " "); got != c.out {
			t.Errorf("rules %q", got)
		}
	}
}

func TestRefused(t *testing.T) {
	for in, want := range map[string]string{
		"on >topsecret":                 "passwords cannot",
		"<topsecret":                    "passwords cannot",
		"#topsecret":                    "passwords cannot",
		"!topsecret":                    "passwords cannot",
		"(>topsecret)":                  "passwords cannot",
		"on nopass":                     "nopass is not allowed",
		"on ResetPass":                  "ResetPass is not allowed",
		"reset on":                      "reset is not allowed",
		"skip-sanitize-payload":         "is not allowed",
		"(on)":                          "rule on is unknown",
		"(nopass)":                      "rule nopass is unknown",
		"(reset)":                       "rule reset is unknown",
		"(~a (+get))":                   "(+get) is unknown", // as far as the first word that ends with a parenthesis
		"(~a +get":                      "is not closed",
		`(~"a +get)`:                    "quotes",
		"hello":                         "rule hello is unknown",
		"~* ~a":                         "~a has no effect",
		"&* &a":                         "&a has no effect",
		"%R":                            "is incomplete",
		"%X~a":                          "is unknown",
		"%RR~a":                         "is unknown",
		"%~a":                           "is unknown",
		"+":                             "names an unknown command",
		"+@":                            "unknown category",
		"+@reads":                       "unknown category",
		"+nosuch":                       "names an unknown command",
		"-nosuch":                       "names an unknown command",
		"+client|nosuch":                "names an unknown command",
		"+get|":                         "names an unknown command",
		"+client|list|x":                "names an unknown command",
		"+select|0|1":                   "names an unknown command",
		"-select|0":                     "not possible",
		"+@all +select|0":               "has no effect",
		"+config":                       "restricted",
		"+CONFIG|get":                   "restricted",
		"+acl|setuser":                  "restricted",
		"+cluster|meet":                 "restricted",
		"(+debug)":                      "restricted",
		"db=":                           "does not name databases",
		"db=-1":                         "does not name databases",
		"db=1,x":                        "does not name databases",
		"db=4294967296":                 "does not name databases",
		"~a\nuser evil on nopass +@all": "control characters",
		"~a\u00a0b":                     "control characters",
		"~a\x00":                        "control characters",
		"~\xff":                         "control characters",
		strings.Repeat("~a ", 6000):     "are allowed",
	} {
		s, err := access.Parse(in)
		switch {
		case err == nil:
			t.Errorf("%.40q passes as %q", in, s.String())
		case !strings.Contains(err.Error(), want):
			t.Errorf("%.40q: %v; want %q", in, err, want)
		case strings.Contains(err.Error(), "topsecret"):
			t.Errorf("%q: the password is in the message: %v", in, err)
		}
	}
}

// FuzzAccessString: what was printed is understood, and is printed the same.
func FuzzAccessString(f *testing.F) {
	for _, s := range []string{"%rw~* ~c", "on ~* &* +@all", "off %RW~a (~b +get) -@all +client|id db=1,2", "(~a(b) c) &x", "~\xff", "+select|0 -select +select|1", "( )"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := access.Parse(in)
		if err != nil {
			return
		}
		again, err := access.Parse(s.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", in, s.String(), err)
		}
		if again.String() != s.String() || again.MinVersion() != s.MinVersion() {
			t.Fatalf("%q became %q since %s and then %q since %s", in, s.String(), s.MinVersion(), again.String(), again.MinVersion())
		}
	})
}
