package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
)

// bench is one named measurement. It adds its lines to the lab's report.
type bench struct {
	name, what string
	run        func(ctx context.Context, l *lab) error
}

var benches = []bench{
	{"rdb", "an RDB file to entries, and to a fingerprint, beside the engine's own load of it", benchRDB},
	{"live", "the fingerprint of a live server beside a bare SCAN and DUMP of it", benchLive},
	{"create", "create to available, a group of a single node, beside a bare start of the engine", benchCreate},
	{"snapshot", "CreateSnapshot to available beside BGSAVE alone and the replica stream alone", benchSnapshot},
	{"snapshot-load", "what clients notice of a backup: of a primary with a replica, and of a lone node that is too full to fork", benchSnapshotLoad},
	{"api", "DescribeReplicationGroups with 500 groups stored beside an HTTP handler that replays the answers", benchAPI},
	{"many", "50 groups created at once beside 50 bare starts, and Describe meanwhile", benchMany},
	{"fill", "filling a server beside the engine's own benchmark and redis-cli --pipe", benchFill},
	{"s3", "put and get of a large object beside a copy of the file", benchS3},
	{"memcached", "backup, restore, migrate and verify of memcached beside bare pipelines; hit rates through changes of nodes", benchMemcached},
}

type options struct {
	only     string
	quick    bool
	json     bool
	rounds   int
	kills    int
	holdfast string
	profile  string
	// large adds the data set that takes minutes to fill.
	large bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(ctx context.Context) (err error) {
	var o options
	flag.StringVar(&o.only, "only", "", "names of the benchmarks to run, with commas; default all")
	flag.BoolVar(&o.quick, "quick", false, "a tenth of the data and fewer repetitions, to see that everything works")
	flag.BoolVar(&o.json, "json", false, "print JSON, with every sample")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each pair is measured, at least 3")
	flag.IntVar(&o.kills, "kills", 100, "how many primaries are lost in each circumstance of the failover")
	flag.StringVar(&o.holdfast, "holdfast", "", "the program to measure; default: build it from this source")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of this process while it runs what is ours, to this file")
	flag.BoolVar(&o.large, "large", true, "the mover's forkless backup on 2 GB, instead of a tenth of them")
	flag.Usage = usage
	among, err := arguments()
	if err != nil {
		return err
	}
	chosen, err := choose(among, o.only)
	if err != nil {
		return err
	}
	l, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	l.report.header()
	for _, b := range chosen {
		fmt.Fprintf(os.Stderr, "» %s: %s\n", b.name, b.what)
		l.report.begin(b)
		if err := b.run(ctx, l); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		l.report.end()
	}
	return l.report.finish()
}

func usage() {
	out := flag.CommandLine.Output()
	fmt.Fprintf(out, "Measures Holdfast beside the engines' own limits.\n\n")
	for _, b := range benches {
		fmt.Fprintf(out, "  %-9s %s\n", b.name, b.what)
	}
	fmt.Fprintf(out, "\nWith the word mover before all flags, the mover's flows and what they have to reach:\n\n")
	for _, b := range moverBenches {
		fmt.Fprintf(out, "  %-9s %s\n", b.name, b.what)
	}
	fmt.Fprintf(out, "\nWith the word service before all flags, how it keeps groups in service:\n\n")
	for _, b := range serviceBenches {
		fmt.Fprintf(out, "  %-9s %s\n", b.name, b.what)
	}
	fmt.Fprintln(out)
	flag.PrintDefaults()
}

// serviceBenches are about how groups are kept in service, beside the engines' own ways.
var serviceBenches = []bench{
	{"failover", "from the loss of a primary to the first accepted write, and what is lost, beside Sentinel and the engine's cluster", benchFailover},
	{"endpoints", "commands by endpoints that the engine has bound and that are forwarded, beside the node's own address", benchEndpoints},
	{"reshard", "a shard's slots to another one under clients, beside the engine's own tool", benchReshard},
	{"upgrade", "for how long clients cannot write while a group becomes another version, beside a restart from a file", benchUpgrade},
	{"monitor", "what 200 groups cost at rest, and what a restart of the service means to them", benchMonitor},
}

// arguments reads the command line: flags, and before them a word that says what
// other measurements than the ordinary ones are wanted.
func arguments() ([]bench, error) {
	args, among := os.Args[1:], benches
	if len(args) > 0 {
		switch args[0] {
		case "mover":
			args, among = args[1:], moverBenches
		case "service":
			args, among = args[1:], serviceBenches
		}
	}
	if err := flag.CommandLine.Parse(args); err != nil {
		return nil, err
	}
	if flag.NArg() > 0 {
		return nil, fmt.Errorf("there are no arguments but mover and service, which come first; %q is not one", flag.Arg(0))
	}
	return among, nil
}

func choose(among []bench, only string) ([]bench, error) {
	if only == "" {
		return among, nil
	}
	var out []bench
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(among, func(b bench) bool { return b.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no benchmark %q; see --help", name)
		}
		out = append(out, among[i])
	}
	return out, nil
}

// profiled runs f under the CPU profile that was asked for, if one was.
func (l *lab) profiled(f func() error) error {
	if l.opt.profile == "" {
		return f()
	}
	out, err := os.Create(l.opt.profile)
	if err != nil {
		return fmt.Errorf("cannot write the profile: %w", err)
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return errors.Join(fmt.Errorf("cannot take a profile: %w", err), out.Close())
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}
