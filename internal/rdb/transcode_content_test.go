package rdb_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"
)

// How lines of a key's content begin that not all engines can tell.
const (
	since10  = "since version 10: "
	since11  = "since version 11: "
	ofFields = "field TTL: "
)

// contentOf reads everything with plain commands, into lines that are the same
// on every engine that holds the same.
func contentOf(t testing.TB, e *engine) map[keyID][]string {
	t.Helper()
	out := map[keyID][]string{}
	for db := range 16 {
		e.Must("SELECT", db)
		for _, key := range e.strings("KEYS", "*") {
			out[keyID{db, key}] = contentOfKey(t, e, key)
		}
	}
	e.Must("SELECT", 0)
	return out
}

func contentOfKey(t testing.TB, e *engine, key string) []string {
	t.Helper()
	out := []string{e.Must("TYPE", key).(string)}
	if e.Build.ExpireTime {
		out = append(out, fmt.Sprint(since10, "expires ", e.Must("PEXPIRETIME", key))) // 6.0 does not tell
	} else if e.Must("PTTL", key).(int64) >= 0 {
		out = append(out, "volatile")
	}
	if e.Build.ExpireTime && e.Must("PTTL", key).(int64) >= 0 {
		out = append(out, "volatile")
	}
	switch out[0] {
	case "string":
		return append(out, fmt.Sprintf("%q", e.Must("GET", key)))
	case "list":
		return append(out, e.strings("LRANGE", key, 0, -1)...)
	case "set":
		return append(out, sorted(e.strings("SMEMBERS", key))...)
	case "zset":
		return append(out, contentOfZSet(t, e, key)...)
	case "hash":
		return append(out, contentOfHash(e, key)...)
	case "stream":
		return append(out, contentOfStream(e, key)...)
	case "vectorset":
		out = append(out, fmt.Sprint(e.Must("VCARD", key), e.Must("VDIM", key)))
		for i := range 20 {
			element := fmt.Sprint("element", i)
			out = append(out, fmt.Sprint(e.Must("VEMB", key, element)))
			// TRUTH looks at all elements; the usual search of its graph may miss some.
			near := e.strings("VSIM", key, "ELE", element, "WITHSCORES", "COUNT", 30, "TRUTH")
			var pairs []string
			for j := 0; j+1 < len(near); j += 2 {
				pairs = append(pairs, near[j]+" "+near[j+1])
			}
			out = append(out, fmt.Sprint(sorted(pairs))) // equal scores come in any order
		}
		return out
	}
	t.Fatalf("%q is a %s", key, out[0])
	return nil
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// contentOfZSet keeps the order, and a score's sign and last bit.
func contentOfZSet(t testing.TB, e *engine, key string) []string {
	t.Helper()
	var out []string
	all := e.strings("ZRANGE", key, 0, -1, "WITHSCORES")
	for i := 0; i < len(all); i += 2 {
		f, err := strconv.ParseFloat(all[i+1], 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%q %x", all[i], math.Float64bits(f)))
	}
	return out
}

func contentOfHash(e *engine, key string) []string {
	all := e.strings("HGETALL", key)
	args := []any{"HPEXPIRETIME", key, "FIELDS", len(all) / 2}
	var out []string
	for i := 0; i < len(all); i += 2 {
		out = append(out, fmt.Sprintf("%q=%q", all[i], all[i+1]))
		args = append(args, all[i])
	}
	if e.Build.FieldTTL {
		for i, at := range e.strings(args...) {
			out = append(out, fmt.Sprintf("%s%q %s", ofFields, all[2*i], at))
		}
	}
	return sorted(out)
}

// contentOfStream is all of XINFO STREAM FULL except how the engine stores it
// and what its clock says now.
func contentOfStream(e *engine, key string) []string {
	var out []string
	for _, it := range e.Must("XRANGE", key, "-", "+").([]any) {
		out = append(out, fmt.Sprint("entry ", it))
	}
	info := pairs(e.Must("XINFO", "STREAM", key, "FULL", "COUNT", 0))
	out = append(out, fmt.Sprint("length ", info["length"]), fmt.Sprint("last ", info["last-generated-id"]))
	for _, name := range []string{"max-deleted-entry-id", "entries-added", "recorded-first-entry-id"} {
		out = append(out, fmt.Sprint(since10, name, " ", info[name]))
	}
	groups, _ := info["groups"].([]any)
	for _, g := range groups {
		group := pairs(g)
		name := fmt.Sprint("group ", group["name"], ": ")
		out = append(out, fmt.Sprint(name, group["last-delivered-id"], " ", group["pel-count"], " ", group["pending"]))
		out = append(out, fmt.Sprint(since10, name, "read ", group["entries-read"]))
		consumers, _ := group["consumers"].([]any)
		for _, c := range consumers {
			consumer := pairs(c)
			who := fmt.Sprint(name, "consumer ", consumer["name"])
			out = append(out, fmt.Sprint(who, " seen ", consumer["seen-time"], " ", consumer["pel-count"], " ", consumer["pending"]))
			out = append(out, fmt.Sprint(since11, who, " active ", consumer["active-time"]))
		}
	}
	return out
}

// pairs makes a map of a reply of names and values.
func pairs(reply any) map[string]any {
	list, _ := reply.([]any)
	out := map[string]any{}
	for i := 0; i+1 < len(list); i += 2 {
		out[fmt.Sprint(list[i])] = list[i+1]
	}
	return out
}
