package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/store"
)

// reportOptions are the flags of "holdfast report".
type reportOptions struct {
	dir, region string
	all         bool
	out         output
}

func newReportCmd() *cobra.Command {
	var o reportOptions
	cmd := &cobra.Command{
		Use:   "report GROUP",
		Short: "Tell what an upgrade or a resize did to a cache, and whether data was lost",
		Long: `Report shows, for each node, what it held and did before a change of its engine
version or node type, while that was under way, and afterwards, and says whether
anything was lost. GROUP is a replication group, or a cache cluster that stands
alone. The latest change is shown; with --all the last 20 are, oldest first.

"no data lost" is said only where every key of a new node was compared with the
one that it took the place of, or no node was replaced, nothing was evicted, and no
item is missing that did not expire and that no client took away.

It works while the service runs and while it does not. Exit code 3 means that data
may have been lost in one of the changes that are shown.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runReport(cmd.Context(), o, args[0], cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "data", defaultDataDir(), "data directory")
	f.StringVar(&o.region, "region", defaultRegion, "region of the cache")
	f.BoolVar(&o.all, "all", false, "show all reports that are kept")
	o.out.addFlag(cmd)
	return cmd
}

func runReport(ctx context.Context, o reportOptions, id string, w io.Writer) error {
	dir := dataDir(o.dir)
	if !dir.exists() {
		return fmt.Errorf("nothing has ever been started in %s", dir)
	}
	reports, err := dir.upgradeReports(ctx, o.region, id)
	if err != nil {
		return fmt.Errorf("cannot tell of %s: %w", id, err)
	}
	if len(reports) == 0 {
		return fmt.Errorf("%s has never been upgraded or resized", id)
	}
	if !o.all {
		reports = reports[len(reports)-1:]
	}
	if o.out.json() {
		err = printReportsJSON(w, reports)
	} else {
		err = printReports(w, reports)
	}
	for i := range reports {
		if err == nil && reports[i].Judge().Outcome == cache.OutcomePossible {
			err = differs{}
		}
	}
	return err
}

// upgradeReports asks the running service, or reads the records if none runs.
func (d dataDir) upgradeReports(ctx context.Context, region, id string) ([]cache.UpgradeReport, error) {
	const tries = 20 // a service that is just starting or ending holds the records and does not answer
	for try := 1; ; try++ {
		db, err := store.Open(ctx, d.database())
		if err == nil {
			ctl := &control.Control{Config: control.Config{DB: db, Now: time.Now}}
			out, err := ctl.UpgradeReports(ctx, region, id)
			return out, errors.Join(err, db.Close())
		}
		if !errors.Is(err, store.ErrLocked) {
			return nil, err
		}
		out, err := d.askReports(ctx, region, id)
		var refused *cache.Fault
		if err == nil || errors.As(err, &refused) || try == tries {
			return out, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), err)
		case <-time.After(time.Second):
		}
	}
}

// askReports asks the running service.
func (d dataDir) askReports(ctx context.Context, region, id string) ([]cache.UpgradeReport, error) {
	body, err := d.askOwn(ctx, region, map[string]string{"Action": "DescribeUpgradeReports", "CacheId": id})
	if err != nil {
		return nil, err
	}
	var doc struct {
		Document string `xml:"DescribeUpgradeReportsResult>Document"`
	}
	if err := xml.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("cannot read the service's answer: %w", err)
	}
	var out []cache.UpgradeReport
	if err := json.Unmarshal([]byte(doc.Document), &out); err != nil {
		return nil, fmt.Errorf("cannot read the service's answer: %w", err)
	}
	return out, nil
}
