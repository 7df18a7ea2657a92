package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

const (
	maxConns    = 4096
	maxRequests = 1024
	maxMPParts  = 10000
)

// Main is the child: it serves one region until its input ends, it is told to stop, or
// ctx ends. It is to be the whole work of its process, because it changes the working
// directory. The caller passes the process's standard input and output.
func Main(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := json.NewDecoder(bufio.NewReader(in))
	var s setup
	if err := lines.Decode(&s); err != nil {
		return fmt.Errorf("cannot read the setup of the S3 service (this command is started by %q only): %w", "holdfast serve", err)
	}
	backend, err := newBackend(s.Root, s.Region)
	if err != nil {
		return err
	}
	defer backend.Shutdown()
	keys := newKeyring(s.Account, s.Keys)
	root := middlewares.RootUserConfig{Access: s.Internal.AccessKeyID, Secret: s.Internal.Secret}
	srv, err := s3api.New(backend, root, s.Region, keys, nil, nil, nil, nil,
		s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithHealth(healthPath),
		s3api.WithConcurrencyLimiter(maxConns, maxRequests), s3api.WithMpMaxParts(maxMPParts),
		s3api.WithHostStyle(hostMark), s3api.WithSocketPerm(0o600),
		s3api.WithOnListen(func() { fmt.Fprintln(out, readyLine) }))
	if err != nil {
		return fmt.Errorf("cannot set up the S3 service of region %s: %w", s.Region, err)
	}
	ended := make(chan error, 2)
	go func() { ended <- srv.ServeMultiPort([]string{s.Socket}) }()
	go func() { ended <- follow(lines, keys, out) }()
	select {
	case <-ctx.Done():
		return nil
	case err = <-ended:
	}
	if errors.Is(err, errStop) {
		return errors.Join(srv.ShutDown(), ignoreMissing(os.Remove(s.Socket)))
	}
	if errors.Is(err, io.EOF) {
		return nil // the parent is gone, and every client with it
	}
	return fmt.Errorf("the S3 service of region %s ended: %w", s.Region, err)
}

var errStop = errors.New("asked to stop")

// follow obeys the parent until there is no parent. It always returns an error.
func follow(lines *json.Decoder, keys *keyring, out io.Writer) error {
	for {
		var u update
		if err := lines.Decode(&u); err != nil {
			return err
		}
		if u.Keys != nil {
			keys.set(u.Keys)
			fmt.Fprintln(out, keysLine)
		}
		if u.Stop {
			return errStop
		}
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
