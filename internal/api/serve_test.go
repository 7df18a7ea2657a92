package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/api/sigv4"
)

type noKeys struct{}

func (noKeys) Secret(string) (string, sigv4.Identity, bool) { return "", sigv4.Identity{}, false }

// start serves until stop is called, which returns what Serve returned.
func start(t *testing.T, c Config) (addr string, stop func() error) {
	t.Helper()
	c.Keys = noKeys{}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.bodyTimeout = 500 * time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	return ln.Addr().String(), func() error {
		cancel()
		return <-ended
	}
}

// TestRunningRequestsEndWell stops the server while a request is being answered.
func TestRunningRequestsEndWell(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	addr, stop := start(t, Config{Ready: func(ctx context.Context) error {
		close(entered)
		<-release
		return ctx.Err()
	}})
	got := make(chan error, 1)
	go func() {
		res, err := http.Get("http://" + addr + "/readyz")
		if err == nil {
			err = res.Body.Close()
			if res.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", res.StatusCode)
			}
		}
		got <- err
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	select {
	case err := <-stopped:
		t.Fatalf("the server stopped with a request running: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-got; err != nil {
		t.Errorf("the running request: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestSlowBodiesAreCutOff sends half a body and then nothing.
func TestSlowBodiesAreCutOff(t *testing.T) {
	addr, stop := start(t, Config{})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\nX-Amz-Date: 20260102T030405Z\r\n"+
		"Authorization: AWS4-HMAC-SHA256 Credential=A/20260102/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("0", 64)+"\r\n\r\nhalf")
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close(), conn.Close(), stop()); err != nil {
		t.Error(err)
	}
	if res.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "<Code>RequestTimeout</Code>") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}
