package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast.dev/internal/cache"
)

// treatment is how a parameter of a parameter group reaches the engine.
type treatment struct {
	from since
	// fixedAt is set for directives that are read only at the start.
	fixedAt bool
	// tried is set for those whose refusal depends on how the build was compiled:
	// they are set once the node runs, where a refusal does no harm.
	tried bool
	// checked is set for those that an engine lowers at its start without a word to us.
	checked bool
	// part is set for the pieces of client-output-buffer-limit.
	part bool
	// only: there is no such directive, and these are the values that the engine
	// behaves like anyway.
	only []string
	// elsewhere: the service takes care of it.
	elsewhere bool
	// blocks: what it blocks is taken from the users; see accounts. It can have nothing else.
	blocks bool
	// unset is the value that stands for the engine's own, for which nothing is written.
	unset string
}

// honours tells whether the value can be had.
func (t treatment) honours(d dialect, value string) bool {
	switch {
	case t.elsewhere:
		return true
	case t.unset != "" && value == t.unset:
		return true
	case t.blocks:
		return cache.OnlyBlocks(value)
	case t.only != nil:
		return slices.Contains(t.only, value)
	}
	return d.has(t.from)
}

// written tells whether a directive goes into the configuration file.
func (t treatment) written() bool { return t.only == nil && !t.elsewhere && !t.tried && !t.blocks }

// parameters is how each parameter of ElastiCache's families is treated, by its
// modern name (see modern). One that is missing here is not honoured.
var parameters = map[string]treatment{
	"acl-pubsub-default":                  {from: since62},
	"acllog-max-len":                      {},
	"active-defrag-cycle-max":             {},
	"active-defrag-cycle-min":             {},
	"active-defrag-ignore-bytes":          {},
	"active-defrag-max-scan-fields":       {},
	"active-defrag-threshold-lower":       {},
	"active-defrag-threshold-upper":       {},
	"active-expire-effort":                {},
	"activedefrag":                        {tried: true},
	"activerehashing":                     {},
	"appendfsync":                         {},
	"appendonly":                          {},
	"client-query-buffer-limit":           {},
	"close-on-replica-write":              {only: []string{"no"}},
	"cluster-allow-pubsubshard-when-down": {from: since70},
	"cluster-allow-reads-when-down":       {},
	"cluster-databases":                   {from: valkey9, fixedAt: true, unset: "0"},
	"cluster-enabled":                     {elsewhere: true},
	"cluster-preferred-endpoint-type":     {only: []string{"ip", "tls-dynamic"}}, // no TLS: the same thing
	"cluster-require-full-coverage":       {},
	"commandlog-large-reply-max-len":      {from: valkey81},
	"commandlog-large-request-max-len":    {from: valkey81},
	"commandlog-reply-larger-than":        {from: valkey81},
	"commandlog-request-larger-than":      {from: valkey81},
	"databases":                           {fixedAt: true},
	"extended-redis-compatibility":        {from: valkey8},
	"hash-max-listpack-entries":           {},
	"hash-max-listpack-value":             {},
	"hll-sparse-max-bytes":                {},
	"latency-tracking":                    {from: since70},
	"lazyfree-lazy-eviction":              {},
	"lazyfree-lazy-expire":                {},
	"lazyfree-lazy-server-del":            {},
	"lazyfree-lazy-user-del":              {},
	"lfu-decay-time":                      {},
	"lfu-log-factor":                      {},
	"list-compress-depth":                 {},
	"list-max-listpack-size":              {},
	"lua-replicate-commands":              {only: []string{"yes"}}, // what 7.0 does always, and 6.0 nearly
	"lua-time-limit":                      {},
	"maxclients":                          {checked: true}, // lowered to the limit of open files
	"maxmemory":                           {elsewhere: true},
	"maxmemory-policy":                    {},
	"maxmemory-samples":                   {},
	"min-replicas-max-lag":                {},
	"min-replicas-to-write":               {},
	"notify-keyspace-events":              {},
	"proto-max-bulk-len":                  {},
	"rename-commands":                     {blocks: true},
	"repl-backlog-size":                   {},
	"repl-backlog-ttl":                    {},
	"repl-timeout":                        {},
	"replica-allow-chaining":              {only: []string{"no"}}, // REPLICAOF is withheld
	"replica-ignore-maxmemory":            {},
	"replica-lazy-flush":                  {},
	"reserved-memory":                     {elsewhere: true},
	"reserved-memory-percent":             {elsewhere: true},
	"set-max-intset-entries":              {},
	"slowlog-log-slower-than":             {},
	"slowlog-max-len":                     {},
	"stream-node-max-bytes":               {},
	"stream-node-max-entries":             {},
	"tcp-keepalive":                       {},
	"timeout":                             {},
	"tracking-table-max-keys":             {},
	"zset-max-listpack-entries":           {},
	"zset-max-listpack-value":             {},

	outputLimit + "normal-hard-limit":    {part: true},
	outputLimit + "normal-soft-limit":    {part: true},
	outputLimit + "normal-soft-seconds":  {part: true},
	outputLimit + "pubsub-hard-limit":    {part: true},
	outputLimit + "pubsub-soft-limit":    {part: true},
	outputLimit + "pubsub-soft-seconds":  {part: true},
	outputLimit + "replica-hard-limit":   {part: true},
	outputLimit + "replica-soft-limit":   {part: true},
	outputLimit + "replica-soft-seconds": {part: true},
}

const outputLimit = "client-output-buffer-limit-"

// modern is the name that a parameter of an old family has in the newest ones.
func modern(name string) string {
	name = strings.ReplaceAll(name, "slave", "replica")
	switch name {
	case "list-max-ziplist-size", "hash-max-ziplist-entries", "hash-max-ziplist-value",
		"zset-max-ziplist-entries", "zset-max-ziplist-value":
		return strings.Replace(name, "ziplist", "listpack", 1)
	}
	return name
}

// spelled is how the build spells a directive of a modern name.
func spelled(d dialect, name string) string {
	if !d.has(since70) {
		return strings.Replace(name, "listpack", "ziplist", 1)
	}
	return name
}

// translate makes directives of a node's memory limit and parameters; those that
// the build cannot honour are named in unapplied, in order.
func translate(d dialect, spec cache.NodeSpec) (set map[string]string, unapplied []string) {
	set = map[string]string{"maxmemory": strconv.FormatInt(spec.MaxMemory, 10)}
	parts := map[string]string{}
	for name, value := range spec.Parameters {
		key := modern(name)
		t, known := parameters[key]
		switch {
		case !known || !t.honours(d, value):
			unapplied = append(unapplied, name)
		case t.part:
			parts[key] = value
		case t.unset != "" && value == t.unset:
		case t.written():
			set[spelled(d, key)] = value
		}
	}
	bad := outputLimits(parts, spec.MaxMemory, set)
	unapplied = append(unapplied, bad...)
	slices.Sort(unapplied)
	return set, unapplied
}

// tried are the directives to set once the node runs, for better or worse.
func tried(spec cache.NodeSpec) map[string]string {
	out := map[string]string{}
	for name, value := range spec.Parameters {
		if t := parameters[modern(name)]; t.tried || t.checked {
			out[modern(name)] = value
		}
	}
	return out
}

// Room for what is written while a replica is being fed. A limit of a tenth of
// the memory, ElastiCache's own, breaks off the feeding of a small node under load,
// again and again.
const leastReplicaBuffer = 256 << 20

// outputLimits puts the three client-output-buffer-limit lines together; it
// returns the names of parts that are no numbers.
func outputLimits(parts map[string]string, maxMemory int64, set map[string]string) (bad []string) {
	number := func(class, part string, otherwise int64) int64 {
		name := outputLimit + class + "-" + part
		s, ok := parts[name]
		if !ok || s == "" {
			return otherwise
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			bad = append(bad, name)
			return otherwise
		}
		return n
	}
	line := func(class string, hard, soft, seconds int64) {
		set["client-output-buffer-limit "+class] = fmt.Sprintf("%d %d %d", hard, soft, seconds)
	}
	line("normal", number("normal", "hard-limit", 0), number("normal", "soft-limit", 0), number("normal", "soft-seconds", 0))
	line("pubsub", number("pubsub", "hard-limit", 32<<20), number("pubsub", "soft-limit", 8<<20), number("pubsub", "soft-seconds", 60))
	room := max(maxMemory/4, leastReplicaBuffer)
	if maxMemory == 0 {
		room = 1 << 30
	}
	hard, soft := number("replica", "hard-limit", room), number("replica", "soft-limit", room)
	if hard != 0 {
		hard = max(hard, room)
	}
	if soft != 0 {
		soft = max(soft, room)
	}
	line("replica", hard, soft, number("replica", "soft-seconds", 60))
	return bad
}

// inOrder sorts directives by name.
func inOrder(set map[string]string) []directive {
	out := make([]directive, 0, len(set))
	for name, value := range set {
		if !strings.HasPrefix(name, "client-output-buffer-limit ") {
			value = quote(value)
		}
		out = append(out, directive{name, value})
	}
	slices.SortFunc(out, func(a, b directive) int { return strings.Compare(a.name, b.name) })
	return out
}
