package engine

import "holdfast.dev/internal/cache"

// blocked are the rules that take from a user what the parameter rename-commands blocks.
// They stand behind all others, those that give something back included.
//
// Another name cannot be had by rules, and rename-command in the engines' files is no way
// to it: the primary sends what clients typed, and names of its own where it sends
// something else, so nodes that are restarted one after the other, and every one with a
// log on disk, would lose writes.
func blocked(spec cache.NodeSpec) []string {
	commands := cache.BlockedCommands(spec.Parameters[cache.ParamRenameCommands])
	rules := make([]string, len(commands))
	for i, c := range commands {
		rules[i] = "-" + c
	}
	return rules
}
