package sink

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"holdfast.dev/internal/resp"
)

// FollowerOptions say what a server that is to follow us may be.
type FollowerOptions struct {
	// ReplaceAll lets a server that holds keys or functions follow us. A replica gives
	// up all that it has for what its primary has: this deletes what the server holds.
	ReplaceAll bool
	// TakeReplicas lets a server that has replicas follow us; they follow in turn.
	TakeReplicas bool
	// Resume, if set, tells of a server that is a replica already, by the replication
	// id that it has, whether it is one that followed us before.
	Resume func(replID string) bool
	// Undo is what Follower.Undo told before we were killed: Release puts it back.
	Undo map[string]string
	// Announce turns the address on which we listen into the one at which the server
	// reaches it, where these are not the same. nil leaves it as it is.
	Announce func(addr string) string
	// Certificate is what we show a server that fetches its data by TLS, which it is told
	// to if this is set. nil: that of the target's options, where there is one that serves.
	Certificate *tls.Certificate
}

// Follower is a server that is made a replica of ours. NewFollower looks at it and
// listens, Attach tells it to follow, Accept is its call, and Release makes it a
// primary again. It belongs to one goroutine, but for Accept, which may be another's.
type Follower struct {
	target resp.Options
	opt    FollowerOptions
	conn   *resp.Conn
	server resp.Server
	// resumed tells that the server followed us before; held, that it holds keys or functions.
	resumed, held bool
	attached      bool
	changed       []setting
	// ours: the secret is none that the server had before.
	ours         bool
	user, secret string
	// secure: we speak TLS to it, and show the certificate.
	secure      bool
	certificate *tls.Certificate
	// run names the server's process, host and port are where it was told to find us.
	run, host, port string
	listener        net.Listener
	door            door
	once            sync.Once
}

// NewFollower finds out whether a server can follow us, which is an ErrNoReplicaOf
// if not, and listens for it. It changes nothing there.
func NewFollower(ctx context.Context, target resp.Options, opt FollowerOptions) (*Follower, error) {
	conn, err := resp.Dial(ctx, target.WithDB(0))
	if err != nil {
		return nil, err
	}
	f := &Follower{target: target, opt: opt, conn: conn}
	for name, was := range opt.Undo {
		f.changed = append(f.changed, setting{name, was})
	}
	for _, look := range []func(context.Context) error{f.lookServer, f.lookRole, f.lookTLS, f.lookContent, f.lookRights, f.listen} {
		if err := look(ctx); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// Server is the follower's engine and version.
func (f *Follower) Server() resp.Server { return f.server }

// Resumed tells that the server followed us before, and may go on where it was.
func (f *Follower) Resumed() bool { return f.resumed }

func (f *Follower) lookServer(ctx context.Context) (err error) {
	f.server, err = f.conn.Server(ctx)
	switch {
	case resp.IsServerError(err):
		return noRoad(f.target, "INFO: %w", err)
	case err != nil:
		return err
	case f.server.Mode == "cluster":
		return noRoad(f.target, "it is in cluster mode, where REPLICAOF does not exist")
	case f.server.Mode == "sentinel":
		return noRoad(f.target, "it is a sentinel")
	case !f.server.AtLeast(5, 0):
		return noRoad(f.target, "%s is older than REPLICAOF", f.server)
	}
	return nil
}

// lookRole refuses a server that has a primary or replicas.
func (f *Follower) lookRole(ctx context.Context) error {
	info, err := infoOf(ctx, f.conn, "replication")
	if err != nil {
		return err
	}
	if info["role"] != "master" {
		if f.opt.Resume != nil && f.opt.Resume(info["master_replid"]) {
			f.resumed = true
			return nil
		}
		return f.foreignReplica(ctx, info)
	}
	if n := info["connected_slaves"]; n != "0" && !f.opt.TakeReplicas {
		return noRoad(f.target, "%s replicas follow it, and they would be emptied with it", n)
	}
	return nil
}

// foreignReplica tells a replica of somebody else from one that we left behind when
// we were killed: its primary has our address, and nobody is there.
func (f *Follower) foreignReplica(ctx context.Context, info map[string]string) error {
	primary := net.JoinHostPort(info["master_host"], info["master_port"])
	ours := info["master_host"] == hostOf(f.conn.LocalAddr().String()) && info["master_link_status"] == "down"
	if ours && !reachable(ctx, primary) {
		return fmt.Errorf("cannot fill %s: it still waits for %s on this machine, where nobody is: a movement into it was killed. REPLICAOF NO ONE sent to it makes it a primary again; what it holds may be a part", f.target, primary)
	}
	return noRoad(f.target, "it is a replica of %s", primary)
}

func reachable(ctx context.Context, addr string) bool {
	d := net.Dialer{Timeout: 2 * time.Second}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// lookContent refuses a server that has something to lose.
func (f *Follower) lookContent(ctx context.Context) error {
	if f.resumed {
		f.held = true
		return nil
	}
	dbs, err := f.conn.Keyspaces(ctx)
	if err != nil {
		return err
	}
	libs := 0
	r, err := f.conn.Do(ctx, "FUNCTION", "LIST")
	switch {
	case err == nil:
		libs = len(r.Elems)
	case !resp.IsServerError(err):
		return err
	case !resp.UnknownCommand(err):
		return noRoad(f.target, "whether it has functions cannot be told: %w", err)
	}
	f.held = len(dbs) > 0 || libs > 0
	if f.held && !f.opt.ReplaceAll {
		return noRoad(f.target, "it is not empty, and a replica gives up all that it holds")
	}
	return nil
}

// lookRights tries REPLICAOF NO ONE on a primary, which does nothing there.
func (f *Follower) lookRights(ctx context.Context) error {
	if f.resumed {
		return nil
	}
	_, err := f.conn.Do(ctx, "REPLICAOF", "NO", "ONE")
	if resp.IsServerError(err) {
		return noRoad(f.target, "REPLICAOF: %w", err)
	}
	return err
}

// listen opens a port at the address from which we reach the server.
func (f *Follower) listen(ctx context.Context) error {
	host := "127.0.0.1"
	if f.conn.LocalAddr().Network() != "unix" {
		host = hostOf(f.conn.LocalAddr().String())
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return noRoad(f.target, "cannot listen for it: %w", err)
	}
	f.listener = l
	return nil
}

// Attach tells the server to follow us.
func (f *Follower) Attach(ctx context.Context) error {
	for _, settle := range []func(context.Context) error{f.fetchByTLS, f.agree, f.loadAtOnce} {
		if err := settle(ctx); err != nil {
			return err
		}
	}
	f.door.open(f.listener, f.admit)
	addr := f.listener.Addr().String()
	if f.opt.Announce != nil {
		addr = f.opt.Announce(addr)
	}
	var err error
	if f.host, f.port, err = net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("cannot announce %q: %w", addr, err)
	}
	if f.run, err = f.runID(ctx); err != nil {
		return err
	}
	f.attached = true
	return f.follow(ctx)
}

func (f *Follower) follow(ctx context.Context) error {
	if _, err := f.conn.Do(ctx, "REPLICAOF", f.host, f.port); err != nil {
		return fmt.Errorf("cannot make %s follow us: %w", f.target, err)
	}
	return nil
}

// agree settles what the server has to say to be let in: the password that it has for
// primaries anyway, or else one of ours for the time being.
func (f *Follower) agree(ctx context.Context) error {
	user, _, err := parameter(ctx, f.conn, "masteruser")
	if err != nil {
		return err
	}
	was, _, err := parameter(ctx, f.conn, "masterauth")
	if err != nil {
		return err
	}
	f.user = user
	if was != "" {
		f.secret = was
		return nil
	}
	secret := randomHex(32)
	f.ours, err = f.change(ctx, "masterauth", "", secret)
	if f.ours {
		f.secret = secret
	}
	return err
}

// loadAtOnce has the snapshot loaded as it arrives, and not by way of a file, where
// the server is empty.
func (f *Follower) loadAtOnce(ctx context.Context) error {
	const name = "repl-diskless-load"
	was, known, err := parameter(ctx, f.conn, name)
	if err != nil || !known || was != "disabled" || f.held {
		return err
	}
	_, err = f.change(ctx, name, was, "on-empty-db")
	return err
}

// Release makes the server a primary again, with what it holds, and puts back what was changed.
func (f *Follower) Release(ctx context.Context) error {
	f.shut()
	if !f.attached {
		return f.putBack(ctx)
	}
	if _, err := f.insist(ctx, "REPLICAOF", "NO", "ONE"); err != nil {
		return errors.Join(fmt.Errorf("%s still takes us for its primary: send it REPLICAOF NO ONE: %w", f.target, err), f.putBack(ctx))
	}
	f.attached = false
	if err := f.putBack(ctx); err != nil {
		return err
	}
	info, err := f.Info(ctx, "replication")
	if err != nil {
		return err
	}
	if info["role"] != "master" {
		return fmt.Errorf("%s says that it is a %s after REPLICAOF NO ONE", f.target, info["role"])
	}
	return nil
}

// Info asks the server for a section of INFO, again while it is busy.
func (f *Follower) Info(ctx context.Context, section string) (map[string]string, error) {
	r, err := f.insist(ctx, "INFO", section)
	if err != nil {
		return nil, err
	}
	return infoMap(r), nil
}

// Keys counts the keys by database.
func (f *Follower) Keys(ctx context.Context) (map[int]int64, error) {
	r, err := f.insist(ctx, "INFO", "keyspace")
	if err != nil {
		return nil, err
	}
	dbs, err := resp.ParseKeyspaces(r.Bytes)
	if err != nil {
		return nil, err
	}
	out := map[int]int64{}
	for _, k := range dbs {
		out[k.DB] = k.Keys
	}
	return out, nil
}

// shut turns everybody away from now on.
func (f *Follower) shut() {
	f.once.Do(func() {
		if f.listener != nil {
			// It fails where the listener is closed already.
			_ = f.listener.Close()
		}
		f.door.close()
	})
}

// Close hangs up. It leaves the server as it is: see Release.
func (f *Follower) Close() error {
	f.shut()
	return f.conn.Close()
}

func infoOf(ctx context.Context, conn *resp.Conn, section string) (map[string]string, error) {
	r, err := conn.Do(ctx, "INFO", section)
	if err != nil {
		return nil, err
	}
	return infoMap(r), nil
}

func infoMap(r *resp.Reply) map[string]string {
	m := map[string]string{}
	for name, value := range resp.InfoFields(r.Bytes) {
		m[name] = value
	}
	return m
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return host
}

// addressesOf are those from which a server may come.
func addressesOf(ctx context.Context, target resp.Options) map[string]bool {
	out := map[string]bool{}
	host := hostOf(target.Addr)
	if target.Network == "unix" {
		host = "127.0.0.1"
	}
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return out
	}
	for _, ip := range ips {
		out[ip] = true
	}
	return out
}

// randomHex returns so many random hexadecimal digits.
func randomHex(n int) string {
	b := make([]byte, (n+1)/2)
	if _, err := rand.Read(b); err != nil {
		panic("no randomness: " + strconv.Quote(err.Error())) // crypto/rand never returns an error
	}
	return hex.EncodeToString(b)[:n]
}
