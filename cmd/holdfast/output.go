package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// output is the form in which a command prints what it found.
type output string

func (o *output) addFlag(cmd *cobra.Command) {
	*o = "table"
	cmd.Flags().VarP(o, "output", "o", "table or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)) // fails only for an unknown flag
}

// Set, String and Type make it a flag.
func (o *output) Set(s string) error {
	if s != "table" && s != "json" {
		return fmt.Errorf("it must be table or json")
	}
	*o = output(s)
	return nil
}
func (o *output) String() string { return string(*o) }
func (o *output) Type() string   { return "FORMAT" }

func (o *output) json() bool { return *o == "json" }

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("cannot print: %w", err)
	}
	return nil
}

// differs is the error of a comparison that found differences; they have been
// printed, so it has nothing to add.
type differs struct{}

func (differs) Error() string { return "" }
func (differs) ExitCode() int { return exitDiffers }
