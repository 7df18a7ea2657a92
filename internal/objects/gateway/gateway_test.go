package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/objects/gateway"
)

const (
	childArg  = "s3-child-of-the-test"
	parentArg = "s3-parent-of-the-test"
	account   = "000000000000"
	region    = "us-east-1"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		var err error
		switch os.Args[1] {
		case childArg:
			err = gateway.Main(context.Background(), os.Stdin, os.Stdout)
		case parentArg:
			err = parent(os.Args[2])
		default:
			goleak.VerifyTestMain(m)
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// parent starts a child, prints its process id, and waits to be killed.
func parent(root string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	p, err := gateway.NewPool(gateway.Options{Root: root, Command: []string{exe, childArg}, Account: account})
	if err != nil {
		return err
	}
	if err := p.Start(context.Background(), region); err != nil {
		return err
	}
	fmt.Println(p.PIDs()[region])
	_, err = io.Copy(io.Discard, os.Stdin) // until the test ends, should it fail to kill
	return errors.Join(err, p.Close())
}

func newPool(t testing.TB, root string, keys ...gateway.Key) *gateway.Pool {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := gateway.NewPool(gateway.Options{
		Root: root, Command: []string{exe, childArg}, Account: account, Keys: keys,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newStore(t testing.TB, p *gateway.Pool) objects.Store {
	t.Helper()
	if _, err := p.Client(region).CreateBucket(limited(t), &s3.CreateBucketInput{Bucket: aws.String("bucket")}); err != nil {
		t.Fatal(err)
	}
	s, err := p.Buckets().Open(limited(t), region, "bucket")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eventually polls until ok, for at most a minute.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it never came true that %s", what)
		}
	}
}

// alive tells whether a process runs; one that waits to be reaped does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !os.IsNotExist(err) || !exists("/proc/self/stat")
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// kill kills the child, once there is one: the last may have been killed just now.
func kill(t testing.TB, p *gateway.Pool) {
	t.Helper()
	pid := 0
	eventually(t, "there is a child", func() bool {
		pid = p.PIDs()[region]
		return pid != 0 && alive(pid)
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestPlainFilesAndOwner(t *testing.T) {
	root := t.TempDir()
	p := newPool(t, root)
	s := newStore(t, p)
	ctx := limited(t)
	if _, err := objects.Put(ctx, s, "a/b.txt", strings.NewReader("hello"), objects.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, region, "bucket", "a", "b.txt")
	b, err := os.ReadFile(path)
	if err != nil || string(b) != "hello" {
		t.Errorf("plain file: %q %v", b, err)
	}
	for _, path := range []string{path, filepath.Dir(path), filepath.Join(root, region)} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v %v", path, st.Mode(), err)
		}
	}
	acl, err := p.Client(region).GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: aws.String("bucket")})
	if err != nil || aws.ToString(acl.Owner.ID) != account {
		t.Errorf("owner: %v %v", acl, err)
	}
}

func TestBuckets(t *testing.T) {
	p := newPool(t, t.TempDir())
	newStore(t, p)
	ctx, b := limited(t), p.Buckets()
	if r, err := b.Region(ctx, "bucket"); err != nil || r != region {
		t.Errorf("Region: %q %v", r, err)
	}
	for _, name := range []string{"nowhere", "..", ".versions", "a/b", ""} {
		if _, err := b.Open(ctx, region, name); !errors.Is(err, objects.ErrNoSuchBucket) {
			t.Errorf("bucket %q: %v", name, err)
		}
	}
	_, err := b.Open(ctx, "eu-west-1", "bucket")
	var wrong *objects.RegionError
	if !errors.Is(err, objects.ErrWrongRegion) || !errors.As(err, &wrong) || wrong.Region != region {
		t.Errorf("wrong region: %v", err)
	}
	if err := p.Start(ctx, "../escape"); err == nil {
		t.Error("a strange region was started")
	}
}

// A killed child is started again, and clients notice no more than a delay.
func TestChildKilled(t *testing.T) {
	p := newPool(t, t.TempDir())
	s := newStore(t, p)
	for i := range 3 {
		old := p.PIDs()[region]
		kill(t, p)
		key := "after-" + strconv.Itoa(i)
		if _, err := objects.Put(limited(t), s, key, strings.NewReader(key), objects.PutOptions{IfAbsent: true}); err != nil {
			t.Fatal(err)
		}
		if now := p.PIDs()[region]; now == old || now == 0 {
			t.Errorf("process %d follows %d", now, old)
		}
	}
}

// Killed in the middle of an upload and of a download: both go on to their end,
// and the upload shows nothing until then.
func TestChildKilledMidway(t *testing.T) {
	root := t.TempDir()
	p := newPool(t, root)
	s := newStore(t, p)
	ctx := limited(t)
	body := bytes.Repeat([]byte("0123456789abcdef"), 40<<20/16)
	w, err := s.Create(ctx, "big", objects.PutOptions{IfAbsent: true})
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(body); at += 4 << 20 {
		if at == 20<<20 {
			kill(t, p)
		}
		if _, err := w.Write(body[at : at+4<<20]); err != nil {
			t.Fatal(err)
		}
		if exists(filepath.Join(root, region, "bucket", "big")) {
			t.Fatal("a partial object is visible")
		}
	}
	kill(t, p)
	if _, err := w.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	r, _, err := s.Open(ctx, "big", 0)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10<<20, len(body))
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	kill(t, p)
	rest, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(append(got, rest...), body) {
		t.Errorf("read over a killed child: %v, %d bytes", err, len(got)+len(rest))
	}
}

// One PutObject cut by a kill leaves nothing under its name.
func TestKilledDuringPut(t *testing.T) {
	root := t.TempDir()
	p := newPool(t, root)
	s := newStore(t, p)
	body := &killOnce{left: 6 << 20, at: 3 << 20, kill: func() { kill(t, p) }}
	_, err := p.Client(region).PutObject(limited(t), &s3.PutObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("k"), Body: body, ContentLength: aws.Int64(6 << 20),
	}, s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware), func(o *s3.Options) {
		o.RetryMaxAttempts = 1
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired // one pass over the body
	})
	if err == nil {
		t.Error("a put that was cut off succeeded")
	}
	if !body.done {
		t.Error("nothing was killed")
	}
	if err := p.Start(limited(t), region); err != nil {
		t.Fatal(err)
	}
	if got := list(t, s); len(got) != 0 {
		t.Errorf("a partial object is visible: %v", got)
	}
}

// killOnce is a body during which the child is killed.
type killOnce struct {
	left, at int
	kill     func()
	done     bool
}

func (k *killOnce) Read(p []byte) (int, error) {
	if k.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), k.left, 64<<10)
	if k.left -= n; k.left < k.at && !k.done {
		k.done = true
		k.kill()
	}
	return n, nil
}

func list(t *testing.T, s objects.Store) []string {
	t.Helper()
	var got []string
	for info, err := range s.List(limited(t), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Key)
	}
	return got
}

// However the parent ends, no child is left.
func TestParentKilled(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, parentArg, t.TempDir())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	pid, perr := strconv.Atoi(strings.TrimSpace(line))
	if err := errors.Join(err, perr); err != nil {
		t.Fatal(err)
	}
	if !alive(pid) {
		t.Fatalf("child %d does not run", pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the parent was not killed")
	}
	eventually(t, "the child of a killed parent ends", func() bool { return !alive(pid) })
}

// The end of its input alone ends a child: what platforms without a parent-death
// signal rely on.
func TestChildEndsWithInput(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(exe, childArg)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(stdin, `{"region":"us-east-1","root":%q,"socket":%q,"account":"1","internal":{"id":"a","secret":"b"}}`+"\n", dir, filepath.Join(dir, "s"))
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.Contains(lines.Text(), "ready") {
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	_, cerr := io.Copy(io.Discard, stdout)
	if err := errors.Join(cerr, cmd.Wait()); err != nil {
		t.Errorf("the child ended with %v", err)
	}
}

func TestClose(t *testing.T) {
	p := newPool(t, t.TempDir())
	newStore(t, p)
	pid := p.PIDs()[region]
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if alive(pid) {
		t.Errorf("child %d runs after Close", pid)
	}
	if err := p.Start(limited(t), region); !errors.Is(err, gateway.ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
}

// Keys turn over in a running child, and the buckets stay the account's.
func TestSetKeys(t *testing.T) {
	first, second := gateway.Key{AccessKeyID: "AKIAFIRST", Secret: "one"}, gateway.Key{AccessKeyID: "AKIASECOND", Secret: "two"}
	p := newPool(t, t.TempDir(), first)
	newStore(t, p)
	ask := func(k gateway.Key) string {
		opts := p.Client(region).Options()
		opts.Credentials = credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.Secret, "")
		_, err := s3.New(opts).GetBucketAcl(limited(t), &s3.GetBucketAclInput{Bucket: aws.String("bucket")})
		var api smithy.APIError
		if errors.As(err, &api) {
			return api.ErrorCode()
		}
		return fmt.Sprint(err)
	}
	if got := ask(first); got != "<nil>" {
		t.Errorf("the first key: %s", got)
	}
	if got := ask(second); got != "InvalidAccessKeyId" {
		t.Errorf("the second key too early: %s", got)
	}
	if err := p.SetKeys([]gateway.Key{second}); err != nil {
		t.Fatal(err)
	}
	if got := ask(second); got != "<nil>" {
		t.Errorf("the second key, at once: %s", got)
	}
	if got := ask(first); got != "InvalidAccessKeyId" {
		t.Errorf("the first key afterwards: %s", got)
	}
	if err := p.SetKeys(nil); err != nil {
		t.Fatal(err)
	}
	if got := ask(second); got != "InvalidAccessKeyId" {
		t.Errorf("the second key after all were taken away: %s", got)
	}
}

// A child that cannot start says why, to whoever waits for it.
func TestCannotStart(t *testing.T) {
	p, err := gateway.NewPool(gateway.Options{
		Root: t.TempDir(), Command: []string{"/nonexistent/program"}, Account: account, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "it is said why", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		err := p.Start(ctx, region)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Start: %v", err)
		}
		return strings.Contains(err.Error(), "/nonexistent/program")
	})
}

// A data directory too deep for a socket's address still works, also over what a
// killed service left, and leaves nothing.
func TestLongPath(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	root := filepath.Join(t.TempDir(), strings.Repeat("deep", 30))
	p := newPool(t, root)
	again := newPool(t, root) // as after a kill: the directory is there
	s := newStore(t, again)
	if _, err := objects.Put(limited(t), s, "k", strings.NewReader("v"), objects.PutOptions{}); err != nil {
		t.Error(err)
	}
	if err := errors.Join(again.Close(), p.Close()); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "holdfast-s3-*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Where the file system has no attributes they are kept beside it, and that choice
// outlives a restart.
func TestSidecar(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, ".meta", region), 0o700); err != nil {
		t.Fatal(err)
	}
	p := newPool(t, root)
	s := newStore(t, p)
	want, err := objects.Put(limited(t), s, "k", strings.NewReader("v"), objects.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := newPool(t, root).Buckets().Open(limited(t), region, "bucket")
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.Stat(limited(t), "k")
	if err != nil || got.ETag != want.ETag {
		t.Errorf("after a restart: %+v %v, want ETag %s", got, err, want.ETag)
	}
	if entries, err := os.ReadDir(filepath.Join(root, ".meta", region)); err != nil || len(entries) == 0 {
		t.Errorf("nothing beside the files: %v", err)
	}
}

// No secret shows in the process table.
func TestNoSecretOnCommandLine(t *testing.T) {
	p := newPool(t, t.TempDir(), gateway.Key{AccessKeyID: "AKIASHOWN", Secret: "sesame"})
	t.Setenv("AWS_SECRET_ACCESS_KEY", "sesame")
	newStore(t, p)
	for _, file := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PIDs()[region], file))
		if err != nil {
			t.Skipf("LOUD SKIP: no process table to look into: %v", err)
		}
		if bytes.Contains(b, []byte("sesame")) || bytes.Contains(b, []byte("HOLDFAST")) {
			t.Errorf("a secret is in %s", file)
		}
	}
}
