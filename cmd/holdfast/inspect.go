package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/source"
)

// inspectOptions bound what is listed.
type inspectOptions struct{ top, depth int }

func newInspectCmd() *cobra.Command {
	var (
		acc access
		out output
		o   inspectOptions
	)
	cmd := &cobra.Command{
		Use:   "inspect END",
		Short: "Tell what an RDB file or a server holds: types, prefixes, sizes, TTLs",
		Long: `Inspect reads an end once and counts keys and bytes by type, database and key
prefix (the parts that ":" ends), lists the biggest keys, and tells when keys
expire. Of files it also shows what their headers say. Bytes are those of the
serialized key and value, not of memory. It needs little memory whatever the size.

` + endsHelp,
		Example: `  holdfast inspect dump.rdb
  holdfast inspect s3://bucket/orders-0001.rdb --depth 2 --top 20
  holdfast inspect redis://127.0.0.1:6379 --output json`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.top < 0 || o.depth < 0 {
				return usageError{errors.New("--top and --depth must not be negative")}
			}
			e, err := acc.parse(args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return runInspect(cmd, e, &o, &out)
		},
	}
	acc.addReadFlags(cmd)
	out.addFlag(cmd)
	cmd.Flags().IntVar(&o.top, "top", 10, "list so many of the biggest keys, and of the prefixes")
	cmd.Flags().IntVar(&o.depth, "depth", 1, `count prefixes of so many parts: at 2, "shop:cart:17" counts as "shop:cart:"`)
	return cmd
}

func runInspect(cmd *cobra.Command, e *end, o *inspectOptions, out *output) error {
	ctx := cmd.Context()
	src, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer src.Close()
	p := newProgress(cmd.ErrOrStderr(), "inspect", e.size(ctx))
	defer p.Done()
	began := time.Now()
	s := newSurvey(o, began)
	for entry, err := range src.Entries(ctx) {
		if err == nil {
			err = s.add(entry)
		}
		if err != nil {
			p.Done()
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if s.All.Keys&1023 == 0 {
			p.Set(s.All.Keys)
		}
	}
	p.Done()
	r := s.result(e.name, filesOf(src), newTiming(time.Since(began), s.All.Keys))
	if out.json() {
		return printJSON(cmd.OutOrStdout(), r)
	}
	return r.print(cmd.OutOrStdout())
}

// fileReport is what an RDB file says besides its keys.
type fileReport struct {
	Name        string            `json:"name"`
	Header      string            `json:"header"`
	Bytes       int64             `json:"bytes"`
	Checksummed bool              `json:"checksummed"`
	Aux         map[string]string `json:"aux"`
	Functions   int               `json:"functions"`
	ModuleAux   int               `json:"moduleAux"`
	SlotImports int               `json:"slotImports"`
}

func filesOf(src flow.Source) []fileReport {
	r, ok := src.(*source.RDB)
	if !ok {
		return nil
	}
	var out []fileReport
	for _, f := range r.Files() {
		fr := fileReport{
			Name: f.Name, Header: f.Header.String(), Bytes: f.Bytes, Checksummed: f.Checksummed, Aux: map[string]string{},
			Functions: len(f.Functions), ModuleAux: len(f.ModuleAux), SlotImports: f.SlotImports,
		}
		for _, a := range f.Aux {
			fr.Aux[a.Name] = a.Value
		}
		out = append(out, fr)
	}
	return out
}
