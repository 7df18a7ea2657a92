package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"holdfast.dev/internal/migrate"
)

// liveOperator decides on a cut-over, or asks who does.
type liveOperator struct {
	m      *liveMove
	screen *liveScreen
	in     *lines
}

func (m *liveMove) operator() *liveOperator {
	return &liveOperator{m: m, screen: m.screen, in: newLines(os.Stdin)}
}

// Tell says what goes on.
func (o *liveOperator) Tell(what string, args ...any) { o.screen.tell(what, args...) }

// Ready returns when the cut-over is wanted.
func (o *liveOperator) Ready(ctx context.Context, status func() migrate.Status) error {
	switch o.m.live.cutover.name {
	case cutAuto:
		return nil
	case cutNever:
		o.screen.tell("the target is in step and follows; interrupt to stop", "lag", status().Lag.Round(time.Millisecond))
		<-ctx.Done()
		return context.Cause(ctx)
	}
	o.screen.hide()
	defer o.screen.show()
	fmt.Fprintf(o.m.warn, "\nThe target is in step (%s). Press Enter to cut over; Ctrl-C stops here, and the same command goes on.\n", liveLag(status()))
	_, err := o.in.next(ctx)
	return err
}

// Switch has the clients switched.
func (o *liveOperator) Switch(ctx context.Context, r *migrate.Report) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.m.live.switchWithin, errSwitchTooLong)
	defer cancel()
	o.screen.tell("both ends agree and writes are held", "pause", fmt.Sprintf("%.0f ms", r.CutSeconds*1000))
	if o.m.live.onSwitch != "" {
		return o.command(ctx)
	}
	if o.m.live.cutover.name != cutAsk {
		return nil
	}
	o.screen.hide()
	defer o.screen.show()
	fmt.Fprintf(o.m.warn, "\nSwitch your clients to %s now; writes at %s are held for up to %s.\nPress Enter when they are switched, or type \"back\" and Enter to let them stay.\n",
		o.m.dst.name, o.m.src.name, o.m.live.switchWithin)
	said, err := o.in.next(ctx)
	if err != nil {
		return err
	}
	if strings.TrimSpace(said) != "" {
		return fmt.Errorf("the operator said %.40q", strings.TrimSpace(said))
	}
	return nil
}

var errSwitchTooLong = errors.New("switching took longer than --switch-within")

// leashed runs a command such that nothing of its process group outlives us: a process beside it
// waits at a pipe that we alone hold open, and kills the group when we are gone
// without a word. That holds for kill -9 too, and for what the command started. A
// line in the pipe is the word: the command is over.
const leashed = `{ read -r over <&3 || kill -9 0; } </dev/null >/dev/null 2>&1 &
exec 3<&-
exec /bin/sh -c "$1"`

// command runs --on-switch. It learns the ends, without their passwords, from its
// environment. If we are killed it is ended half-way rather than go on: the source takes
// writes again soon, and clients that are switched after that leave behind what they wrote.
func (o *liveOperator) command(ctx context.Context) error {
	leash, ours, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot run the command that switches clients: %w", err)
	}
	defer func() { _, _ = leash.Close(), ours.Close() }()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", leashed, "sh", o.m.live.onSwitch)
	cmd.Env = append(os.Environ(), "HOLDFAST_SOURCE="+o.m.src.name, "HOLDFAST_TARGET="+o.m.dst.name)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = o.m.warn, o.m.warn, []*os.File{leash}
	// What it started is ended with it: clients must not be switched by what is left
	// of a command that was given up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	_, _ = ours.WriteString("over\n") // or what it left running would be taken for the command
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	// Not wrapped: its exit code is not ours.
	return errors.New("the command that switches clients failed: " + err.Error())
}

func liveLag(s migrate.Status) string {
	return fmt.Sprintf("%s behind, %s keys dirty", s.Lag.Round(time.Millisecond), thousands(s.Dirty))
}

// lines reads lines of a person, such that waiting for one can be given up.
type lines struct {
	in   *bufio.Reader
	said chan line
	due  bool
}

type line struct {
	text string
	err  error
}

func newLines(r io.Reader) *lines { return &lines{in: bufio.NewReader(r), said: make(chan line, 1)} }

// next is the next line without its end. What is typed after ctx has ended is for the call after.
func (l *lines) next(ctx context.Context) (string, error) {
	if !l.due {
		l.due = true
		go func() { // ends with the process: a terminal's read cannot be broken off
			text, err := l.in.ReadString('\n')
			l.said <- line{strings.TrimRight(text, "\r\n"), err}
		}()
	}
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case s := <-l.said:
		l.due = false
		if s.err != nil {
			return "", fmt.Errorf("cannot hear from the operator: %w", s.err)
		}
		return s.text, nil
	}
}
