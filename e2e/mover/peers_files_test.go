package mover

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"holdfast.dev/internal/testkit"
)

// badFiles are RDB files that no tool may take for whole.
func badFiles(t *testing.T) map[string]string {
	t.Helper()
	good := filepath.Join(t.TempDir(), "good.rdb")
	runs(t, done, "generate", good, "--keys", "3000")
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 0x10
	sum := bytes.Clone(whole)
	sum[len(sum)-1] ^= 1
	files := map[string][]byte{
		"a bit flipped":       flipped,
		"a wrong checksum":    sum,
		"no end":              whole[:len(whole)-9],
		"half a checksum":     whole[:len(whole)-4],
		"half":                whole[:len(whole)/2],
		"version 99":          append([]byte("REDIS0099"), whole[9:]...),
		"another magic":       append([]byte("REDAS0011"), whole[9:]...),
		"nothing":             {},
		"a type of no engine": []byte("REDIS0011\xfe\x00\x00\x01a\x01v\x1f\x01k\x01v\xff"),
	}
	paths := map[string]string{}
	for name, content := range files {
		paths[name] = write(t, "x.rdb", content)
	}
	return paths
}

// TestExitCodesDoNotLie: of a file that is not whole no command says anything but
// that it failed, and nothing of it reaches a server. (A peer exits with 0 for a
// wrong checksum and for version 99; another loads both.)
func TestExitCodesDoNotLie(t *testing.T) {
	t.Parallel()
	to := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	other := filepath.Join(t.TempDir(), "other.rdb")
	runs(t, done, "generate", other, "--keys", "10")
	for name, file := range badFiles(t) {
		t.Run(name, func(t *testing.T) {
			runs(t, failed, "inspect", file)
			runs(t, failed, "fingerprint", file)
			runs(t, failed, "verify", file, other)
			runs(t, failed, "verify", other, file)
			runs(t, failed, "restore", file, url(to)).says("nothing was moved")
			if n := keys(t, to); n > 0 {
				t.Errorf("%d keys of it were restored", n)
			}
		})
	}
}

// TestAnUnknownTypeStopsWithItsNumberAndPlace. (A peer went on out of step, wrote a
// part and hung.)
func TestAnUnknownTypeStopsWithItsNumberAndPlace(t *testing.T) {
	t.Parallel()
	to := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	file := write(t, "x.rdb", []byte("REDIS0012\xfe\x00\x00\x01a\x01v\x1a\x01k\x01v\xff"))
	runs(t, failed, "restore", file, url(to)).says("type 26", "byte 19", "nothing was moved")
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	c := holdfast(t, "restore", "-", url(to))
	c.Stdin = in
	c.start().ends(failed).says("type 26", "byte 19")
}

// TestFilesOlderThanVersion5AreRestored: they have no checksum. (A peer takes them
// for damaged, after writing a part.)
func TestFilesOlderThanVersion5AreRestored(t *testing.T) {
	t.Parallel()
	content := "\xfe\x00" + // database 0
		"\x00\x01s\x05value" +
		"\x00\x01i\xc1\x39\x30" + // 12345 as a number of 16 bits
		"\x01\x01l\x02\x01a\x01b" +
		"\x02\x01m\x02\x01a\x01b" +
		"\x03\x01z\x02\x01a\x031.5\x01b\xfe" + // +inf
		"\x04\x01h\x01\x01f\x01v" +
		"\xfd\x00\x94\x35\x77\x00\x01e\x01v" + // expires at 2,000,000,000 seconds
		"\xfe\x05\x00\x01s\x01v" + // database 5
		"\xff"
	for _, line := range []string{"redis-6.0", "valkey-9.1"} {
		to := testkit.StartServer(t, testkit.Engine(t, line))
		for version := 1; version <= 4; version++ {
			emptied(to)
			file := write(t, "old.rdb", fmt.Appendf(nil, "REDIS%04d%s", version, content))
			runs(t, done, "restore", file, url(to))
			got := testkit.ReadContent(t, to).Keys
			if len(got) != 8 {
				t.Errorf("version %d: %d keys into %s", version, len(got), line)
			}
			for k, value := range map[testkit.Key]string{
				{DB: 0, Name: "s"}: "value", {DB: 0, Name: "i"}: "12345", {DB: 0, Name: "l"}: `"a" "b"`, {DB: 0, Name: "m"}: `"a" "b"`,
				{DB: 0, Name: "z"}: `"a" "1.5=3ff8000000000000" "b" "+Inf=7ff0000000000000"`, {DB: 0, Name: "h"}: `"f" "v"`, {DB: 5, Name: "s"}: "v",
			} {
				if v := got[k].Facets["value"]; v != value {
					t.Errorf("version %d: %v is %q, not %q", version, k, v, value)
				}
			}
			at := got[testkit.Key{DB: 0, Name: "e"}].Expiry
			if at.Lo > 2_000_000_000_000 || at.Hi < 2_000_000_000_000 {
				t.Errorf("version %d: it expires at %v", version, at)
			}
		}
	}
}
