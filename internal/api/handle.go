package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/sigv4"
)

// exchange is one request on its way through the front door.
type exchange struct {
	*Server
	w    *recorder
	r    *http.Request
	info query.Info
	code string // error code of the reply, for the log
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Server: s, w: &recorder{ResponseWriter: w}, r: r, info: query.Info{RequestID: newRequestID()}}
	x.w.Header().Set("x-amzn-RequestId", x.info.RequestID)
	start := time.Now()
	defer x.logAccess(start)
	defer x.recovered()
	if x.serveHealth() {
		return
	}
	if err := x.serveSigned(); err != nil {
		x.refuse(err)
	}
}

// serveHealth answers the paths that need no signature.
func (x *exchange) serveHealth() bool {
	path := x.r.URL.Path
	if path != "/healthz" && path != "/readyz" || x.r.Header.Get("Authorization") != "" || strings.Contains(x.r.URL.RawQuery, "X-Amz-") {
		return false
	}
	x.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		x.w.Header().Set("Allow", "GET, HEAD")
		x.write(http.StatusMethodNotAllowed, []byte("method not allowed\n"))
		return true
	}
	if path == "/readyz" {
		if err := x.ready(x.r.Context()); err != nil {
			x.write(http.StatusServiceUnavailable, []byte(err.Error()+"\n"))
			return true
		}
	}
	x.write(http.StatusOK, []byte("ok\n"))
	return true
}

// serveSigned verifies and routes. What it returns is told to the caller.
func (x *exchange) serveSigned() error {
	if x.s3 != nil && x.s3Itself != nil && x.s3Itself(x.r) {
		x.info.Service = "s3"
		return x.passToS3(x.r)
	}
	auth, err := sigv4.Parse(x.r)
	if err != nil {
		return err
	}
	x.info.Service, x.info.Region, x.info.AccessKeyID = auth.Service, auth.Region, auth.AccessKeyID
	if !validRegion(auth.Region) {
		x.info.Region = ""
		return badRegion(auth)
	}
	if auth.S3() {
		return x.serveS3(auth)
	}
	body, err := x.readBody()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	bodyHash := hex.EncodeToString(sum[:])
	if x.info.Identity, err = auth.Verify(x.r, bodyHash, x.keys, x.now()); err != nil {
		return err
	}
	svc := x.services[auth.Service]
	if svc == nil {
		return x.notServed(auth.Service)
	}
	if x.r.URL.Path != "/" {
		return query.Errorf("InvalidAction", "Requests to %s are made at the path /", svc.Name())
	}
	call := svc.Parse(x.r, body)
	x.info.Action, call.Check = call.Action, x.authorize
	x.reply(x.run(call, bodyHash))
	return nil
}

// run does the call, at most once per invocation where it changes something.
func (x *exchange) run(call *query.Call, bodyHash string) query.Reply {
	ctx := query.WithInfo(x.r.Context(), x.info)
	do := func() query.Reply { return call.Do(ctx) }
	invocation := x.r.Header.Get("Amz-Sdk-Invocation-Id")
	if !call.Mutating || invocation == "" || len(invocation) > maxInvocation {
		return do()
	}
	return x.replays.do(ctx, replayKey{
		accessKey: x.info.AccessKeyID, service: x.info.Service, region: x.info.Region,
		invocation: invocation, action: call.Action, body: sayingOf(bodyHash, x.r.URL.RawQuery),
	}, do)
}

// serveS3 hands a verified request on. The body is not read here.
func (x *exchange) serveS3(auth *sigv4.Auth) error {
	identity, err := auth.Verify(x.r, "", x.keys, x.now())
	if err != nil {
		return err
	}
	if x.s3 == nil {
		return x.notServed("s3")
	}
	x.info.Identity = identity
	r := x.r
	if hash, ok := auth.PayloadHash(r); ok && r.Body != nil {
		r = r.WithContext(r.Context())
		r.Body = sigv4.CheckBody(r.Body, r.ContentLength, hash)
	}
	return x.passToS3(r)
}

func (x *exchange) passToS3(r *http.Request) error {
	// Objects are large: the bound that an earlier request set does not hold for them.
	if err := x.deadline((*http.ResponseController).SetWriteDeadline, 0); err != nil {
		return err
	}
	x.s3.ServeHTTP(x.w, r.WithContext(query.WithInfo(r.Context(), x.info)))
	return nil
}

// readBody reads a body of bounded size in bounded time.
func (x *exchange) readBody() ([]byte, error) {
	if err := x.deadline((*http.ResponseController).SetReadDeadline, x.bodyTimeout); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, MaxBody))
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		return nil, &query.Error{
			Code: "RequestEntityTooLarge", Status: http.StatusRequestEntityTooLarge,
			Message: fmt.Sprintf("The request body is larger than %d bytes", MaxBody),
		}
	case err != nil:
		return nil, &query.Error{Code: "RequestTimeout", Message: "The request body could not be read to its end", Status: http.StatusBadRequest}
	}
	if err := x.deadline((*http.ResponseController).SetReadDeadline, 0); err != nil {
		return nil, err
	}
	return body, nil
}

// deadline bounds reading or writing on the connection, or lifts the bound when d
// is 0. Writers that know no deadlines, as in tests, are as good without.
func (x *exchange) deadline(set func(*http.ResponseController, time.Time) error, d time.Duration) error {
	var at time.Time
	if d > 0 {
		at = time.Now().Add(d)
	}
	if err := set(http.NewResponseController(x.w), at); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("cannot set the connection's deadline: %w", err)
	}
	return nil
}

// recovered answers for a panic. http.ErrAbortHandler is net/http's own signal and goes on.
func (x *exchange) recovered() {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	err := fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	if x.w.status != 0 {
		// Half a reply is out: only the closed connection can still tell.
		x.logInternal(err)
		panic(http.ErrAbortHandler)
	}
	x.refuse(err)
}

func (x *exchange) logInternal(err error) {
	level := slog.LevelError
	if gone := x.r.Context().Err(); gone != nil && errors.Is(err, gone) {
		level = slog.LevelDebug // the client left; nobody is waiting for what failed
	}
	x.log.LogAttrs(context.WithoutCancel(x.r.Context()), level, "internal error",
		slog.String("service", x.info.Service), slog.String("action", x.info.Action),
		slog.String("request_id", x.info.RequestID), slog.Any("error", err))
}

func (x *exchange) logAccess(start time.Time) {
	if !x.log.Enabled(x.r.Context(), slog.LevelDebug) {
		return
	}
	x.log.LogAttrs(x.r.Context(), slog.LevelDebug, "request",
		slog.String("service", x.info.Service), slog.String("action", x.info.Action),
		slog.String("method", x.r.Method), slog.String("region", x.info.Region),
		slog.String("request_id", x.info.RequestID), slog.Int("status", x.w.status),
		slog.String("code", x.code), slog.Duration("duration", time.Since(start)))
}
