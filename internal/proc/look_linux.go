//go:build linux && !procps

package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"
)

// tick is the unit of processor times in /proc, the same on every architecture.
const tick = 10 * time.Millisecond

// LookAt looks at the process that ref names.
func LookAt(ref Ref) (Look, error) {
	boot, err := bootID()
	if err != nil || ref.PID <= 0 || boot != ref.BootID {
		return Look{}, err
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(ref.PID) + "/stat")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return Look{}, nil
	}
	if err != nil {
		return Look{}, fmt.Errorf("cannot look at pid %d: %w", ref.PID, err)
	}
	st, err := parseStat(b)
	if err != nil {
		return Look{}, fmt.Errorf("cannot look at pid %d: %w", ref.PID, err)
	}
	if st.start != ref.StartTime {
		return Look{}, nil
	}
	cpu, err := parseTimes(b)
	return Look{State: st.state, CPU: cpu, CPUKnown: err == nil}, err
}

// parseTimes reads fields 14 and 15, the processor time in and outside of the program.
func parseTimes(b []byte) (time.Duration, error) {
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 13 {
		return 0, errors.New("unknown form of /proc/<pid>/stat")
	}
	user, err1 := strconv.ParseInt(string(f[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(f[12]), 10, 64)
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}
