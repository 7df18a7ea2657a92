package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
)

func newEnvCmd() *cobra.Command {
	var dir, region string
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the exports that point AWS clients at the service",
		Long: `Env prints the environment that makes AWS CLI, the SDKs and Terraform talk to
the service of a data directory:

  eval "$(holdfast env)"
  aws elasticache describe-replication-groups`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := dataDir(dir)
			key, err := d.readRootKey()
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("no service has been started in %s yet; start one with: holdfast serve --data %s", dir, dir)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), exports(d, key, region))
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "data", defaultDataDir(), "data directory")
	cmd.Flags().StringVar(&region, "region", defaultRegion, "region to set")
	return cmd
}

// exports are the lines for a shell.
func exports(d dataDir, key rootKey, region string) string {
	listen := defaultListen
	if s, err := d.serviceInfo(); err == nil {
		listen = s.Listen
	}
	return fmt.Sprintf("export AWS_ENDPOINT_URL=http://%s\nexport AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\nexport AWS_REGION=%s\nexport AWS_DEFAULT_REGION=%s\n",
		listen, key.AccessKeyID, key.SecretAccessKey, region, region)
}
