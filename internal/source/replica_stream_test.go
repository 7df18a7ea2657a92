package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"holdfast.dev/internal/resp"
)

// streamOf is a stream with everything in it that servers send.
func streamOf() (stream []byte, commands [][]string, size int64) {
	huge := strings.Repeat("v", keptArgument+1)
	commands = [][]string{
		{"SELECT", "3"},
		{"SET", "k", "a\r\n*1\r\n$4\r\nPING\r\n"},
		{"PING"},
		{"SET", "huge", huge},
		{"DEL", ""},
		{"MULTI"},
		{"INCR", "a"},
		{"EXEC"},
		{"REPLCONF", "GETACK", "*"},
	}
	stream = []byte("\n\n") // signs of life, before and between
	for i, c := range commands {
		from := len(stream)
		stream = resp.AppendCommand(stream, c...)
		size += int64(len(stream) - from)
		if i%2 == 0 {
			stream = append(stream, '\n')
		}
	}
	stream = append(stream, "PING old\r\n"...)
	return stream, append(commands, []string{"PING", "old"}), size + 10
}

// However the bytes come in, the commands are the same and so is their length.
func TestReplicaCommandsSplitAnywhere(t *testing.T) {
	stream, want, size := streamOf()
	for name, r := range map[string]io.Reader{
		"at once":      bytes.NewReader(stream),
		"halves":       iotest.HalfReader(bytes.NewReader(stream)),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
	} {
		c := newReplicaCommands(r)
		var total int64
		for i, w := range want {
			args, n, err := c.next()
			if err != nil {
				t.Fatalf("%s: command %d: %v", name, i, err)
			}
			total += n
			if len(args) != len(w) {
				t.Fatalf("%s: command %d has %d arguments", name, i, len(args))
			}
			for j := range w {
				if len(w[j]) > keptArgument {
					if args[j] != nil {
						t.Errorf("%s: a huge argument is kept", name)
					}
				} else if string(args[j]) != w[j] || args[j] == nil {
					t.Errorf("%s: argument %d of command %d is %q", name, j, i, args[j])
				}
			}
		}
		if total != size {
			t.Errorf("%s: %d bytes, want %d", name, total, size)
		}
		if _, _, err := c.next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: at the end %v", name, err)
		}
	}
}

// A stream that breaks off in a command never gives that command.
func TestReplicaCommandsBreakOff(t *testing.T) {
	stream := resp.AppendCommand(nil, "SET", "key", "value")
	for n := range len(stream) {
		c := newReplicaCommands(bytes.NewReader(stream[:n]))
		if args, _, err := c.next(); err == nil {
			t.Errorf("%d of %d bytes give %q", n, len(stream), args)
		}
	}
}

func TestReplicaCommandsHostile(t *testing.T) {
	for _, text := range []string{
		"*-1\r\n", "*x\r\n", "*99999999999\r\n", "*1\r\n:5\r\n", "*1\r\n$-1\r\n", "*1\r\n$3\r\nabcd\r\n",
		"*1\r\n$99999999999999\r\n", "*" + strings.Repeat("1", streamBuffer), "*2\r\n$1\r\na\r\n",
	} {
		if args, _, err := newReplicaCommands(strings.NewReader(text)).next(); err == nil {
			t.Errorf("%.30q gives %q", text, args)
		}
	}
}

// What is kept of a command is bounded, whatever its arguments are.
func TestReplicaCommandsBounded(t *testing.T) {
	var stream []byte
	arg := strings.Repeat("x", keptArgument)
	args := []string{"RPUSH", "key"}
	for range 2*keptCommand/keptArgument + 1 {
		args = append(args, arg)
	}
	stream = resp.AppendCommand(stream, args...)
	stream = resp.AppendCommand(stream, "DEL", "key")
	c := newReplicaCommands(bytes.NewReader(stream))
	got, n, err := c.next()
	if err != nil || len(got) != len(args) || string(got[1]) != "key" {
		t.Fatalf("%d arguments, %v", len(got), err)
	}
	kept := 0
	for _, a := range got {
		kept += len(a)
	}
	if kept > keptCommand {
		t.Errorf("%d bytes are kept", kept)
	}
	if _, m, err := c.next(); err != nil || n+m != int64(len(stream)) {
		t.Errorf("%d and %d of %d bytes, %v", n, m, len(stream), err)
	}
}

// Keys that wait in a file come back, each at least once, and the file does not grow for ever.
func TestKeySpill(t *testing.T) {
	s, err := newKeySpill(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	want, got := map[touched]struct{}{}, map[touched]struct{}{}
	take := func(n int) {
		keys, err := s.take(n, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for k := range keys {
			got[k] = struct{}{}
		}
	}
	for i := range 20 {
		batch := map[touched]struct{}{}
		for j := range 50 {
			batch[touched{j%3 - 1, fmt.Sprint(strings.Repeat("k", j), i)}] = struct{}{}
		}
		for k := range batch {
			want[k] = struct{}{}
		}
		if err := s.put(batch); err != nil {
			t.Fatal(err)
		}
		take(20)
	}
	for s.keys > 0 {
		take(100)
	}
	if len(got) != len(want) {
		t.Errorf("%d keys of %d", len(got), len(want))
	}
	for k := range want {
		if !inSet(got, k) {
			t.Errorf("%v is lost", k)
		}
	}
	if st, err := s.f.Stat(); err != nil || st.Size() != 0 || s.to != 0 {
		t.Errorf("%d bytes are left, %v", st.Size(), err)
	}
}

// A snapshot is read while it still grows, and one that breaks off says so.
func TestFullSyncIsReadWhileItGrows(t *testing.T) {
	s, err := newFullSync(t.TempDir(), Info{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	in, out := io.Pipe()
	received := make(chan error, 1)
	go func() { received <- s.receive(in) }()
	buf := make([]byte, 5)
	for _, part := range []string{"first", "other"} {
		if _, err := out.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, buf); err != nil || string(buf) != part {
			t.Fatalf("%q, %v", buf, err)
		}
	}
	cut := errors.New("cut")
	_ = out.CloseWithError(cut) // it never fails
	if _, err := s.Read(buf); !errors.Is(err, cut) {
		t.Errorf("the reader gets %v", err)
	}
	if err := <-received; !errors.Is(err, cut) {
		t.Error(err)
	}
	if whole, n := s.whole(); whole || n != 10 {
		t.Errorf("%t, %d bytes", whole, n)
	}
}
