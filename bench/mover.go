package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// moverBenches are the flows of the mover, each with what it has to reach. They
// run the program itself, start of the process and checks included.
var moverBenches = []bench{
	{"restore", "an RDB file into a server, beside a bare pipeline of pre-encoded RESTORE", benchRestore},
	{"scan", "one server into another with commands of clients, beside a bare SCAN and DUMP", benchScanMove},
	{"psync", "one server into another as a replica reads it, beside the full synchronization of an engine's replica", benchReplicaMove},
	{"backup", "a backup by the replica's road, beside the engine's own client with --rdb", benchBackup},
	{"verify", "comparison of two servers, beside a bare SCAN and DUMP of the slower", benchVerify},
	{"generate", "made-up data into a server, beside the engine's own client with --pipe and a file", benchGenerate},
	{"forkless", "a backup with commands of clients while others read and write, beside BGSAVE", benchForkless},
	{"bridge", "the cut-over of a live bridge between Redis 8 and Valkey 9, under load", benchBridge},
}

// cost is what one run of a piece took.
type cost struct {
	took time.Duration
	// peak is the most memory that the process had, in bytes; 0 where this one did
	// the work. cpu is what the process used, in seconds.
	peak int64
	cpu  float64
	// busy is what the servers used meanwhile, in seconds.
	busy float64
}

// piece is a piece of work; what it prepares first does not count.
type piece func() (cost, error)

// rounds runs each piece once unmeasured, and then again and again in an order
// that turns round each time, so that none always follows the same other.
func (l *lab) rounds(ctx context.Context, pieces ...piece) ([][]cost, error) {
	out := make([][]cost, len(pieces))
	for round := range l.opt.rounds + 1 {
		for at := range pieces {
			i := at
			if round%2 == 1 {
				i = len(pieces) - 1 - at
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			runtime.GC()
			c, err := pieces[i]()
			if err != nil {
				return nil, err
			}
			if round > 0 {
				out[i] = append(out[i], c)
			}
		}
	}
	return out, nil
}

// counting measures a function, and what the servers used for it alone.
func counting(servers []*server, prepare, f func() error) piece {
	return func() (cost, error) {
		if prepare != nil {
			if err := prepare(); err != nil {
				return cost{}, err
			}
		}
		busy, self, began := busyOf(servers), selfBusy(), time.Now()
		err := f()
		return cost{took: time.Since(began), cpu: selfBusy() - self, busy: busyOf(servers) - busy}, err
	}
}

// running measures a run of the program, from its start to its end.
func (l *lab) running(ctx context.Context, servers []*server, prepare func() error, args ...string) piece {
	return func() (cost, error) {
		program, err := l.holdfast(ctx)
		if err != nil {
			return cost{}, err
		}
		if prepare != nil {
			if err := prepare(); err != nil {
				return cost{}, err
			}
		}
		busy := busyOf(servers)
		c, _, err := execute(ctx, program, nil, args...)
		c.busy = busyOf(servers) - busy
		return c, err
	}
}

// execute runs a program to its end; what it printed comes with it.
func execute(ctx context.Context, program string, env []string, args ...string) (cost, []byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	// The kernel watches the thread that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return cost{}, nil, err
	}
	ended, peak := make(chan struct{}), make(chan int64, 1)
	go func() { peak <- watchPeak(cmd.Process.Pid, ended) }()
	err := cmd.Wait()
	c := cost{took: time.Since(began)}
	close(ended)
	c.peak = <-peak
	if err != nil {
		return c, nil, fmt.Errorf("%s %v failed: %w\n%s%s", filepath.Base(program), args, err, out.Bytes(), complaints.Bytes())
	}
	c.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return c, out.Bytes(), nil
}

// watchPeak watches the most memory that a process has had until it has ended, and
// so may miss what it grew by in its last moments. What the kernel tells of an ended
// process counts the memory of the one that started it.
func watchPeak(pid int, ended <-chan struct{}) int64 {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	most := int64(0)
	for {
		most = max(most, peakMemory(pid))
		select {
		case <-tick.C:
		case <-ended:
			return most
		}
	}
}

// busyOf is what servers have used of the processors so far, in seconds; 0 where
// the system does not tell it in a file.
func busyOf(servers []*server) float64 {
	sum := 0.0
	for _, s := range servers {
		sum += s.busy()
	}
	return sum
}

// selfBusy is what this process has used of the processors, in seconds.
func selfBusy() float64 {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return 0
	}
	return float64(use.Utime.Nano()+use.Stime.Nano()) / 1e9
}

// runJSON runs the program and reads what it reports.
func runJSON(ctx context.Context, program string, into any, args ...string) (cost, error) {
	c, out, err := execute(ctx, program, nil, append(args, "-o", "json")...)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return c, fmt.Errorf("cannot read what %s printed: %w\n%s", filepath.Base(program), err, out)
	}
	return c, nil
}

func (s *server) url() string { return "redis://" + s.addr() }

// flush empties a server.
func (s *server) flush(ctx context.Context) func() error {
	return func() error {
		_, err := s.do(ctx, "FLUSHALL", "SYNC")
		return err
	}
}

// holds makes sure that a server has as many keys in database 0.
func (s *server) holds(ctx context.Context, keys int64) error {
	text, err := s.do(ctx, "DBSIZE")
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return err
	}
	return counted(n, keys)
}

// also runs another check when a piece has ended, which does not count.
func (p piece) also(f func() error) piece {
	return func() (cost, error) {
		c, err := p()
		if err == nil {
			err = f()
		}
		return c, err
	}
}
