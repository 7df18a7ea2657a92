package sink

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// The commands make the data on every engine, with no error reply.
func TestRESPIsExecuted(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		flowtest.Sink(t, func(t *testing.T) flowtest.SinkPlace {
			s.Must("FLUSHALL")
			var out bytes.Buffer
			return flowtest.SinkPlace{
				Open: func(*testing.T) flow.Sink { return NewRESP(&out) },
				Read: func(t *testing.T) flowtest.Content {
					execute(t, s, out.Bytes())
					return contents(t, s, 0, 3)
				},
			}
		})
	})
}

// execute gives commands to a server as redis-cli --pipe does.
func execute(t *testing.T, s *testkit.Server, commands []byte) {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(append(commands, resp.AppendCommand(nil, "ECHO", "the end")...)); err != nil {
		t.Fatal(err)
	}
	r := resp.NewReader(c)
	for {
		reply, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := reply.Err(); err != nil {
			t.Error(err)
		}
		if string(reply.Bytes) == "the end" {
			return
		}
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestRESPFailure(t *testing.T) {
	s := NewRESP(closedPipe{})
	err := errors.Join(s.Write(t.Context(), flowtest.Sample()), s.Commit(t.Context()))
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
	if err := s.Write(t.Context(), flowtest.Sample()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
}
