package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	startTime    = 20 * time.Second // for a child to print its ready line
	awaitTime    = 25 * time.Second // for a request to wait for a child
	stopTime     = 12 * time.Second // for a child to finish what is under way
	firstBackOff = 100 * time.Millisecond
	lastBackOff  = 10 * time.Second
	healthyTime  = 30 * time.Second // a run that long starts the back-off anew
	healthEvery  = 10 * time.Second
	healthMisses = 3
)

// child supervises the process of one region.
type child struct {
	region, socket string
	pool           *Pool
	log            *slog.Logger
	transport      *http.Transport
	stop           context.CancelFunc
	over           chan struct{} // closed when run has returned

	mu      sync.Mutex
	started *process      // the latest that was started
	process *process      // the same once it is ready, nil before and after
	lastErr error         // why there is none
	changed chan struct{} // closed and replaced at every change of the two above
}

// process is one run of the child.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	told   *told
	ready  chan struct{}  // closed at its ready line
	gone   chan struct{}  // closed when it has been waited for
	logged sync.WaitGroup // of the readers of its output
}

// newChild begins to run the region's process. pool.mu is held.
func newChild(p *Pool, region string) *child {
	ctx, cancel := context.WithCancel(context.Background())
	c := &child{
		region: region, socket: filepath.Join(p.sockets, region+".sock"),
		pool: p, log: p.opts.Log.With("region", region, "part", "s3"),
		stop: cancel, over: make(chan struct{}), changed: make(chan struct{}),
	}
	c.transport = &http.Transport{
		DialContext:           c.dial,
		DisableCompression:    true, // bodies and headers pass as they are
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       30 * time.Second,
		ExpectContinueTimeout: time.Second,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
	go func() {
		defer close(c.over)
		c.run(ctx)
	}()
	return c
}

// dial waits for a ready process, so that a restart delays requests and does not
// fail them.
func (c *child) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	for {
		p, err := c.await(ctx)
		if err != nil {
			return nil, err
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", c.socket)
		if err == nil {
			return &answered{Conn: conn}, nil
		}
		if !c.noticed(ctx, p) {
			return nil, err
		}
	}
}

const noticeTime = 2 * time.Second // for the supervisor to see that a process died

// noticed waits until p is no longer called ready.
func (c *child) noticed(ctx context.Context, p *process) bool {
	ctx, cancel := context.WithTimeout(ctx, noticeTime)
	defer cancel()
	for {
		c.mu.Lock()
		now, changed := c.process, c.changed
		c.mu.Unlock()
		if now != p {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// await returns the ready process, or why there is none after a time.
func (c *child) await(ctx context.Context) (*process, error) {
	limit := time.NewTimer(awaitTime)
	defer limit.Stop()
	for {
		c.mu.Lock()
		proc, last, changed := c.process, c.lastErr, c.changed
		c.mu.Unlock()
		if proc != nil {
			return proc, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), last)
		case <-c.over:
			return nil, ErrClosed
		case <-changed:
		case <-limit.C:
			return nil, fmt.Errorf("the S3 service of region %s does not start: %w", c.region, errors.Join(last, context.DeadlineExceeded))
		}
	}
}

func (c *child) set(p *process, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.process, c.lastErr = p, err
	close(c.changed)
	c.changed = make(chan struct{})
}

// run keeps a process running until ctx ends. It stays on one OS thread: on Linux
// the kernel ties the child's life to the thread that started it.
func (c *child) run(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	backOff := firstBackOff
	for ctx.Err() == nil {
		began := time.Now()
		err := c.once(ctx)
		c.transport.CloseIdleConnections()
		if ctx.Err() != nil {
			return
		}
		c.log.Error("the S3 service ended and is started again", "error", err, "after", time.Since(began).Round(time.Millisecond))
		if time.Since(began) > healthyTime {
			backOff = firstBackOff
		}
		pause(ctx, backOff)
		backOff = min(2*backOff, lastBackOff)
	}
}

// once starts a process and returns when it has ended.
func (c *child) once(ctx context.Context) error {
	p, err := c.start()
	if err != nil {
		c.set(nil, err)
		return err
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		c.watch(ctx, p)
	}()
	p.logged.Wait() // before Wait, which closes the pipes
	err = p.cmd.Wait()
	close(p.gone)
	<-watched
	if err == nil {
		err = errors.New("it ended by itself")
	}
	err = fmt.Errorf("the S3 service of region %s: %w", c.region, err)
	c.set(nil, err)
	return errors.Join(err, ignoreClosed(p.stdin.Close()))
}

// start launches the process, gives it its setup, and begins to read what it
// prints.
func (c *child) start() (*process, error) {
	argv := c.pool.opts.Command
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = tieToParent()
	cmd.Env = plainEnvironment()
	p := &process{cmd: cmd, told: newTold(), ready: make(chan struct{}), gone: make(chan struct{})}
	stdout, oerr := cmd.StdoutPipe()
	stderr, eerr := cmd.StderrPipe()
	stdin, ierr := cmd.StdinPipe()
	p.stdin = stdin
	err := errors.Join(oerr, eerr, ierr)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot start the S3 service of region %s: %w", c.region, err)
	}
	p.logged.Go(func() { c.read(stdout, slog.LevelDebug, p) })
	p.logged.Go(func() { c.read(stderr, slog.LevelWarn, nil) })
	if err := c.setup(p); err != nil {
		// Its input has ended, so it does too; once sees that.
		c.log.Error("cannot set up the S3 service", "error", errors.Join(err, ignoreClosed(stdin.Close())))
	}
	return p, nil
}

// plainEnvironment keeps what a process needs to run and drops the rest, which may
// hold credentials.
func plainEnvironment() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "GOTRACEBACK", "GOCOVERDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// setup writes the first line. It holds the pool's lock, so that every SetKeys
// either comes before and is read here, or comes after and is sent.
func (c *child) setup(p *process) error {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	c.mu.Lock()
	c.started = p
	c.mu.Unlock()
	return json.NewEncoder(p.stdin).Encode(setup{
		Region: c.region, Root: c.pool.opts.Root, Socket: c.socket,
		Account: c.pool.opts.Account, Internal: c.pool.internal, Keys: c.pool.keys,
	})
}

// read logs lines. Those that a process prints about itself it notes instead.
func (c *child) read(r io.Reader, level slog.Level, p *process) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	ready := false
	for lines.Scan() {
		switch {
		case p != nil && !ready && lines.Text() == readyLine:
			close(p.ready)
			ready = true
			continue
		case p != nil && lines.Text() == keysLine:
			p.told.take()
			continue
		}
		c.log.Log(context.Background(), level, "the S3 service says", "line", lines.Text())
	}
	if err := lines.Err(); err != nil {
		c.log.Warn("cannot read what the S3 service prints", "error", err)
		_, _ = io.Copy(io.Discard, r) // so that it does not block on a full pipe
	}
}

// watch announces a process that is ready, kills one that does not get ready or
// stops answering, and asks it to stop when ctx ends.
func (c *child) watch(ctx context.Context, p *process) {
	late := time.NewTimer(startTime)
	defer late.Stop()
	select {
	case <-p.gone:
		return
	case <-ctx.Done():
		c.end(p)
		return
	case <-late.C:
		c.kill(p, "it does not get ready")
		return
	case <-p.ready:
	}
	c.set(p, nil)
	c.log.Debug("the S3 service is ready", "pid", p.cmd.Process.Pid)
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for misses := 0; misses < healthMisses; {
		select {
		case <-p.gone:
			return
		case <-ctx.Done():
			c.end(p)
			return
		case <-tick.C:
			if misses++; c.healthy(ctx) {
				misses = 0
			}
		}
	}
	c.kill(p, "it does not answer")
}

func (c *child) healthy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, healthEvery)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://s3"+healthPath, nil)
	if err != nil {
		return false
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// end asks p to finish, and kills it when it takes too long.
func (c *child) end(p *process) {
	if err := json.NewEncoder(p.stdin).Encode(update{Stop: true}); err != nil {
		c.kill(p, "it cannot be told to stop")
		return
	}
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-p.gone:
	case <-timer.C:
		c.kill(p, "it does not stop")
	}
}

func (c *child) kill(p *process, why string) {
	c.log.Error("killing the S3 service", "pid", p.cmd.Process.Pid, "because", why)
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.log.Error("cannot kill the S3 service", "error", err)
	}
}

// send writes new keys to the process, and returns what waits until it has taken them.
// pool.mu is held: see setup.
func (c *child) send(u update) (taken func(context.Context) error, err error) {
	c.mu.Lock()
	p := c.started
	c.mu.Unlock()
	if p == nil {
		return func(context.Context) error { return nil }, nil
	}
	number := p.told.send()
	taken = func(ctx context.Context) error { return p.told.await(ctx, number, p.gone) }
	return taken, ignoreClosed(json.NewEncoder(p.stdin).Encode(u))
}

func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return 0
	}
	return c.process.cmd.Process.Pid
}

func (c *child) close() {
	c.stop()
	<-c.over
	c.transport.CloseIdleConnections()
}

// ignoreClosed drops the errors of a pipe whose reader has died: the supervisor
// learns of that by itself.
func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
