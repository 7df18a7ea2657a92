package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// What follows reads processes through ps and lsof. It is compiled everywhere, so
// that the tests of one system keep it right for the others.

// psStat is readStat by ps. The start time is in seconds since 1970.
func psStat(pid int) (stat, error) {
	out, err := runTool("ps", "-o", "pgid=,state=,lstart=", "-p", strconv.Itoa(pid))
	if err != nil {
		return stat{}, fmt.Errorf("cannot read the state of pid %d: %w", pid, err)
	}
	f := strings.Fields(out)
	if len(f) == 0 {
		return stat{}, fmt.Errorf("cannot read the state of pid %d: %w", pid, os.ErrNotExist)
	}
	if len(f) != 7 {
		return stat{}, fmt.Errorf("cannot read the state of pid %d: ps wrote %q", pid, out)
	}
	group, err := strconv.Atoi(f[0])
	if err != nil {
		return stat{}, fmt.Errorf("cannot read the state of pid %d: %w", pid, err)
	}
	at, err := time.ParseInLocation("Jan 2 15:04:05 2006", strings.Join(f[3:], " "), time.UTC)
	if err != nil {
		return stat{}, fmt.Errorf("cannot read the start of pid %d: %w", pid, err)
	}
	// ps shows no session that means the same everywhere. Our children lead both.
	return stat{state: State(f[1][0]), group: group, session: group, start: uint64(at.Unix())}, nil
}

// psMembers is members by ps.
func psMembers(leader int) ([]int, error) {
	out, err := runTool("ps", "-A", "-o", "pid=,pgid=,state=")
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	var found []int
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 3 || f[1] != strconv.Itoa(leader) || f[2][0] == 'Z' {
			continue
		}
		if pid, err := strconv.Atoi(f[0]); err == nil {
			found = append(found, pid)
		}
	}
	return found, nil
}

// lsofHolders is holders by lsof.
func lsofHolders(path string) ([]int, error) {
	out, err := runTool("lsof", "-t", "-d", strconv.Itoa(lockFD), "-a", path)
	if err != nil {
		return nil, fmt.Errorf("cannot find out who has %s open: %w", path, err)
	}
	var found []int
	for _, f := range strings.Fields(out) {
		if pid, err := strconv.Atoi(f); err == nil && pid != os.Getpid() {
			found = append(found, pid)
		}
	}
	return found, nil
}

// runTool returns what a tool prints. One that finds nothing ends with 1 and
// prints nothing: that is an empty answer.
func runTool(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 && len(exit.Stderr) == 0 {
		err = nil
	}
	return string(out), err
}
