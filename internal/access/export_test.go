package access

import (
	"maps"
	"slices"
)

func Commands() []string   { return slices.Sorted(maps.Keys(commands)) }
func Categories() []string { return categories }
