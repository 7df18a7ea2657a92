package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

// insideVar tells a process that it has a network namespace of its own.
const insideVar = "HOLDFAST_CHAOS_NETWORK"

// Isolate runs a program again in a network namespace of its own, in which packets
// between two addresses can be dropped, and returns how it ended. It returns false
// where that is not to be had, and true inside.
func Isolate(args []string) (ended *os.ProcessState, isolated bool, err error) {
	if os.Getenv(insideVar) != "" {
		return nil, true, prepare()
	}
	if !available() {
		return nil, false, nil
	}
	cmd := enclosed(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideVar+"=1")
	// It ends with us, that is with the thread that has started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return cmd.ProcessState, false, err
}

func enclosed(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	return cmd
}

// available tries whether rules can be made in a namespace of our own.
func available() bool {
	return enclosed(ip(), "rule", "add", "pref", "10", "from", "127.0.0.8", "to", "127.0.0.9", "blackhole").Run() == nil
}

// prepare brings the namespace's loopback up, and lets rules of ours stand before
// the one that says what is local.
func prepare() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot bring the loopback up: %w", err)
	}
	// As a file its closing needs no word: nothing was written to it.
	socket := os.NewFile(uintptr(fd), "socket")
	defer socket.Close()
	req := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(req.name[:], "lo")
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return fmt.Errorf("cannot bring the loopback up: %w", errno)
	}
	if err := rule("add", "pref", "1000", "lookup", "local"); err != nil {
		return err
	}
	return rule("del", "pref", "0")
}

// ip is the program; not everybody's PATH leads to it.
func ip() string {
	for _, at := range []string{"/usr/sbin/ip", "/sbin/ip"} {
		if _, err := os.Stat(at); err == nil {
			return at
		}
	}
	return "ip"
}

func rule(args ...string) error {
	out, err := exec.Command(ip(), append([]string{"rule"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip rule %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// cuts are the pairs of addresses between which nothing passes.
var cuts struct {
	sync.Mutex
	next int
}

// cut drops all packets between two addresses, until the returned function is called.
func cut(a, b string) (heal func() error, err error) {
	if os.Getenv(insideVar) == "" {
		return nil, errNoNetwork
	}
	cuts.Lock()
	cuts.next++
	pref := fmt.Sprint(1 + cuts.next%900)
	cuts.Unlock()
	if err := rule("add", "pref", pref, "from", a, "to", b, "blackhole"); err != nil {
		return nil, err
	}
	if err := rule("add", "pref", pref, "from", b, "to", a, "blackhole"); err != nil {
		return nil, errors.Join(err, rule("del", "pref", pref))
	}
	return func() error { return errors.Join(rule("del", "pref", pref), rule("del", "pref", pref)) }, nil
}
