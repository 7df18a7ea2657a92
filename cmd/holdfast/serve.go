package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/api"
	apielasticache "holdfast.dev/internal/api/elasticache"
	apiiam "holdfast.dev/internal/api/iam"
	"holdfast.dev/internal/api/own"
	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/sigv4"
	"holdfast.dev/internal/api/sts"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/endpoint"
	"holdfast.dev/internal/endpoint/discovery"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/objects/front"
	"holdfast.dev/internal/objects/gateway"
	"holdfast.dev/internal/reconcile"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// serveOptions are the flags of "holdfast serve".
type serveOptions struct {
	dir        string
	listen     string
	memory     string
	s3Endpoint string
	metrics    string
	verbose    bool
}

func newServeCmd() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve ElastiCache's API, and S3's beside it, over real engines",
		Long: `Serve answers the APIs of ElastiCache, S3 and STS on one address. Which service
and region a request means stands in its signature, so one AWS_ENDPOINT_URL is
enough for all; "holdfast env" prints it with the keys.

Logs go to standard error. A line "ready" on standard output says that it
serves. SIGTERM and Ctrl-C end the service and leave the engines running: the
next start takes them over. "holdfast down" stops everything.

Node types are nominal: more memory may be promised than the machine has, and a
creation is refused only when its data does not fit what is really free.
--memory strict reserves what node types name.

Buckets are kept in the data directory, as plain files. With --s3-endpoint an S3
service of your own is used instead, with the credentials that the AWS CLI
would find.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.memory != "nominal" && o.memory != "strict" {
				return usageError{fmt.Errorf("--memory is nominal or strict, not %q", o.memory)}
			}
			return serve(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "data", defaultDataDir(), "data directory")
	f.StringVar(&o.listen, "listen", defaultListen, "address to serve on; port 0 picks a free one")
	f.StringVar(&o.memory, "memory", "nominal", "nominal, or strict to reserve the memory of node types")
	f.StringVar(&o.s3Endpoint, "s3-endpoint", "", "URL of an S3 service to use instead of the embedded one")
	f.StringVar(&o.metrics, "metrics", "", "address to answer Prometheus on, at /metrics, without a log-in; none unless given")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log every request")
	return cmd
}

func serve(ctx context.Context, o serveOptions) (err error) {
	// What engines and the S3 service write is nobody else's to read either.
	syscall.Umask(0o077)
	log := newLogger(os.Stderr, o.verbose)
	dir, err := dataDir(o.dir).make()
	if err != nil {
		return err
	}
	in, err := openInstallation(ctx, dir, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	keys, err := in.openAccessKeys()
	if err != nil {
		return err
	}
	bucketKeeper, err := openBuckets(ctx, dir, keys, o.s3Endpoint, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bucketKeeper.close()) }()
	ln, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	return in.run(ctx, o, keys, bucketKeeper, ln)
}

// run serves until the context ends. It closes the listener.
func (in *installation) run(ctx context.Context, o serveOptions, keys *accessKeys, b *bucketKeeper, ln net.Listener) (err error) {
	control, err := control.New(ctx, control.Config{
		DB: in.db, Catalogue: catalogue{in.catalog}, Buckets: bucketLooker{b.buckets}, Memory: machineMemory{},
		Now: time.Now, Addresses: loopback(), Nodes: in.engines, Unhonoured: in.unhonoured, SpeaksTLS: in.engines.SpeaksTLS, StrictMemory: o.memory == "strict",
	})
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	if err := control.NoteBuilds(ctx); err != nil {
		return errors.Join(err, ln.Close())
	}
	server, err := api.New(api.Config{
		Keys: keys, Access: authorizer{keys.iam, control}, Log: in.log,
		Services: []*query.Service{apielasticache.New(control), apiiam.New(keys.iam), sts.New(), own.New(control)},
		S3:       b.handler, S3Verifies: front.IsPresignedV2,
	})
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	objects.Sweep(in.dir.snapshots()) // of what an earlier run was writing when it was killed
	doors := endpoint.New(endpoint.Config{Log: in.log, Door: newIAMDoor(in, keys, authorizer{keys.iam, control})})
	defer func() { err = errors.Join(err, doors.Close()) }()
	before := discovery.NewManager(discovery.ManagerConfig{Log: in.log})
	defer func() { err = errors.Join(err, before.Close()) }()
	runner := reconcile.New(reconcile.Config{
		Memcacheds: in.memcacheds, Discovery: fronts{doors: before, nodes: in.memcacheds, authority: in.authority},
		DB: in.db, Engines: in.engines, Transfers: in.mover(b.buckets), Endpoints: doors, Memory: machineMemory{},
		Now: time.Now, Log: in.log, Newest: catalogue{in.catalog}.newest,
	})
	if err := writeJSON(in.dir.service(), serviceInfo{Listen: ln.Addr().String(), PID: os.Getpid()}); err != nil {
		return errors.Join(err, ln.Close())
	}
	if !loopback().Range {
		in.log.Warn("this platform has no range of loopback addresses: all nodes and endpoints share 127.0.0.1, each on a port of its own instead of the one asked for")
	}
	if err := in.sweepIncoming(ctx); err != nil {
		return errors.Join(err, ln.Close())
	}
	nodes, promised, err := in.promised(ctx)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	observe, err := in.observer(o.metrics)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return server.Serve(ctx, ln) })
	work.Go(func() error { return observe(ctx) })
	work.Go(func() error { return runner.Run(ctx) })
	work.Go(func() error { return in.watchNodes(ctx) })
	work.Go(func() error { return in.renewCertificates(ctx) })
	in.log.Info("serving", "url", "http://"+ln.Addr().String(), "data", string(in.dir), "engines", len(in.catalog.Builds()),
		"nodes", nodes, "memory_promised_mib", promised>>20, "memory_mib", machineMemory{}.Total()>>20)
	fmt.Println("ready")
	return work.Wait()
}

// promised counts the nodes and adds up the memory in bytes that their types name.
func (in *installation) promised(ctx context.Context) (nodes int, bytes int64, err error) {
	err = in.db.View(ctx, func(tx *store.Tx) error {
		clusters, err := records.Clusters.List(tx, "")
		for i := range clusters {
			t, _ := cache.FindNodeType(clusters[i].NodeType)
			n := 1
			if m := clusters[i].Memcached; m != nil {
				n = len(m.Nodes)
			}
			bytes += t.MaxMemory * int64(n)
			nodes += n
		}
		return err
	})
	return nodes, bytes, err
}

// bucketKeeper is where buckets are: in the data directory, or at an S3 service of the user's.
type bucketKeeper struct {
	buckets objects.Buckets
	handler http.Handler // nil when S3 is not served here
	pool    *gateway.Pool
}

func (b *bucketKeeper) close() error {
	if b.pool == nil {
		return nil
	}
	return b.pool.Close()
}

func openBuckets(ctx context.Context, dir dataDir, keys *accessKeys, external string, log *slog.Logger) (*bucketKeeper, error) {
	if external != "" {
		buckets, err := objects.NewExternal(ctx, objects.ExternalOptions{Endpoint: external, PathStyle: true})
		return &bucketKeeper{buckets: buckets}, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program: %w", err)
	}
	known, err := keys.forGateway(ctx)
	if err != nil {
		return nil, err
	}
	pool, err := gateway.NewPool(gateway.Options{
		Root: dir.buckets(), Command: []string{exe, "internal", "s3"}, Account: cache.Account,
		Keys: known, Log: log,
	})
	if err != nil {
		return nil, err
	}
	region := func(r *http.Request) string { return query.InfoFrom(r.Context()).Region }
	return &bucketKeeper{
		buckets: pool.Buckets(), pool: pool,
		handler: keys.tell(pool, front.New(front.Options{Pool: pool, Region: region, BodyFault: bodyFault, Authorize: keys.mayDoS3, Log: log})),
	}, nil
}

// bodyFault is S3's answer to a body that is not the one that was signed.
func bodyFault(err error) (status int, code, message string) {
	if errors.Is(err, sigv4.ErrPayload) {
		return http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed."
	}
	return http.StatusBadRequest, "IncompleteBody", "The request body terminated unexpectedly."
}
