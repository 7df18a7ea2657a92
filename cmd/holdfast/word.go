package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// word is a flag whose value is one of a few words.
type word struct {
	name  string
	among []string
}

func (c *word) addFlag(cmd *cobra.Command, name, usage string) {
	cmd.Flags().Var(c, name, usage)
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(c.among, cobra.ShellCompDirectiveNoFileComp)) // fails only for an unknown flag
}

// Set, String and Type make it a flag.
func (c *word) Set(s string) error {
	for _, name := range c.among {
		if s == name {
			c.name = s
			return nil
		}
	}
	return fmt.Errorf("it must be one of %s", strings.Join(c.among, ", "))
}
func (c *word) String() string { return c.name }
func (c *word) Type() string   { return "WORD" }
