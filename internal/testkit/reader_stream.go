package testkit

import (
	"fmt"
	"strings"
)

// stream reads entries, and of XINFO STREAM FULL all that is no matter of memory:
// groups, consumers, what is pending, and the counters.
func (r *reader) stream(name string) (map[string]string, error) {
	replies, err := r.batch([]any{"XRANGE", name, "-", "+"}, []any{"XINFO", "STREAM", name, "FULL", "COUNT", 0})
	if err != nil {
		return nil, err
	}
	out := map[string]string{"entries": flat(replies[0])}
	info := pairs(replies[1])
	keep(out, "", info, "last-generated-id", "entries-added", "max-deleted-entry-id", "recorded-first-entry-id")
	groups, _ := info["groups"].([]any)
	out["groups"] = fmt.Sprint(len(groups))
	for _, g := range groups {
		group := pairs(g)
		prefix := fmt.Sprintf("group %q ", group["name"])
		keep(out, prefix, group, "last-delivered-id", "entries-read", "lag")
		// 6.0 names the list by another word.
		out[prefix+"pending"] = flat(first(group, "pel", "pending"))
		consumers, _ := group["consumers"].([]any)
		out[prefix+"consumers"] = fmt.Sprint(len(consumers))
		for _, c := range consumers {
			consumer := pairs(c)
			prefix := fmt.Sprintf("%sconsumer %q ", prefix, consumer["name"])
			keep(out, prefix, consumer, "seen-time", "active-time")
			out[prefix+"pending"] = flat(first(consumer, "pel", "pending"))
		}
	}
	return out, nil
}

func keep(out map[string]string, prefix string, from map[string]any, names ...string) {
	for _, name := range names {
		if v, ok := from[name]; ok {
			out[prefix+name] = flat(v)
		}
	}
}

func first(from map[string]any, names ...string) any {
	for _, name := range names {
		if v, ok := from[name]; ok {
			return v
		}
	}
	return nil
}

// flat is a reply as text that no other reply gives.
func flat(reply any) string {
	switch v := reply.(type) {
	case nil:
		return "nil"
	case string:
		return fmt.Sprintf("%q", v)
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = flat(e)
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	return fmt.Sprint(reply)
}
