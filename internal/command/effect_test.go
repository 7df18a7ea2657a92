package command

import (
	"fmt"
	"strings"
	"testing"
)

func parse(text string) Effect {
	var args [][]byte
	if text != "" {
		for a := range strings.SplitSeq(text, " ") {
			args = append(args, []byte(a))
		}
	}
	return Parse(args)
}

func TestEffects(t *testing.T) {
	for text, want := range map[string]string{
		"SET k v":                              "write [1] other -1",
		"select 12":                            "select db 12",
		"SELECT x":                             "unknown",
		"SELECT":                               "unknown",
		"FLUSHDB async":                        "flush all false",
		"FlushAll":                             "flush all true",
		"swapdb 1 15":                          "swap db 1 other 15",
		"SWAPDB 1":                             "unknown",
		"MULTI":                                "begin",
		"EXEC":                                 "commit",
		"PING":                                 "control",
		"REPLCONF GETACK *":                    "control",
		"FUNCTION LOAD x":                      "functions",
		"MOVE k 7":                             "write [1 1] other 7",
		"MOVE k x":                             "unknown",
		"COPY a b":                             "write [2] other -1",
		"COPY a b REPLACE DB 9":                "write [2] other 9",
		"COPY a b DB":                          "unknown",
		"RENAME a b":                           "write [1 2] other -1",
		"SUNIONSTORE d a b":                    "write [1] other -1",
		"BITOP AND d a b":                      "write [2] other -1",
		"ZUNIONSTORE d 2 a b":                  "write [1] other -1",
		"ZUNIONSTORE d 3 a b":                  "unknown",
		"ZUNIONSTORE d 99999999999 a":          "unknown",
		"ZUNIONSTORE d -1 a":                   "unknown",
		"LMPOP 0 a LEFT":                       "unknown",
		"SORT a":                               "write [] other -1",
		"SORT a STORE d":                       "write [3] other -1",
		"EVAL s 1 a b":                         "write [3] other -1 undeclared",
		"EVAL s 3 a b":                         "unknown",
		"RESTORE k 0 x":                        "write [1] other -1 foreign",
		"CLUSTER FLUSHSLOT 5":                  "flush slot",
		"CLUSTER NODES":                        "control",
		"JSON.SET k $ 1":                       "unknown",
		"XREADGROUP GROUP g c STREAMS a b > >": "write [5 6] other -1",
		"XREADGROUP GROUP g c STREAMS a":       "unknown",
		"MSET a 1 b":                           "unknown",
		"":                                     "unknown",
		strings.Repeat("x", 100):               "unknown",
	} {
		e := parse(text)
		got := e.Kind.String()
		switch e.Kind {
		case Write:
			got += fmt.Sprint(" ", e.Written, " other ", e.Other)
		case Select:
			got += fmt.Sprint(" db ", e.DB)
		case SwapDB:
			got += fmt.Sprint(" db ", e.DB, " other ", e.Other)
		case Flush:
			got += fmt.Sprint(" all ", e.All)
		}
		if e.Undeclared {
			got += " undeclared"
		}
		if e.Foreign {
			got += " foreign"
		}
		if got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// An Effect that is used again holds nothing of before.
func TestParseIntoStartsAnew(t *testing.T) {
	e := parse("MOVE k 7")
	ParseInto(&e, [][]byte{[]byte("FLUSHALL")})
	ParseInto(&e, [][]byte{[]byte("SET"), []byte("k"), nil})
	if e.All || e.Other != -1 || len(e.Keys) != 1 || len(e.Written) != 1 {
		t.Errorf("%+v", e)
	}
	ParseInto(&e, nil)
	if e.Kind != Unknown || len(e.Keys) != 0 {
		t.Errorf("%+v", e)
	}
}

func TestLongestName(t *testing.T) {
	for name := range table {
		if len(name) > longestName {
			t.Errorf("%s is longer than %d", name, longestName)
		}
	}
}

// Positions are always those of arguments, whatever comes.
func FuzzParse(f *testing.F) {
	f.Add("SORT a BY x STORE", uint8(3))
	f.Add("MIGRATE h 1  0 5 AUTH2 KEYS", uint8(2))
	f.Add("XREADGROUP GROUP g c CLAIM STREAMS", uint8(0))
	f.Fuzz(func(t *testing.T, text string, more uint8) {
		args := strings.Split(text+strings.Repeat(" 1", int(more%8)), " ")
		e := parse(strings.Join(args, " "))
		for _, at := range append(e.Keys, e.Written...) {
			if at < 1 || at >= len(args) {
				t.Fatalf("position %d of %q", at, args)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	args := [][]byte{[]byte("SET"), []byte("key"), []byte("value")}
	var e Effect
	b.ReportAllocs()
	for b.Loop() {
		ParseInto(&e, args)
	}
}
