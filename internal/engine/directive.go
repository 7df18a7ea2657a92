package engine

import (
	"fmt"
	"strconv"
	"strings"

	"holdfast.dev/internal/cache"
)

// directive is one line of a configuration file. value holds everything after
// the name; where it may contain spaces or be empty it is quoted by quote.
type directive struct {
	name, value string
}

func (d directive) String() string { return d.name + " " + d.value }

// quote makes one argument of any text, as the engines' parser reads it back.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, "\\x%02x", c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// word is one argument, quoted where the parser would read another than this.
func word(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"'\\", r) }) {
		return quote(s)
	}
	return s
}

// fixed are the directives that every node has, whatever its parameters say.
var fixed = []struct {
	directive
	from since
}{
	// The supervisor holds the process and its output.
	{directive{"daemonize", "no"}, always},
	{directive{"supervised", "no"}, always},
	{directive{"pidfile", `""`}, always},
	{directive{"logfile", `""`}, always},
	{directive{"loglevel", "notice"}, always},
	{directive{"syslog-enabled", "no"}, always},
	{directive{"always-show-logo", "no"}, always},
	// The command line goes on naming the node's directory.
	{directive{"set-proc-title", "no"}, since62},
	// A memory test of gigabytes would keep a crashed node from being noticed.
	{directive{"crash-memcheck-enabled", "no"}, since62},
	// The default user has no password; who may connect is decided by the address.
	{directive{"protected-mode", "no"}, always},
	// Nothing is saved but what the persistence parameters ask for.
	{directive{"save", `""`}, always},
	{directive{"stop-writes-on-bgsave-error", "no"}, always},
	{directive{"shutdown-on-sigterm", "nosave"}, since70},
	{directive{"shutdown-on-sigint", "nosave"}, since70},
	{directive{"rdb-save-incremental-fsync", "yes"}, always},
	// Compression halves the speed of synchronizations and snapshots, and the
	// longer a fork lives the more memory it costs.
	{directive{"rdbcompression", "no"}, always},
	{directive{"rdbchecksum", "yes"}, always},
	// Replicas are fed from memory, at once.
	{directive{"repl-diskless-sync", "yes"}, always},
	{directive{"repl-diskless-sync-delay", "0"}, always},
	// A replica with no data has none to lose when a stream breaks off; one with
	// data keeps it until the new set is complete on disk.
	{directive{"repl-diskless-load", "on-empty-db"}, since70},
	{directive{"rdb-del-sync-files", "yes"}, always},
	{directive{"replica-read-only", "yes"}, always},
	{directive{"replica-serve-stale-data", "yes"}, always},
	// More threads than cores are ruinous, and nodes share the cores.
	{directive{"io-threads", "1"}, always},
	{directive{"enable-debug-command", "no"}, since70},
	{directive{"enable-module-command", "no"}, since70},
	{directive{"enable-protected-configs", "no"}, since70},
}

// configuration is the whole file of a node, line by line.
func configuration(d dialect, dir string, spec cache.NodeSpec) []directive {
	conf := []directive{
		{"bind", strings.Join(hosts(spec), " ")},
		{"replica-announce-ip", spec.Address.Host},
		{"dir", quote(dir)},
		{"dbfilename", dumpFile},
	}
	conf = append(conf, tlsLines(dir, spec)...)
	if d.has(since70) {
		// Older ones leave from the first address they listen at by themselves.
		conf = append(conf, directive{"bind-source-addr", spec.Address.Host})
	}
	for _, f := range fixed {
		if d.has(f.from) {
			conf = append(conf, f.directive)
		}
	}
	set, _ := translate(d, spec)
	if spec.Seeded {
		// The seed is an RDB file, and an engine that keeps an append-only file
		// reads nothing else. ClearSeed turns it on again.
		conf = append(conf, directive{"dbfilename", seedFile})
		set["appendonly"] = "no"
	}
	conf = append(conf, inOrder(set)...)
	conf = append(conf, clusterLines(d, spec)...)
	conf = append(conf, userLines(d, spec)...)
	conf = append(conf, directive{"masteruser", AdminUser}, directive{"masterauth", quote(spec.Secret)})
	if !spec.Primary.IsZero() && spec.Cluster == nil {
		conf = append(conf, directive{"replicaof", spec.Primary.Host + " " + strconv.Itoa(spec.Primary.Port)})
	}
	return conf
}

// hosts are the addresses that the node listens at, its own first.
func hosts(spec cache.NodeSpec) []string {
	out := []string{spec.Address.Host}
	for _, b := range spec.Binds {
		if b != spec.Address.Host {
			out = append(out, b)
		}
	}
	return out
}
