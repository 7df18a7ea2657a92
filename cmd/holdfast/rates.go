package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// addRateFlags adds the flags that limit a rate; usage has a %s for what is counted.
func (a *access) addRateFlags(cmd *cobra.Command, usage string) {
	f := cmd.Flags()
	f.Int64Var(&a.rate.Keys, "max-keys-per-second", 0, fmt.Sprintf(usage, "keys"))
	f.Int64Var(&a.rate.Bytes, "max-bytes-per-second", 0, fmt.Sprintf(usage, "bytes of keys and values"))
	f.Int64Var(&a.rate.Keys, "rate", 0, "the former name of --max-keys-per-second")
	_ = f.MarkHidden("rate") // fails only for an unknown flag
}
