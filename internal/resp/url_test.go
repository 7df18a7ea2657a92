package resp

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for _, tc := range []struct {
		in, network, addr, user, password string
		db                                int
		tls                               bool
		text                              string
	}{
		{"redis://h", "tcp", "h:6379", "", "", 0, false, "redis://h:6379"},
		{"redis://h:1/3", "tcp", "h:1", "", "", 3, false, "redis://h:1/3"},
		{"valkey://h:1/?db=4", "tcp", "h:1", "", "", 4, false, "redis://h:1/4"},
		{"redis://:s3cret@h:1", "tcp", "h:1", "", "s3cret", 0, false, "redis://:***@h:1"},
		{"redis://u:s3cret@[::1]:1/2", "tcp", "[::1]:1", "u", "s3cret", 2, false, "redis://u:***@[::1]:1/2"},
		{"redis://u@h", "tcp", "h:6379", "u", "", 0, false, "redis://u@h:6379"},
		{"redis://u:a%40b%2F@h", "tcp", "h:6379", "u", "a@b/", 0, false, "redis://u:***@h:6379"},
		{"rediss://h", "tcp", "h:6379", "", "", 0, true, "rediss://h:6379"},
		{"valkeys://h:7/1?insecure=true", "tcp", "h:7", "", "", 1, true, "rediss://h:7/1"},
		{"unix:///run/r.sock?db=2", "unix", "/run/r.sock", "", "", 2, false, "unix:///run/r.sock?db=2"},
		{"unix://:s3cret@/run/r.sock", "unix", "/run/r.sock", "", "s3cret", 0, false, "unix://:***@/run/r.sock"},
	} {
		o, err := ParseURL(tc.in)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
			continue
		}
		if o.Network != tc.network || o.Addr != tc.addr || o.Username != tc.user || o.Password != tc.password ||
			o.DB != tc.db || (o.TLS != nil) != tc.tls {
			t.Errorf("%s is read as %s %s user %q password %q db %d tls %v", tc.in, o.Network, o.Addr, o.Username, o.Password, o.DB, o.TLS != nil)
		}
		if o.String() != tc.text {
			t.Errorf("%s is printed as %s, not %s", tc.in, o, tc.text)
		}
		if o.TLS != nil && o.TLS.InsecureSkipVerify != strings.Contains(tc.in, "insecure=true") {
			t.Errorf("%s: verification off is %v", tc.in, o.TLS.InsecureSkipVerify)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	dir := t.TempDir()
	notPEM := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(notPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for in, says := range map[string]string{
		"http://u:s3cret@h":                          "scheme",
		"redis://u:s3cret@h/x":                       "not the number of a database",
		"redis://u:s3cret@h/-1":                      "not the number of a database",
		"redis://u:s3cret@h:port":                    "%XX",
		"redis://u:s3cret%zz@h":                      "%XX",
		"redis://u:s3c ret@h\x7f":                    "%XX",
		"redis://u:s3cret@h?bogus=1":                 `"bogus"`,
		"redis://u:s3cret@h?insecure=true":           "rediss://",
		"rediss://u:s3cret@h?insecure=perhaps":       "true or false",
		"rediss://u:s3cret@h?cert=x":                 "go together",
		"rediss://u:s3cret@h?cacert=/nowhere.pem":    "no such file",
		"rediss://u:s3cret@h?cacert=" + notPEM:       "no certificate",
		"rediss://u:s3cret@h?cert=/n.pem&key=/n.pem": "no such file",
		"unix://host/run/r.sock":                     "unix:///",
	} {
		_, err := ParseURL(in)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q gave %v, which does not say %q", in, err, says)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "s3c ret")) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

// Whatever is printed of options and of errors about them hides the password.
func TestNoSecretIsPrinted(t *testing.T) {
	o := Options{Addr: "127.0.0.1:1", Username: "u", Password: "s3cret"}
	_, err := Dial(t.Context(), o)
	if err == nil {
		t.Fatal("something listens on port 1")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err2 := Dial(ctx, o)
	for _, text := range []string{err.Error(), err2.Error(), fmt.Sprint(o), fmt.Sprintf("%v %+v %#v %s", o, o, o, o), fmt.Sprint(&o)} {
		if strings.Contains(text, "s3cret") {
			t.Errorf("%s", text)
		}
	}
}

func TestNamesDB(t *testing.T) {
	for in, want := range map[string]bool{
		"redis://h": false, "redis://h/": false, "redis://h/0": true, "redis://h?db=0": true, "unix:///run/x": false, "unix:///run/x?db=0": true,
	} {
		if NamesDB(in) != want {
			t.Errorf("%s: %v", in, !want)
		}
	}
}

func TestParseServer(t *testing.T) {
	for info, want := range map[string]Server{
		"# Server\r\nredis_version:6.0.16\r\nredis_mode:standalone\r\n":                                {"redis", "6.0.16", 6, 0, "standalone"},
		"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\nserver_mode:cluster\r\n": {"valkey", "8.1.1", 8, 1, "cluster"},
		"redis_version:255.255.255\r\n": {"redis", "255.255.255", 255, 255, ""},
	} {
		got, err := ParseServer([]byte(info))
		if err != nil || got != want {
			t.Errorf("%q is read as %+v, %v", info, got, err)
		}
	}
	for _, info := range []string{"", "redis_version:x.y\r\n", "uptime:1\r\n"} {
		if s, err := ParseServer([]byte(info)); err == nil {
			t.Errorf("%q is read as %+v", info, s)
		}
	}
}

func TestParseKeyspaces(t *testing.T) {
	got, err := ParseKeyspaces([]byte("# Keyspace\r\ndb0:keys=10,expires=2,avg_ttl=5\r\ndb12:keys=1,expires=0,avg_ttl=0,subexpiry=0\r\n"))
	if err != nil || len(got) != 2 || got[0] != (Keyspace{0, 10, 2}) || got[1] != (Keyspace{12, 1, 0}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := ParseKeyspaces([]byte("db0:keys=x\r\n")); err == nil {
		t.Error("nonsense was read")
	}
}
