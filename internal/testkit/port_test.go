package testkit_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"holdfast.dev/internal/testkit"
)

const portsVar = "TESTKIT_PRINT_PORTS"

// drawn is how many ports TestPortsAreOfOneBinary draws: more than a few blocks have.
const drawn = 450

// TestPortsAreOfOneBinary: what one test binary is given no other is while the first
// runs, though nobody listens there.
func TestPortsAreOfOneBinary(t *testing.T) {
	if os.Getenv(portsVar) != "" {
		for range drawn {
			fmt.Println("port", testkit.FreePort(t))
		}
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux lets a process mark its ports")
	}
	mine := map[int]bool{}
	for range drawn {
		mine[testkit.FreePort(t)] = true
	}
	if len(mine) != drawn {
		t.Fatalf("%d ports were given in %d times", len(mine), drawn)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), portsVar+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen, port := 0, 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if n, _ := fmt.Sscanf(lines.Text(), "port %d", &port); n != 1 {
			continue
		}
		seen++
		if mine[port] {
			t.Errorf("port %d was given to two binaries", port)
		}
	}
	if err := cmd.Wait(); err != nil || seen != drawn {
		t.Fatalf("the other binary told %d ports and ended with %v", seen, err)
	}
}

// TestListenAgain: a port can be listened on again after its listener was closed.
func TestListenAgain(t *testing.T) {
	first := testkit.Listen(t)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := net.Listen("tcp", first.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
