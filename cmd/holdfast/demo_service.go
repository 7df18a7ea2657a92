package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// demoService is a service of the demonstration's own, in a process of its own
// and spoken to as anyone would.
type demoService struct {
	dir  dataDir
	log  string
	cmd  *exec.Cmd
	done chan error
	key  rootKey
	url  string
}

// startTimeout bounds how long a service may take until it serves.
const startTimeout = 30 * time.Second

func startDemoService(ctx context.Context, dir dataDir, listen string) (*demoService, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program: %w", err)
	}
	s := &demoService{dir: dir, log: filepath.Join(string(dir), "serve.log"), done: make(chan error, 1)}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot write the service's log: %w", err)
	}
	defer log.Close()
	s.cmd = exec.Command(exe, "serve", "--data", string(dir), "--listen", listen)
	s.cmd.Stderr = log
	// Ctrl-C in the terminal is for us alone: the service ends when we say so.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the service: %w", err)
	}
	ready := make(chan bool, 1)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == "ready" {
				ready <- true
			}
		}
		s.done <- s.cmd.Wait()
	}()
	return s, s.awaitReady(ctx, ready)
}

func (s *demoService) awaitReady(ctx context.Context, ready <-chan bool) error {
	select {
	case <-ready:
	case err := <-s.done:
		return fmt.Errorf("the service ended before it was ready: %w\n%s", errors.Join(err), tail(s.log, 10))
	case <-time.After(startTimeout):
		return errors.Join(fmt.Errorf("the service is not ready after %s\n%s", startTimeout, tail(s.log, 10)), s.cmd.Process.Kill())
	case <-ctx.Done():
		return errors.Join(ctx.Err(), s.cmd.Process.Kill())
	}
	info, err := s.dir.serviceInfo()
	if err != nil {
		return err
	}
	s.url = "http://" + info.Listen
	s.key, err = s.dir.readRootKey()
	return err
}

// stop ends the service and every engine it started.
func (s *demoService) stop(ctx context.Context) error {
	return stopEverything(ctx, s.dir, downOptions{discard: true})
}

// aws is how an SDK client reaches the service in a region.
func (s *demoService) aws(region string) aws.Config {
	return aws.Config{
		Region:       region,
		BaseEndpoint: &s.url,
		Credentials:  credentials.NewStaticCredentialsProvider(s.key.AccessKeyID, s.key.SecretAccessKey, ""),
	}
}

func (s *demoService) elasticache(region string) *elasticache.Client {
	return elasticache.NewFromConfig(s.aws(region))
}

func (s *demoService) s3(region string) *s3.Client {
	return s3.NewFromConfig(s.aws(region), func(o *s3.Options) { o.UsePathStyle = true })
}
