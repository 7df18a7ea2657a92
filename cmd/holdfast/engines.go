package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/engine/catalog"
)

func newEnginesCmd() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "engines",
		Short: "List the installed engines and the versions that they serve",
		Long: `Engines lists the Redis, Valkey and Memcached builds that are installed, and for
every version that ElastiCache names the build that would serve it: the same
engine, of that version or the closest newer one. Install more with
scripts/engines.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := catalog.Scan(cmd.Context())
			if err != nil {
				return err
			}
			for _, p := range c.Problems() {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", p)
			}
			switch output {
			case "json":
				return enginesJSON(cmd.OutOrStdout(), c)
			case "table":
				return enginesTable(cmd.OutOrStdout(), c)
			}
			return usageError{fmt.Errorf("--output is table or json, not %q", output)}
		},
	}
	cmd.Flags().StringVar(&output, "output", "table", "table or json")
	return cmd
}

func enginesTable(out io.Writer, c *catalog.Catalog) error {
	builds := c.Builds()
	if len(builds) == 0 {
		_, err := fmt.Fprintln(out, "No engine is installed. Install the usual ones with: scripts/engines install")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "INSTALLED\tRDB\tSERVER")
	for _, b := range builds {
		fmt.Fprintf(w, "%s\t%s\t%s\n", b.Name, rdbOf(b), b.Server)
	}
	fmt.Fprintln(w, "\nASKED FOR\tFAMILY\tSERVED BY\tLACKS")
	for _, v := range c.Versions() {
		by := v.Build.Name
		if !v.Exact {
			by += " (closest)"
		}
		fmt.Fprintf(w, "%s %s\t%s\t%s\t%s\n", v.Engine, v.Version, v.Family, by, strings.Join(v.Lacks, ", "))
	}
	return w.Flush()
}

func rdbOf(b catalog.Build) string {
	if b.RDBVersion == 0 {
		return "-"
	}
	return fmt.Sprint(b.RDBVersion)
}

func enginesJSON(out io.Writer, c *catalog.Catalog) error {
	type installed struct {
		Name, Engine, Version, Server string
		RDBVersion                    int `json:",omitempty"`
	}
	type served struct {
		Engine, Version, Family, Build string
		Exact                          bool
		Lacks                          []string `json:",omitempty"`
	}
	var list struct {
		Installed []installed
		Versions  []served
	}
	for _, b := range c.Builds() {
		list.Installed = append(list.Installed, installed{b.Name, b.Engine, b.Version, b.Server, b.RDBVersion})
	}
	for _, v := range c.Versions() {
		list.Versions = append(list.Versions, served{v.Engine, v.Version, v.Family, v.Build.Name, v.Exact, v.Lacks})
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(list)
}
