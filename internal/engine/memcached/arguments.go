package memcached

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
)

// flag says how one parameter is said at the start.
type flag struct {
	// say gives the arguments for a value; nil arguments mean that nothing has to be said.
	say func(value string) []string
	// own is a value that memcached has by itself and that is better not said; since is the
	// version from which any other can be.
	own, since string
}

// with is a flag that takes the value.
func with(letter string) flag {
	return flag{say: func(v string) []string { return []string{letter, v} }}
}

// on is a flag that stands where the value is 1.
func on(letter string) flag {
	return flag{say: func(v string) []string {
		if v != "1" {
			return nil
		}
		return []string{letter}
	}}
}

// off is a flag that stands where the value is 0.
func off(letter string) flag {
	return flag{say: func(v string) []string {
		if v != "0" {
			return nil
		}
		return []string{letter}
	}}
}

// option is one of -o.
func option(name string) flag {
	return flag{say: func(v string) []string { return []string{"-o", name + "=" + v} }}
}

// choice is one of -o that is said with 1 and denied with 0.
func choice(name string) flag {
	return flag{say: func(v string) []string {
		if v == "1" {
			return []string{"-o", name}
		}
		return []string{"-o", "no_" + name}
	}}
}

// named is one of -o that is only said.
func named(name string) flag {
	return flag{say: func(v string) []string {
		if v != "1" {
			return nil
		}
		return []string{"-o", name}
	}}
}

// silent: the engine has nothing of the sort, and what the value says is so anyway.
func silent() flag { return flag{say: func(string) []string { return nil }} }

// flags of all parameters, in ElastiCache's names.
var flags = map[string]flag{
	"backlog_queue_limit":          with("-b"),
	"binding_protocol":             with("-B"),
	"cas_disabled":                 on("-C"),
	"chunk_size":                   with("-n"),
	"chunk_size_growth_factor":     with("-f"),
	"disable_flush_all":            on("-F"),
	"error_on_memory_exhausted":    on("-M"),
	"hash_algorithm":               option("hash_algorithm"),
	"hashpower_init":               option("hashpower"),
	"idle_timeout":                 option("idle_timeout"),
	"large_memory_pages":           on("-L"),
	"lock_down_paged_memory":       on("-k"),
	"lru_crawler":                  choice("lru_crawler"),
	"lru_maintainer":               choice("lru_maintainer"),
	"max_item_size":                with("-I"),
	"max_simultaneous_connections": with("-c"),
	"maxconns_fast":                choice("maxconns_fast"),
	"maximize_core_file_limit":     on("-r"),
	"num_threads":                  with("-t"),
	"requests_per_event":           with("-R"),
	"slab_automove":                option("slab_automove"),
	"slab_reassign":                choice("slab_reassign"),
	"track_sizes":                  named("track_sizes"),
	"watch":                        off("-W"),
	"watcher_logbuf_size":          option("watcher_logbuf_size"),
	// 1.6.18 takes the kilobytes for bytes.
	"slab_chunk_max": {say: func(v string) []string { return kilobytes("slab_chunk_max", v) }, own: "524288", since: "1.6.38"},
	// Before 1.6.45 it is taken for the sizes of the slabs, of which two are left then.
	"worker_logbuf_size": {say: option("worker_logbuf_size").say, own: "64", since: "1.6.45"},
	"inline_ascii_resp":  choice("inline_ascii_resp"),

	// What the front answers is not bounded by these, and is always smaller.
	"config_max": silent(), "config_size_max": silent(),
	// These two are one: memory for items is what the connections leave of it.
	"max_cache_memory": silent(), "memcached_connections_overhead": silent(),
}

func kilobytes(name, bytes string) []string {
	n, err := strconv.Atoi(bytes)
	if err != nil {
		return nil
	}
	return []string{"-o", name + "=" + strconv.Itoa(n/1024)}
}

// eras are said before everything else, which they would undo.
var eras = map[string]flag{"no_modern": named("no_modern"), "modern": choice("modern")}

// spareFiles are descriptors that memcached needs besides those of its clients.
const spareFiles = 100

// arguments are the command line for a set of parameters, and the names of those that the build
// cannot honour. Memory is not reserved for a core file, nor are files dumped.
func arguments(b catalog.Build, parameters map[string]string) (args, unapplied []string) {
	args = []string{"-s", socketFile, "-a", "0700", "-U", "0", "-v"}
	if os.Geteuid() == 0 {
		args = append(args, "-u", "root") // it does not run as root unless it is told to
	}
	args = append(args, "-m", strconv.Itoa(itemMegabytes(parameters)))
	names := make([]string, 0, len(parameters))
	for name := range parameters {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int {
		_, xEra := eras[x]
		_, yEra := eras[y]
		if xEra != yEra {
			if xEra {
				return -1
			}
			return 1
		}
		return strings.Compare(x, y)
	})
	for _, name := range names {
		value := parameters[name]
		f, known := flags[name]
		if !known {
			f, known = eras[name]
		}
		switch {
		case known && f.own != "" && value == f.own:
		case !known || f.since != "" && cache.CompareVersions(b.Version, f.since) < 0:
			unapplied = append(unapplied, name)
		case name == "max_simultaneous_connections":
			n := affordable(value)
			if n != value {
				unapplied = append(unapplied, name)
			}
			args = append(args, f.say(n)...)
		default:
			args = append(args, f.say(value)...)
		}
	}
	return args, unapplied
}

// itemMegabytes is the memory for items: what the node type has for its cache, less what
// connections take of it.
func itemMegabytes(parameters map[string]string) int {
	whole, err := strconv.Atoi(parameters["max_cache_memory"])
	if err != nil {
		whole = 64 // memcached's own
	}
	overhead, err := strconv.Atoi(parameters["memcached_connections_overhead"])
	if err != nil {
		overhead = 0
	}
	return max(1, whole-overhead)
}

// affordable is a number of connections that this machine allows: memcached does not start with more
// than it may have open files.
func affordable(value string) string {
	n, err := strconv.ParseUint(value, 10, 64)
	most := openFiles()
	if err != nil || most == 0 || n+spareFiles <= most {
		return value
	}
	return strconv.FormatUint(max(most, 2*spareFiles)-spareFiles, 10)
}
