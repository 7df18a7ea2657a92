package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/sigv4"
)

const (
	// MaxBody is how many bytes the body of a request may have, S3 apart.
	MaxBody = 1 << 20
	// bodyTimeout is how long a client may take to send such a body, and as long
	// again to take the reply.
	bodyTimeout = 30 * time.Second

	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	shutdownTimeout   = 10 * time.Second
	maxHeaderBytes    = 64 << 10
)

// Config is what a Server is made of.
type Config struct {
	// Keys are the access keys. Required.
	Keys sigv4.Keys
	// Services are those of the Query protocol, filled with handlers.
	Services []*query.Service
	// Access decides what callers other than root may do. Nil: nothing.
	Access Authorizer
	// S3 is given verified requests; query.InfoFrom(ctx) tells caller and region.
	// A body of another hash than signed ends with sigv4.ErrPayload; the chunk
	// signatures of STREAMING-… payloads are for it to check. Nil: no S3 here.
	S3 http.Handler
	// S3Verifies tells a request whose signature S3 checks by itself, because it is
	// of a kind that is not read here: a URL presigned by signature version 2. Such
	// a request carries no query.Info but its id. Nil: there is none.
	S3Verifies func(*http.Request) bool
	// Ready says why the service is not ready, nil when it is. Nil: always ready.
	Ready func(context.Context) error
	// Log gets a line per request at debug level, and internal errors. Nil: none.
	Log *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Server is the front door.
type Server struct {
	keys     sigv4.Keys
	access   Authorizer
	services map[string]*query.Service
	s3       http.Handler
	s3Itself func(*http.Request) bool
	ready    func(context.Context) error
	log      *slog.Logger
	now      func() time.Time
	replays  *replays

	bodyTimeout time.Duration
}

// New makes a Server. It fails on a mistake in the registered handlers.
func New(c Config) (*Server, error) {
	s := &Server{keys: c.Keys, access: c.Access, services: map[string]*query.Service{}, s3: c.S3, s3Itself: c.S3Verifies, ready: c.Ready, log: c.Log, now: c.Now, bodyTimeout: bodyTimeout}
	if s.keys == nil {
		return nil, errors.New("cannot serve without access keys")
	}
	for _, svc := range c.Services {
		if err := svc.Err(); err != nil {
			return nil, err
		}
		if s.services[svc.Name()] != nil || svc.Name() == "s3" {
			return nil, fmt.Errorf("cannot serve %s twice", svc.Name())
		}
		s.services[svc.Name()] = svc
	}
	if s.ready == nil {
		s.ready = func(context.Context) error { return nil }
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.replays = newReplays(s.now)
	return s, nil
}

// Serve answers on the listener until ctx ends, then lets running requests come
// to their end, for a while. It closes the listener.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// Requests outlive ctx: that is what shutting down gently means.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("cannot serve on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := srv.Shutdown(grace)
	if err != nil {
		err = errors.Join(fmt.Errorf("cannot wait for all requests: %w", err), srv.Close())
	}
	if ended := <-failed; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
