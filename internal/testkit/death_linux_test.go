package testkit_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

const helperVar = "TESTKIT_START_AND_WAIT"

// TestEnginesDieWithTheTestBinary kills a test binary, whose cleanups then do not run.
func TestEnginesDieWithTheTestBinary(t *testing.T) {
	if os.Getenv(helperVar) != "" {
		s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
		fmt.Println("pid", s.Pid())
		<-t.Context().Done() // until killed
		return
	}
	testkit.Engine(t, "redis-7.0")
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), helperVar+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "pid "); ok {
			pid, err = strconv.Atoi(text)
		}
	}
	if killed := cmd.Process.Kill(); killed != nil {
		t.Fatal(killed)
	}
	if ended := cmd.Wait(); ended == nil || err != nil || pid == 0 {
		t.Fatalf("the helper ended with %v, process %d, %v", ended, pid, err)
	}
	testkit.Wait(t, 10*time.Second, func() bool { return gone(pid) }, "engine %d to die", pid)
}
