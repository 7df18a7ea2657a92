package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
)

// Options configure a Pool. Root, Command and Account are required.
type Options struct {
	// Root is the directory of all regions.
	Root string
	// Command is the command line that runs Main, for example {"/proc/self/exe",
	// "internal", "s3"}. It carries no secret.
	Command []string
	// Account owns every bucket: 12 digits.
	Account string
	// Keys are the customers' access keys.
	Keys []Key
	// Log receives starts, ends and what children print. Nil means slog.Default.
	Log *slog.Logger
}

// Pool owns the children. It may be used from many goroutines.
type Pool struct {
	opts     Options
	internal Key    // signs our own requests
	sockets  string // directory of the sockets
	ownDir   bool   // whether Close removes it

	mu       sync.Mutex
	keys     []Key
	children map[string]*child
	closed   bool

	// create makes the look-up of a bucket name in all regions and its creation in one
	// of them a single step.
	create sync.Mutex
}

// ErrClosed is returned once the pool is closed.
var ErrClosed = errors.New("the S3 service is closed")

// maxSocketPath is what every platform's sockaddr_un takes.
const maxSocketPath = 100

// NewPool prepares the service. Nothing runs until a region is used.
func NewPool(opts Options) (*Pool, error) {
	if len(opts.Command) == 0 || opts.Account == "" {
		return nil, errors.New("cannot set up the S3 service: no command or no account given")
	}
	root, err := filepath.Abs(opts.Root)
	if err != nil {
		return nil, fmt.Errorf("cannot set up the S3 service: %w", err)
	}
	opts.Root = root
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("cannot set up the S3 service: %w", err)
	}
	p := &Pool{
		opts: opts, keys: slices.Clone(opts.Keys), children: map[string]*child{},
		internal: Key{AccessKeyID: "HOLDFAST" + rand.Text(), Secret: rand.Text()},
	}
	regions, err := p.Regions()
	if err != nil {
		return nil, err
	}
	for _, region := range regions {
		if err := sweepUnborn(root, region); err != nil {
			return nil, err
		}
	}
	if err := p.chooseSockets(); err != nil {
		return nil, err
	}
	return p, nil
}

// chooseSockets prefers the data directory. A path too long for a socket's address
// sends them to a directory of their own under the system's temporary one.
func (p *Pool) chooseSockets() error {
	p.sockets = filepath.Join(p.opts.Root, ".run")
	const longestName = len("/ap-southeast-99-and-more.sock")
	if len(p.sockets)+longestName <= maxSocketPath {
		if err := os.MkdirAll(p.sockets, 0o700); err != nil {
			return fmt.Errorf("cannot make the socket directory: %w", err)
		}
		return nil
	}
	// The same data directory gets the same name, so that a killed service leaves one
	// such directory at most.
	sum := sha256.Sum256([]byte(p.opts.Root))
	name, temp := fmt.Sprintf("holdfast-s3-%d-%x", os.Getuid(), sum[:6]), os.TempDir()
	if len(filepath.Join(temp, name))+longestName > maxSocketPath {
		temp = "/tmp"
	}
	dir := filepath.Join(temp, name)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) && ownPrivate(dir) {
		err = nil
	}
	if err != nil { // somebody else holds the name
		if dir, err = os.MkdirTemp(temp, "holdfast-s3-"); err != nil {
			return fmt.Errorf("cannot make the socket directory: %w", err)
		}
	}
	p.sockets, p.ownDir = dir, true
	return nil
}

// ownPrivate tells whether dir is a directory of this user that nobody else can
// enter.
func ownPrivate(dir string) bool {
	st, err := os.Lstat(dir)
	if err != nil || !st.IsDir() || st.Mode().Perm() != 0o700 {
		return false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Getuid()
}

var regionName = regexp.MustCompile(`^[a-z]{2,}(-[a-z0-9]+){1,4}$`)

// ValidRegion tells whether a name may be a region. Anything else would become a
// strange directory.
func ValidRegion(name string) bool { return len(name) <= 32 && regionName.MatchString(name) }

// child returns the region's child, started if it was not.
func (p *Pool) child(region string) (*child, error) {
	if !ValidRegion(region) {
		return nil, fmt.Errorf("%q is not a region", region)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	c := p.children[region]
	if c == nil {
		c = newChild(p, region)
		p.children[region] = c
	}
	return c, nil
}

// Start makes sure that the region's child answers. Requests do that by
// themselves; Start only moves the wait forward.
func (p *Pool) Start(ctx context.Context, region string) error {
	c, err := p.child(region)
	if err != nil {
		return err
	}
	_, err = c.await(ctx)
	return err
}

// RoundTrip hands a request to the region's child as it stands: path, query, Host
// and headers unchanged. It waits for a child that is starting. The request's URL must be
// of the form that ChildURL makes.
func (p *Pool) RoundTrip(region string, r *http.Request) (*http.Response, error) {
	c, err := p.child(region)
	if err != nil {
		return nil, err
	}
	return c.transport.RoundTrip(r)
}

// SetKeys replaces the customers' access keys. When it returns running children have
// them as well.
func (p *Pool) SetKeys(keys []Key) error {
	taken, err := p.sendKeys(keys)
	ctx, cancel := context.WithTimeout(context.Background(), startTime) // one may just be starting
	defer cancel()
	for _, wait := range taken {
		err = errors.Join(err, wait(ctx))
	}
	if err != nil {
		return fmt.Errorf("cannot tell the S3 service its keys: %w", err)
	}
	return nil
}

func (p *Pool) sendKeys(keys []Key) (taken []func(context.Context) error, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append([]Key{}, keys...)
	for _, c := range p.children {
		wait, failed := c.send(update{Keys: p.keys})
		taken, err = append(taken, wait), errors.Join(err, failed)
	}
	return taken, err
}

// Secret looks up a customer's access key.
func (p *Pool) Secret(accessKeyID string) (secret string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.keys {
		if k.AccessKeyID == accessKeyID {
			return k.Secret, true
		}
	}
	return "", false
}

// Account is the owner of every bucket.
func (p *Pool) Account() string { return p.opts.Account }

// PIDs lists the running children by region.
func (p *Pool) PIDs() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	pids := map[string]int{}
	for region, c := range p.children {
		if pid := c.pid(); pid != 0 {
			pids[region] = pid
		}
	}
	return pids
}

// Close ends every child and waits for them. What is under way gets ten seconds.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	children := p.children
	p.children = map[string]*child{}
	p.mu.Unlock()
	var wait sync.WaitGroup
	for _, c := range children {
		wait.Go(c.close)
	}
	wait.Wait()
	if p.ownDir {
		if err := os.RemoveAll(p.sockets); err != nil {
			return fmt.Errorf("cannot remove the socket directory: %w", err)
		}
	}
	return nil
}
