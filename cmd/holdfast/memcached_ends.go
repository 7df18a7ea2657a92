package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/memcache"
)

// memcachedHelp is what the commands that take memcached as an end say about it.
const memcachedHelp = `

Memcached (1.6 or later) is an end too, of backup, restore, migrate and verify:
  memcached://[user:password@]host[:port][,host[:port]...]   with TLS memcacheds://
  memcached:///path/to/socket
Its backups are files of a form of its own. Keys, values, flags, expiry times and, as far as the
target takes them, CAS numbers are kept. Each item is right by itself for the moment at which
it was read: memcached has no instant of all of them. What is written meanwhile may be in or not.
The password is better in --password-file, or in MEMCACHED_PASSWORD in the environment.`

// consistency is what reports say of what was read of memcached.
const consistency = "each item by itself, as of the moment at which it was read; what was written meanwhile may be in or not"

// memcachedFlags are those that memcached alone has.
type memcachedFlags struct {
	distribution, from word
	add                bool
}

func newMemcachedFlags() memcachedFlags {
	return memcachedFlags{distribution: word{among: memcache.Distributions}, from: word{among: memcache.Distributions}}
}

func (m *memcachedFlags) addReadFlags(cmd *cobra.Command) {
	m.from.addFlag(cmd, "source-distribution",
		"memcached: leave out of several servers what clients that spread keys like this do not find there: "+strings.Join(memcache.Distributions, ", "))
}

func (m *memcachedFlags) addWriteFlags(cmd *cobra.Command) {
	m.distribution.addFlag(cmd, "distribution",
		"memcached: how clients spread keys over the servers of DST, where those are several: "+strings.Join(memcache.Distributions, ", "))
	cmd.Flags().BoolVar(&m.add, "add", false, "memcached: fill servers that hold items, and leave those that are there as they are")
}

// refuse names the flags that mean nothing to memcached.
func (m *memcachedFlags) refuse(cmd *cobra.Command, known ...string) error {
	known = append(known, "output", "password-file", "max-keys-per-second", "max-bytes-per-second", "rate")
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && !slices.Contains(known, f.Name) {
			err = usageError{fmt.Errorf("--%s is not for memcached", f.Name)}
		}
	})
	return err
}

// refuseOthers refuses memcached's own flags for other ends.
func (m *memcachedFlags) refuseOthers() error {
	if m.add || m.distribution.name != "" || m.from.name != "" {
		return usageError{errors.New("--add, --distribution and --source-distribution are for memcached:// alone")}
	}
	return nil
}

// anyMemcached tells whether memcached is among the ends.
func anyMemcached(args []string) bool { return slices.ContainsFunc(args, memcache.IsURL) }

// isMemcachedFile tells whether there is a file of memcached's items of this name.
func isMemcachedFile(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false // whoever opens it in earnest says why
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return false // a pipe would lose what is read of it
	}
	return memcache.IsFile(f)
}

// memcachedEnd is memcached servers or a file of their items.
type memcachedEnd struct {
	name    string
	servers []*memcache.Server
	file    rdbFile
	// owned leaves items out; nil does not.
	owned memcache.Owned
}

// parseMemcached reads an end; a file is of memcached's form then.
func (a *access) parseMemcached(text string, warn io.Writer) (*memcachedEnd, error) {
	if a.rate.Keys < 0 || a.rate.Bytes < 0 {
		return nil, usageError{errors.New("--max-keys-per-second and --max-bytes-per-second must not be negative")}
	}
	if memcache.IsURL(text) {
		return a.parseMemcachedServers(text, warn)
	}
	switch {
	case text == "":
		return nil, usageError{errors.New("an end is empty")}
	case strings.HasPrefix(text, snapshotPrefix):
		return nil, usageError{fmt.Errorf("%s is a snapshot, and there are none of memcached", text)}
	case strings.Contains(text, "://") && !strings.HasPrefix(text, "s3://"):
		scheme, _, _ := strings.Cut(text, "://")
		return nil, usageError{fmt.Errorf("memcached and %s:// hold data of different kinds: nothing goes from one to the other", scheme)}
	}
	files, err := parseFiles(text)
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		return nil, usageError{fmt.Errorf("%s are several files; give one", text)}
	}
	return &memcachedEnd{name: text, file: files[0]}, nil
}

func (a *access) parseMemcachedServers(text string, warn io.Writer) (*memcachedEnd, error) {
	servers, err := memcache.ParseURL(text)
	if err != nil {
		return nil, usageError{err}
	}
	e := &memcachedEnd{servers: servers}
	var names []string
	for _, s := range servers {
		names = append(names, s.Addr)
	}
	scheme := memcache.Scheme
	if servers[0].TLS != nil {
		scheme = memcache.SchemeTLS
	}
	e.name = scheme + strings.Join(names, ",")
	switch {
	case servers[0].Password != "":
		fmt.Fprintln(warn, "holdfast: warning: a password on the command line shows in process lists; see --password-file")
		return e, nil
	case servers[0].User == "":
		return e, nil
	}
	password := os.Getenv("MEMCACHED_PASSWORD")
	if a.passwordFile != "" {
		if password, err = a.password(); err != nil {
			return nil, err
		}
	}
	if password == "" {
		return nil, usageError{fmt.Errorf("there is no password for the user %s: --password-file FILE, or MEMCACHED_PASSWORD in the environment", servers[0].User)}
	}
	for _, s := range servers {
		s.Password = password
	}
	return e, nil
}

// narrow leaves out what clients do not find at its servers.
func (e *memcachedEnd) narrow(distribution string) error {
	switch {
	case distribution == "":
		return nil
	case len(e.servers) < 2:
		return usageError{fmt.Errorf("--source-distribution is for several servers, and %s is not", e.name)}
	}
	ring, err := memcache.RingOf(distribution, e.servers)
	if err != nil {
		return usageError{err}
	}
	e.owned = func(server int, key []byte) bool { return ring.Pick(key) == server }
	return nil
}

// items yields everything that the end holds and that has not expired.
func (e *memcachedEnd) items(ctx context.Context) iter.Seq2[*memcache.Item, error] {
	if len(e.servers) > 0 {
		return memcache.ReadAll(ctx, e.servers, e.owned)
	}
	return func(yield func(*memcache.Item, error) bool) {
		for i, err := range e.fileItems(ctx) {
			if err == nil && i.Expired(time.Now()) {
				continue
			}
			if !yield(i, err) {
				return
			}
		}
	}
}

// fileItems yields everything that the file holds.
func (e *memcachedEnd) fileItems(ctx context.Context) iter.Seq2[*memcache.Item, error] {
	return func(yield func(*memcache.Item, error) bool) {
		in, err := e.file.input(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		r, err := in.Open(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		defer r.Close()
		for i, err := range memcache.ReadFile(r) {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, fmt.Errorf("%s: %w", e.name, err))
				return
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

// end is the end as a comparison reads it.
func (e *memcachedEnd) end() memcache.End {
	if e.file.std {
		return memcache.End{}
	}
	return memcache.End{Items: e.items, Servers: e.servers}
}

// stats are the figures of all its servers together.
func (e *memcachedEnd) stats(ctx context.Context) (memcache.Stats, error) {
	var all memcache.Stats
	for _, s := range e.servers {
		one, err := memcache.ReadStats(ctx, s)
		if err != nil {
			return all, err
		}
		all.Items += one.Items
		all.Evictions += one.Evictions
	}
	return all, nil
}

// paced holds items to a rate.
func paced(ctx context.Context, l *flow.Limiter, i *memcache.Item) error {
	if l == nil {
		return nil
	}
	l.Read(len(i.Key) + len(i.Value))
	return l.Wait(ctx, 1)
}
