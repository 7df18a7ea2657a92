package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/spf13/cobra"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/transfer"
	"holdfast.dev/internal/verify"
)

// endsHelp is what every command that takes ends says about them.
const endsHelp = `An end is one of
  redis://[user[:password]@]host[:port][/db]   also valkey://; with TLS rediss://, valkeys://
  unix:///path/to/socket
  dump.rdb                                     a file; several: a.rdb,b.rdb or 'dir/*.rdb'
  s3://bucket/key.rdb                          also arn:aws:s3:::bucket/key.rdb
  snapshot:NAME                                a snapshot of the service; --region and --data say whose
  -                                            standard input or output, as an RDB file

Any node of a cluster stands for the whole cluster; user, password and TLS are the
same for all nodes, and a node's certificate may be for its own host, for the name that it
announces, or for the name by which you reach the cluster. Without a /db a server's databases are all read. TLS ends take the parameters
cacert, cert, key (files), servername, and insecure=true:
  rediss://host:6379/?cacert=ca.pem
A password in an address shows in process lists. Better: --password-file, or
REDISCLI_AUTH or VALKEYCLI_AUTH in the environment. S3 is reached as by the AWS
CLI, AWS_ENDPOINT_URL included.`

// end is a place that data comes from or goes to.
type end struct {
	// name is the end as it was given, without its password.
	name string
	// server is set for a server, files for anything that holds RDB files.
	server *resp.Options
	// shard: of a cluster, this server alone is meant.
	shard bool
	// db is the one database that is meant, -1 for all.
	db    int
	rate  flow.Rate
	files []rdbFile
	// noFunctions: its libraries of functions are not meant (backup).
	noFunctions bool
	// view is what of the end is meant; nil means everything.
	view *view
}

// rdbFile is a file (path), an object (bucket and key), a file of a snapshot, or a
// standard stream.
type rdbFile struct {
	path, bucket, key string
	std               bool
	stored            *transfer.Stored
}

func (f rdbFile) String() string {
	switch {
	case f.std:
		return "-"
	case f.bucket != "":
		return "s3://" + f.bucket + "/" + f.key
	case f.stored != nil:
		return snapshotPrefix + f.stored.Object
	}
	return f.path
}

// access is how to log in where an end does not say it, and how fast to read.
type access struct {
	passwordFile string
	// data and region say where a snapshot is looked for.
	data, region string
	// rate limits the reading of a server.
	rate flow.Rate
}

func (a *access) addFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.passwordFile, "password-file", "", "file that holds the servers' password, in its first line")
	cmd.Flags().StringVar(&a.data, "data", defaultDataDir(), "data directory of the service whose snapshots are meant")
	cmd.Flags().StringVar(&a.region, "region", awsRegion(), "region of the snapshots that are meant")
}

// addReadFlags adds the flags of commands that read a server.
func (a *access) addReadFlags(cmd *cobra.Command) {
	a.addFlag(cmd)
	a.addRateFlags(cmd, "read at most so many %s per second from each server (default: as many as it gives)")
}

// password finds the password for an address that has none.
func (a *access) password() (string, error) {
	if a.passwordFile != "" {
		b, err := os.ReadFile(a.passwordFile)
		if err != nil {
			return "", fmt.Errorf("cannot read the password: %w", err)
		}
		line, _, _ := strings.Cut(string(b), "\n")
		return strings.TrimSuffix(line, "\r"), nil
	}
	for _, name := range []string{"VALKEYCLI_AUTH", "REDISCLI_AUTH"} {
		if v := os.Getenv(name); v != "" {
			return v, nil
		}
	}
	return "", nil
}

// parse reads an end. warn receives what the user should know.
func (a *access) parse(text string, warn io.Writer) (*end, error) {
	switch {
	case text == "":
		return nil, usageError{errors.New("an end is empty")}
	case a.rate.Keys < 0 || a.rate.Bytes < 0:
		return nil, usageError{errors.New("--max-keys-per-second and --max-bytes-per-second must not be negative")}
	}
	if name, ok := strings.CutPrefix(text, snapshotPrefix); ok {
		return a.parseSnapshot(name)
	}
	if strings.Contains(text, "://") && !strings.HasPrefix(text, "s3://") {
		return a.parseServer(text, warn)
	}
	files, err := parseFiles(text)
	if err != nil {
		return nil, err
	}
	return &end{name: text, files: files, db: -1}, nil
}

func (a *access) parseServer(text string, warn io.Writer) (*end, error) {
	opt, err := resp.ParseURL(text)
	if err != nil {
		return nil, usageError{err}
	}
	if opt.Password != "" {
		fmt.Fprintln(warn, "holdfast: warning: a password on the command line shows in process lists; see --password-file")
	} else if opt.Password, err = a.password(); err != nil {
		return nil, err
	}
	e := &end{name: opt.String(), server: &opt, db: -1, rate: a.rate}
	if resp.NamesDB(text) {
		e.db = opt.DB
	}
	return e, nil
}

// parseFiles reads one or several names of RDB files.
func parseFiles(text string) ([]rdbFile, error) {
	if text == "-" {
		return []rdbFile{{std: true}}, nil
	}
	if _, err := os.Stat(text); err == nil {
		return []rdbFile{{path: text}}, nil // whatever characters its name has
	}
	var out []rdbFile
	for part := range strings.SplitSeq(text, ",") {
		more, err := parseFile(part)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

func parseFile(text string) ([]rdbFile, error) {
	if rest, ok := strings.CutPrefix(text, "s3://"); ok {
		bucket, key, ok := strings.Cut(rest, "/")
		if !ok || bucket == "" || key == "" {
			return nil, usageError{fmt.Errorf("%q names no object; write s3://bucket/key", text)}
		}
		return []rdbFile{{bucket: bucket, key: key}}, nil
	}
	if strings.HasPrefix(text, "arn:") {
		bucket, key, err := objects.ParseARN(text)
		if err != nil {
			return nil, usageError{err}
		}
		return []rdbFile{{bucket: bucket, key: key}}, nil
	}
	if strings.ContainsAny(text, "*?[") {
		paths, err := filepath.Glob(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("cannot read the pattern %q: %w", text, err)}
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("no file matches %q", text)
		}
		var out []rdbFile
		for _, p := range paths {
			out = append(out, rdbFile{path: p})
		}
		return out, nil
	}
	return []rdbFile{{path: text}}, nil
}

// open begins to read what is meant of the end.
func (e *end) open(ctx context.Context) (flow.Source, error) {
	src, err := e.openWhole(ctx)
	if err != nil {
		return nil, err
	}
	if e.server != nil {
		return e.view.overServer(src), nil
	}
	return e.view.over(src), nil
}

// openWhole begins to read the end.
func (e *end) openWhole(ctx context.Context) (flow.Source, error) {
	if e.server != nil {
		return e.scan(), nil
	}
	inputs := make([]source.Input, len(e.files))
	for i, f := range e.files {
		in, err := f.input(ctx)
		if err != nil {
			return nil, err
		}
		inputs[i] = in
	}
	return source.NewRDB(inputs...), nil
}

// scan reads the server key by key, or the cluster that it is a node of.
func (e *end) scan() scanner {
	so := source.ScanOptions{Rate: int(e.rate.Keys), BytesRate: e.rate.Bytes, Databases: e.view.databases(), Keep: e.view.keep()}
	if e.db >= 0 {
		so.Databases = []int{e.db}
	}
	if e.shard {
		return source.NewScan(*e.server, so)
	}
	return &anyServer{opt: *e.server, so: so}
}

func (f rdbFile) input(ctx context.Context) (source.Input, error) {
	switch {
	case f.std:
		return source.Input{Name: "standard input", Open: func(ctx context.Context) (io.ReadCloser, error) {
			return source.CloseOnDone(ctx, standardInput()), nil
		}}, nil
	case f.stored != nil:
		return source.Input{Name: f.String(), Size: f.stored.Manifest.Bytes, Open: f.stored.Open}, nil
	case f.bucket == "":
		return source.File(f.path), nil
	}
	store, err := bucketStore(ctx, f.bucket)
	if err != nil {
		return source.Input{}, err
	}
	info, err := store.Stat(ctx, f.key)
	if err != nil {
		return source.Input{}, err
	}
	return source.Input{Name: f.String(), Size: info.Size, Open: func(ctx context.Context) (io.ReadCloser, error) {
		r, _, err := store.Open(ctx, f.key, 0)
		return r, err
	}}, nil
}

// standardInput opens a pipe anew: the descriptor that was inherited blocks, so
// that closing it would not end a read that waits.
func standardInput() *os.File {
	st, err := os.Stdin.Stat()
	if err != nil || st.Mode()&os.ModeNamedPipe == 0 {
		return os.Stdin
	}
	f, err := os.Open("/dev/stdin")
	if err != nil {
		return os.Stdin
	}
	return f
}

// bucketStore finds a bucket the way the AWS CLI does.
func bucketStore(ctx context.Context, bucket string) (objects.Store, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot load the AWS configuration: %w", err)
	}
	o := objects.ExternalOptions{Region: cfg.Region, Endpoint: os.Getenv("AWS_ENDPOINT_URL_S3")}
	if o.Endpoint == "" {
		o.Endpoint = aws.ToString(cfg.BaseEndpoint)
	}
	o.PathStyle = o.Endpoint != ""
	buckets, err := objects.NewExternal(ctx, o)
	if err != nil {
		return nil, err
	}
	region, err := buckets.Region(ctx, bucket)
	if err != nil {
		return nil, err
	}
	return buckets.Open(ctx, region, bucket)
}

// verifyEnd is the end as a comparison reads it.
func (e *end) verifyEnd() (_ verify.End, done func() error) {
	v := verify.End{Name: e.name, Open: e.open}
	if e.server == nil {
		return v, func() error { return nil }
	}
	looker := e.scan()
	v.Recheck = e.view.lookup(looker.Lookup)
	return v, looker.Close
}

// create begins to write to the end.
func (e *end) create(ctx context.Context, h rdb.Header) (flow.Sink, error) {
	if e.server != nil {
		return sink.NewServer(ctx, *e.server, sink.ServerOptions{})
	}
	if len(e.files) != 1 {
		return nil, usageError{fmt.Errorf("%s are several files; give one to write", e.name)}
	}
	t, err := e.files[0].target(ctx)
	if err != nil {
		return nil, err
	}
	return sink.NewRDB(t, h)
}

func (f rdbFile) target(ctx context.Context) (sink.Target, error) {
	switch {
	case f.std:
		return stdTarget{os.Stdout}, nil
	case f.stored != nil:
		return nil, usageError{fmt.Errorf("%s is there already, and a snapshot is never changed", f)}
	case f.bucket == "":
		return sink.File(f.path)
	}
	store, err := bucketStore(ctx, f.bucket)
	if err != nil {
		return nil, err
	}
	w, err := store.Create(ctx, f.key, objects.PutOptions{})
	if err != nil {
		return nil, err
	}
	return objectTarget{w}, nil
}

// stdTarget is standard output: what was written cannot be taken back, but lacks
// the end mark and checksum of a whole file.
type stdTarget struct{ io.Writer }

func (stdTarget) Commit(context.Context) error { return nil }
func (stdTarget) Abort() error                 { return nil }

// objectTarget is an object as a sink writes it.
type objectTarget struct{ objects.Writer }

func (t objectTarget) Commit(ctx context.Context) error {
	_, err := t.Writer.Commit(ctx)
	return err
}
