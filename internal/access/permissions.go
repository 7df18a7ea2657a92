package access

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// permissions are what a user has by its own rules, or by those of one selector. The zero
// value has none, as a new user on an engine.
type permissions struct {
	allKeys bool
	keys    []string // with their prefix: "~a:*", "%R~b:*"

	// listed: the channels are those in channels alone. Without it and without all it is
	// for the parameter acl-pubsub-default to say.
	allChannels, listed bool
	channels            []string

	// limited: the databases are those in dbs alone.
	limited bool
	dbs     []string

	// commands in the order in which they were given, from the last +@all or -@all on.
	commands []string
}

// apply takes one rule in.
func (p *permissions) apply(rule string) error {
	word := strings.ToLower(rule)
	switch word {
	case "allkeys", "~*":
		p.allKeys, p.keys = true, nil
	case "resetkeys":
		p.allKeys, p.keys = false, nil
	case "allchannels", "&*":
		p.allChannels, p.listed, p.channels = true, false, nil
	case "resetchannels":
		p.allChannels, p.listed, p.channels = false, true, nil
	case "allcommands", "+@all":
		p.commands = []string{"+@all"}
	case "nocommands", "-@all":
		p.commands = nil
	case "alldbs":
		p.limited, p.dbs = false, nil
	case "resetdbs":
		p.limited, p.dbs = true, nil
	default:
		return p.applyNamed(rule, word)
	}
	return nil
}

// applyNamed takes a rule in that names something.
func (p *permissions) applyNamed(rule, word string) error {
	switch {
	case word[0] == '~', word[0] == '%':
		return p.addKey(rule)
	case word[0] == '&':
		return p.addChannel(rule)
	case word[0] == '+', word[0] == '-':
		return p.addCommand(word)
	case strings.HasPrefix(word, "db="):
		return p.setDatabases(word)
	case strings.ContainsAny(word[:1], "><#!"):
		return errors.New("passwords cannot be specified in an access string")
	}
	return fmt.Errorf("the rule %s is unknown", rule)
}

func (p *permissions) addKey(rule string) error {
	if p.allKeys {
		return fmt.Errorf("the rule %s has no effect after ~* or allkeys; begin with resetkeys", rule)
	}
	kind, pattern, ok := strings.Cut(rule, "~")
	if !ok {
		return fmt.Errorf("the rule %s is incomplete: a pattern follows %%R~, %%W~ or %%RW~", rule)
	}
	if kind != "" {
		switch strings.ToUpper(kind) {
		case "%R", "%W":
			kind = strings.ToUpper(kind)
		case "%RW", "%WR":
			kind = "%RW"
		default:
			return fmt.Errorf("the rule %s is unknown: key permissions are %%R~, %%W~ and %%RW~", rule)
		}
	}
	p.keys = addOnce(p.keys, kind+"~"+pattern)
	return nil
}

func (p *permissions) addChannel(rule string) error {
	if p.allChannels {
		return fmt.Errorf("the rule %s has no effect after &* or allchannels; begin with resetchannels", rule)
	}
	// Those that are named are all that there are, whatever the default is.
	p.listed = true
	p.channels = addOnce(p.channels, rule)
	return nil
}

func (p *permissions) setDatabases(word string) error {
	var dbs []string
	for id := range strings.SplitSeq(strings.TrimPrefix(word, "db="), ",") {
		n, err := strconv.ParseUint(id, 10, 31)
		if err != nil {
			return fmt.Errorf("the rule %s does not name databases by their numbers, separated by commas", word)
		}
		dbs = addOnce(dbs, strconv.FormatUint(n, 10))
	}
	p.limited, p.dbs = true, dbs
	return nil
}

func addOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// addCommand takes a rule in that gives or takes commands. word is in lower case, as the
// engines do not tell the cases apart.
func (p *permissions) addCommand(word string) error {
	name := word[1:]
	if category, ok := strings.CutPrefix(name, "@"); ok {
		if !slices.Contains(categories, category) {
			return fmt.Errorf("the rule %s names an unknown category of commands", word)
		}
		p.commands = append(p.commands, word)
		return nil
	}
	if err := checkCommand(word); err != nil {
		return err
	}
	if _, ok := firstArgument(name); ok && p.mayHave(len(p.commands), name) {
		return fmt.Errorf("the rule %s has no effect: the whole command may have been given before it", word)
	}
	p.commands = append(p.commands, word)
	return nil
}

// checkCommand refuses commands that there are not, and those that nobody gets.
func checkCommand(word string) error {
	name := word[1:]
	command, sub, part := strings.Cut(name, "|")
	_, known := commands[name]
	switch _, argument := firstArgument(name); {
	case commands[command] == "", containers[command] && part && !known, part && sub == "", strings.Contains(sub, "|"):
		return fmt.Errorf("the rule %s names an unknown command", word)
	case word[0] == '+' && Forbidden(name):
		return fmt.Errorf("the command %s is restricted and cannot be specified in an access string", name)
	case argument && word[0] == '-':
		return fmt.Errorf("the rule %s is not possible: a first argument can be given, not taken away", word)
	}
	return nil
}

// firstArgument tells whether a rule is of the kind "select|0": a command that has no
// subcommands, with its first argument.
func firstArgument(name string) (command string, ok bool) {
	command, _, part := strings.Cut(name, "|")
	return command, part && !containers[command]
}

// mayHave tells whether the command of a rule may have been given as a whole by the n
// rules before it.
func (p *permissions) mayHave(n int, name string) bool {
	command, _, _ := strings.Cut(name, "|")
	for _, before := range slices.Backward(p.commands[:n]) {
		switch {
		case before == "-"+command:
			return false
		case before == "+"+command, strings.HasPrefix(before, "+@") && inCategory(command, before[2:]):
			return true
		}
	}
	return false
}

// rules prints the permissions.
func (p *permissions) rules() []string {
	var out []string
	if p.allKeys {
		out = append(out, "~*")
	}
	out = append(out, p.keys...)
	switch {
	case p.allChannels:
		out = append(out, "&*")
	case p.listed:
		out = append(append(out, "resetchannels"), p.channels...)
	}
	switch {
	case p.limited && len(p.dbs) > 0:
		out = append(out, "db="+strings.Join(p.dbs, ","))
	case p.limited:
		out = append(out, "resetdbs")
	}
	if len(p.commands) == 0 || p.commands[0] != "+@all" {
		out = append(out, "-@all")
	}
	return append(out, p.commands...)
}
