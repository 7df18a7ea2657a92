package main

import (
	"github.com/spf13/cobra"

	"holdfast.dev/internal/objects/gateway"
)

// newInternalCmd has the commands that Holdfast starts itself with.
func newInternalCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "internal", Short: "What Holdfast starts itself with", Hidden: true, Args: noSubcommand}
	cmd.AddCommand(&cobra.Command{
		Use:   "s3",
		Short: "Serve the buckets of one region to the process that started this one",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return gateway.Main(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	})
	return cmd
}
