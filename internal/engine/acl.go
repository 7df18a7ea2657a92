package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// AdminUser is the name of Holdfast's own administrator on every node.
const AdminUser = "holdfast-admin"

// withheld is one command, or some of its subcommands, that the default user
// may not give.
type withheld struct {
	command string
	from    since
	// subs are the subcommands that are withheld; empty means the whole command.
	subs []sub
	// safe are all others, which is how Redis 6.0 has to be told: it cannot take
	// one subcommand away, only give some of a command taken away back.
	safe []string
}

type sub struct {
	name string
	from since
}

// restricted is what ElastiCache withholds from its customers, and beyond its
// list: MODULE, which runs foreign code as us; FAILOVER and the commands that
// move slots, which change roles behind the service's back.
var restricted = []withheld{
	{command: "bgrewriteaof"},
	{command: "bgsave"},
	{command: "save"},
	{command: "config"},
	{command: "debug"},
	{command: "shutdown"},
	{command: "migrate"},
	{command: "psync"},
	{command: "sync"},
	{command: "replicaof"},
	{command: "slaveof"},
	{command: "failover", from: since62},
	{
		command: "acl",
		subs:    []sub{{name: "setuser"}, {name: "deluser"}, {name: "load"}, {name: "save"}},
		safe:    []string{"cat", "genpass", "getuser", "help", "list", "log", "users", "whoami"},
	},
	{
		command: "module",
		subs:    []sub{{name: "load"}, {name: "loadex", from: since70}, {name: "unload"}},
		safe:    []string{"help", "list"},
	},
	{
		command: "cluster",
		subs: []sub{
			{name: "addslots"},
			{name: "addslotsrange", from: since70},
			{name: "bumpepoch"},
			{name: "delslots"},
			{name: "delslotsrange", from: since70},
			{name: "failover"},
			{name: "flushslots"},
			{name: "forget"},
			{name: "links", from: since70},
			{name: "meet"},
			{name: "replicate"},
			{name: "reset"},
			{name: "saveconfig"},
			{name: "set-config-epoch"},
			{name: "setslot"},
			{name: "migrateslots", from: valkey9},
			{name: "cancelslotmigrations", from: valkey9},
			{name: "syncslots", from: valkey9},
		},
		safe: []string{
			"count-failure-reports", "countkeysinslot", "getkeysinslot", "help",
			"info", "keyslot", "myid", "nodes", "replicas", "slaves", "slots",
		},
	},
}

// customerRules are the ACL rules of the default user.
func customerRules(d dialect) []string {
	rules := []string{"on", "nopass", "~*"}
	if d.has(since62) {
		rules = append(rules, "&*")
	}
	rules = append(rules, "+@all")
	for _, w := range restricted {
		if d.has(w.from) {
			rules = append(rules, w.rules(d)...)
		}
	}
	return rules
}

func (w withheld) rules(d dialect) []string {
	if len(w.subs) == 0 {
		return []string{"-" + w.command}
	}
	var rules []string
	if !d.has(since70) {
		rules = append(rules, "-"+w.command)
		for _, s := range w.safe {
			rules = append(rules, "+"+w.command+"|"+s)
		}
		return rules
	}
	for _, s := range w.subs {
		if d.has(s.from) {
			rules = append(rules, "-"+w.command+"|"+s.name)
		}
	}
	return rules
}

// userLines are the ACL users of a node, as directives.
func userLines(d dialect, secret string) []directive {
	sum := sha256.Sum256([]byte(secret))
	admin := []string{"on", "#" + hex.EncodeToString(sum[:]), "~*"}
	if d.has(since62) {
		admin = append(admin, "&*")
	}
	admin = append(admin, "+@all")
	return []directive{
		{"user", AdminUser + " " + strings.Join(admin, " ")},
		{"user", "default " + strings.Join(customerRules(d), " ")},
	}
}
