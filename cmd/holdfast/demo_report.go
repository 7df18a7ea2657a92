package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/verify"
)

// lookEvery is how often the API is asked whether something has finished.
const lookEvery = 100 * time.Millisecond

// until asks again and again until done, showing how it stands when that changes.
func until(ctx context.Context, what string, look func() (status string, done bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := ""
	for {
		status, done, err := look()
		if err != nil {
			return err
		}
		if status != last {
			fmt.Fprintf(os.Stderr, "  %s is %s\n", what, status)
			last = status
		}
		if done {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is still %s: %w", what, status, ctx.Err())
		}
	}
}

// report prints the table.
func (j *journey) report(total time.Duration) {
	w := tabwriter.NewWriter(j.out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\nstep\tseconds\tkeys/s\n")
	for _, s := range j.steps {
		rate := "-"
		if s.keys > 0 && s.took > 0 {
			rate = thousands(int64(float64(s.keys) / s.took.Seconds()))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.what, seconds(s.took), rate)
	}
	fmt.Fprintf(w, "all of it\t%s\t\n", seconds(total))
	ends := []struct {
		region string
		f      *verify.Fingerprint
	}{{demoFrom, j.result.A}, {demoTo, j.result.B}}
	fmt.Fprintf(w, "\nkeys\t%s\t%s\n", ends[0].region, ends[1].region)
	a, b := ends[0].f.Totals(), ends[1].f.Totals()
	for c := range a.Classes {
		if a.Classes[c]+b.Classes[c] > 0 {
			fmt.Fprintf(w, "%s\t%s\t%s\n", rdb.Class(c), thousands(a.Classes[c]), thousands(b.Classes[c]))
		}
	}
	fmt.Fprintf(w, "with a TTL\t%s\t%s\n", thousands(a.Volatile), thousands(b.Volatile))
	fmt.Fprintf(w, "all\t%s\t%s\n", thousands(a.Keys), thousands(b.Keys))
	_ = w.Flush() // standard output; nothing is left to tell if it is gone
	for _, e := range ends {
		fmt.Fprintf(j.out, "\nfingerprint in %s  %s", e.region, e.f)
	}
	fmt.Fprintf(j.out, "\n\n%s\n", j.result.Verdict())
	for i := range j.result.Differences {
		fmt.Fprintln(j.out, &j.result.Differences[i])
	}
}

// verdict is an error when the groups differ.
func (j *journey) verdict() error {
	if !j.result.Equal {
		return differs{}
	}
	return nil
}

// cli is a redis-cli that is there: on PATH, or the one that came with an engine.
func (j *journey) cli() string {
	for _, name := range []string{"redis-cli", "valkey-cli"} {
		if _, err := exec.LookPath(name); err == nil {
			return name
		}
	}
	c, err := catalog.Scan(context.Background())
	if err != nil {
		return "redis-cli"
	}
	for _, b := range c.Builds() {
		if b.CLI != "" {
			return b.CLI
		}
	}
	return "redis-cli"
}

// goOn tells what can be done now.
func (j *journey) goOn() {
	host, port, _ := strings.Cut(j.to.Addr, ":")
	fmt.Fprintf(j.out, `
The service is up at %s. In another terminal:

%s
aws elasticache describe-replication-groups --region %s
%s -h %s -p %s info keyspace

Ctrl-C ends everything.
`, j.svc.url, strings.TrimSpace(exports(j.svc.dir, j.svc.key, demoTo)), demoTo, j.cli(), host, port)
}

// seconds is a duration as the table shows it.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s" }

// thousands is a number with its digits in groups of three.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for at := len(s) - 3; at > 0 && s[at-1] != '-'; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
