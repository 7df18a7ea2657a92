package engine

import (
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
)

// AdminUser is the name of Holdfast's own administrator on every node.
const AdminUser = "holdfast-admin"

// withheld is one command, or some of its subcommands, that nobody but the
// administrator may give.
type withheld struct {
	command string
	from    since
	// subs are the subcommands that are withheld; empty means the whole command.
	subs []sub
	// hashes are further subcommands, which show the hashes of everybody's passwords:
	// they are withheld where users have any.
	hashes []string
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
		hashes:  []string{"getuser", "list"},
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

// customerRules are the ACL rules of the default user of a node that lets everybody in.
func customerRules(d dialect) []string {
	own := []string{"on", "nopass", "~*", "&*", "+@all"}
	return append(spoken(d, own), withhold(d, own, false)...)
}

// withhold are the rules that take away what nobody may give, to stand behind a user's
// own. With passwords there are hashes not to be seen.
func withhold(d dialect, own []string, passwords bool) []string {
	var rules []string
	for _, w := range restricted {
		if d.has(w.from) {
			rules = append(rules, w.rules(d, own, passwords)...)
		}
	}
	return rules
}

func (w withheld) rules(d dialect, own []string, passwords bool) []string {
	if len(w.subs) == 0 {
		return []string{"-" + w.command}
	}
	var hidden []string
	if passwords {
		hidden = w.hashes
	}
	if !d.has(since70) {
		return w.rulesBefore70(own, hidden)
	}
	var rules []string
	for _, s := range w.subs {
		if d.has(s.from) {
			rules = append(rules, "-"+w.command+"|"+s.name)
		}
	}
	for _, name := range hidden {
		rules = append(rules, "-"+w.command+"|"+name)
	}
	return rules
}

// rulesBefore70 take the command away and give back those of its subcommands that the
// user had by his own rules: no others, for that would be a gift.
func (w withheld) rulesBefore70(own, hidden []string) []string {
	rules := []string{"-" + w.command}
	for _, s := range w.safe {
		if !slices.Contains(hidden, s) && grantsBefore70(own, w.command, s) {
			rules = append(rules, "+"+w.command+"|"+s)
		}
	}
	return rules
}

// grantsBefore70 tells whether rules let a user of Redis 6 give a subcommand of a
// command that has just the categories admin, dangerous and slow, as all of
// restricted that have safe subcommands do, and MONITOR.
func grantsBefore70(rules []string, command, name string) bool {
	whole, one := false, false
	for _, r := range rules {
		switch strings.ToLower(r) {
		case "allcommands", "+@all", "+" + command:
			whole, one = true, false
		case "+@admin", "+@dangerous", "+@slow":
			whole = true
		case "nocommands", "-@all", "-@admin", "-@dangerous", "-@slow", "-" + command:
			whole, one = false, false
		case "+" + command + "|" + name:
			one = true
		}
	}
	return whole || one
}

// userLines are the ACL users of a node, as directives. Each begins with "reset", as
// when a running node is told: that is not quite what a new user is by itself.
func userLines(d dialect, spec cache.NodeSpec) []directive {
	lines := make([]directive, 0, 2)
	for _, a := range append([]account{administrator(d, spec.Secret)}, accounts(d, spec)...) {
		words := []string{word(a.name), "reset"}
		for _, r := range a.rules {
			words = append(words, word(r))
		}
		lines = append(lines, directive{"user", strings.Join(words, " ")})
	}
	return lines
}
