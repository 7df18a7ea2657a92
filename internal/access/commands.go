package access

import (
	_ "embed"
	"slices"
	"strings"
)

// The oldest engine versions that understand a kind of rule.
const (
	Oldest    = "6.0" // has users at all
	channels  = "6.2"
	selectors = "7.0"
	databases = "9.1"
)

//go:embed commands.txt
var commandTable string

// commands are the commands, and the subcommands as "client|list", with the version that
// has them first.
var commands = readCommands(commandTable)

// containers are the commands that have subcommands.
var containers = func() map[string]bool {
	out := map[string]bool{}
	for name := range commands {
		if c, _, ok := strings.Cut(name, "|"); ok {
			out[c] = true
		}
	}
	return out
}()

// categoriesOf are those that containers are in before 7.0, where it matters that one
// cannot be given what is contained in what one has.
var categoriesOf = map[string][]string{
	"acl":     {"all", "admin", "slow", "dangerous"},
	"client":  {"all", "admin", "slow", "dangerous", "connection"},
	"cluster": {"all", "admin", "slow", "dangerous"},
	"command": {"all", "slow", "connection"},
	"config":  {"all", "admin", "slow", "dangerous"},
	"latency": {"all", "admin", "slow", "dangerous"},
	"memory":  {"all", "read", "slow"},
	"module":  {"all", "admin", "slow", "dangerous"},
	"object":  {"all", "keyspace", "read", "slow"},
	"pubsub":  {"all", "pubsub", "slow"},
	"script":  {"all", "slow", "scripting"},
	"slowlog": {"all", "admin", "slow", "dangerous"},
	"xgroup":  {"all", "write", "stream", "slow"},
	"xinfo":   {"all", "read", "stream", "slow"},
}

// inCategory tells whether a command may be in a category. Of one that is no container
// this differs from version to version, so each counts.
func inCategory(command, category string) bool {
	in, known := categoriesOf[command]
	return !known || slices.Contains(in, category)
}

func readCommands(table string) map[string]string {
	out := map[string]string{}
	version := ""
	for line := range strings.Lines(table) {
		if v, ok := strings.CutPrefix(line, "# since "); ok {
			version = strings.TrimSpace(v)
		} else if !strings.HasPrefix(line, "#") {
			for _, name := range strings.Fields(line) {
				out[name] = version
			}
		}
	}
	return out
}

// categories as ACL CAT lists them, the same on every engine.
var categories = []string{
	"all", "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo", "stream",
	"pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting",
}

// Forbidden tells whether a command, or a subcommand as "cluster|meet", is one that no
// user can be given by name.
func Forbidden(name string) bool {
	command, _, _ := strings.Cut(name, "|")
	return slices.Contains(forbidden, name) || slices.Contains(forbidden, command)
}

// forbidden are ElastiCache's restricted commands, and those beyond its list that change
// what a node is behind the service's back.
var forbidden = []string{
	"bgrewriteaof", "bgsave", "config", "debug", "failover", "migrate", "psync", "replicaof", "save", "shutdown", "slaveof", "sync",
	"acl|setuser", "acl|deluser", "acl|load", "acl|save",
	"module|load", "module|loadex", "module|unload",
	"cluster|addslots", "cluster|addslotsrange", "cluster|bumpepoch", "cluster|cancelslotmigrations", "cluster|delslots",
	"cluster|delslotsrange", "cluster|failover", "cluster|flushslots", "cluster|forget", "cluster|links", "cluster|meet",
	"cluster|migrateslots", "cluster|replicate", "cluster|reset", "cluster|saveconfig", "cluster|set-config-epoch",
	"cluster|setslot", "cluster|syncslots",
}
