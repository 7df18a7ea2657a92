package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/authority"
)

func newCACmd() *cobra.Command {
	var dir string
	var rotate bool
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Print the certificates that clients have to trust",
		Long: `Ca prints the certificates of the authority of a data directory, in PEM. Clients of
caches with encryption in transit have to trust them:

  holdfast ca > holdfast-ca.pem

The authority is made at its first use. To have one of your own used instead, put its
certificate and its key into authority/ca.pem and authority/ca-key.pem before that.

With --rotate a new authority takes its place first. What the former one signed stays
good for those who trust what is printed then, and a service that runs gives every node a
new certificate within a minute, while it serves: hand the new certificates to clients
that are to connect after that.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := dataDir(dir)
			if !d.exists() {
				return fmt.Errorf("no service has been started in %s yet; start one with: holdfast serve --data %s", dir, dir)
			}
			a, err := authority.Open(d.authority(), time.Now)
			if err != nil {
				return err
			}
			if rotate {
				if err := a.Rotate(); err != nil {
					return err
				}
			}
			_, err = cmd.OutOrStdout().Write(a.Bundle())
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "data", defaultDataDir(), "data directory")
	cmd.Flags().BoolVar(&rotate, "rotate", false, "make a new authority first")
	return cmd
}
