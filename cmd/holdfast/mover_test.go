package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/rogpeppe/go-internal/testscript"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// The test binary is holdfast itself when it is called with a command, as the
// processes that holdfast starts of itself are too; go test passes only flags.
func init() {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		main()
	}
}

// TestMover runs the scripts of testdata/mover. A script that names $REDIS60, $REDIS70,
// $VALKEY81 or $VALKEY91 has an empty server of that line there, as host:port; one
// that names $S3 has an S3 service there, with a bucket "backups" in eu-west-1 and
// the AWS environment to reach it. Besides testscript's own commands there are
//
//	exits CODE command args...   runs a command that must exit with the code
//	ask ADDR command args...     gives a server a command and prints the reply
//	askfile ADDR FILE command... the same, with a file's content as the last argument
func TestMover(t *testing.T) {
	files, err := filepath.Glob("testdata/mover/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) { runScript(t, f) })
	}
}

func runScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	servers := map[string]string{}
	for _, line := range testkit.Lines {
		name := strings.ToUpper(strings.NewReplacer("-", "", ".", "").Replace(line))
		if strings.Contains(string(text), "$"+name) {
			servers[name] = testkit.StartServer(t, testkit.Engine(t, line)).Addr()
		}
	}
	if strings.Contains(string(text), "$S3") {
		serveS3(t, servers)
	}
	testscript.Run(t, testscript.Params{
		Files: []string{file},
		Setup: func(env *testscript.Env) error {
			for name, value := range servers {
				env.Setenv(name, value)
			}
			return asCommand(env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "ask": ask, "askfile": askFile},
	})
}

// serveS3 starts the service for its S3, and adds the environment for it.
func serveS3(t *testing.T, env map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	s, err := startDemoService(ctx, dataDir(t.TempDir()), fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.s3("eu-west-1").CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket:                    aws.String("backups"),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"},
	}); err != nil {
		t.Fatal(err)
	}
	maps.Copy(env, map[string]string{
		"S3": s.url, "AWS_ENDPOINT_URL": s.url, "AWS_REGION": "us-east-1",
		"AWS_ACCESS_KEY_ID": s.key.AccessKeyID, "AWS_SECRET_ACCESS_KEY": s.key.SecretAccessKey,
	})
}

// asCommand puts this binary on the script's PATH as holdfast.
func asCommand(env *testscript.Env) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Join(env.WorkDir, ".bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	return os.Symlink(self, filepath.Join(bin, "holdfast"))
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE command args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, not %d", got, want)
	}
}

func askFile(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: askfile ADDR FILE command args...")
	}
	ask(ts, neg, append(append(args[:1:1], args[2:]...), ts.ReadFile(args[1])))
}

func ask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: ask ADDR command args...")
	}
	opt, err := resp.ParseURL("redis://" + args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := resp.Dial(ctx, opt)
	ts.Check(err)
	defer c.Close()
	r, err := c.Do(ctx, args[1:]...)
	ts.Check(err)
	if r.Kind == resp.Int {
		fmt.Fprintln(ts.Stdout(), r.Int)
		return
	}
	fmt.Fprintf(ts.Stdout(), "%s\n", r.Bytes)
}

// A command that waits for its input can be interrupted too.
func TestInterruptedWaiting(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "fingerprint", "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// More than a pipe holds: once it is written, the command is reading.
	if _, err := in.Write(append([]byte("REDIS0011\x00\x01k\x81\x00\x00\x00\x00\x10\x00\x00\x00"), make([]byte, 1<<20)...)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	// Should it not end, the test's deadline ends it.
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("it ended with %v", err)
	}
}

// An interrupted command exits with 130 and leaves no file behind.
func TestInterrupted(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(self, "generate", filepath.Join(dir, "x.rdb"), "--keys", "1000000000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Wait(t, 20*time.Second, func() bool {
		names, err := filepath.Glob(filepath.Join(dir, ".*.part"))
		return err == nil && len(names) == 1
	}, "it to begin")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("it ended with %v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}
