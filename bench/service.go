package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"holdfast.dev/internal/resp"
)

const (
	region     = "us-east-1"
	engineName = "valkey"
	engineLine = "valkey-8.1"
	version    = "8.1"
	nodeType   = "cache.m6g.large"
	// look is how often it is asked whether something has come true; half of it is
	// what a measured time is too long by, on average.
	look = 4 * time.Millisecond
)

// service is "holdfast serve" in a process of its own, spoken to by the AWS SDK.
type service struct {
	program, dir string
	cmd          *exec.Cmd
	done         chan error
	config       aws.Config
}

func (l *lab) serve(ctx context.Context) (*service, error) {
	program, err := l.holdfast(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := l.mkdir("service")
	if err != nil {
		return nil, err
	}
	s := &service{program: program, dir: dir, done: make(chan error, 1)}
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("cannot start the service: %w", err)
	}
	if err := s.configure(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot reach the service: %w", err), s.stop())
	}
	return s, nil
}

func (s *service) logPath() string { return filepath.Join(s.dir, "serve.log") }

func (s *service) start(ctx context.Context) error {
	log, err := os.Create(s.logPath())
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(s.program, "serve", "--data", s.dir, "--listen", "127.0.0.1:0")
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ready := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == "ready" {
				close(ready)
			}
		}
		s.done <- s.cmd.Wait()
	}()
	select {
	case <-ready:
		return nil
	case err := <-s.done:
		s.done <- err
		text, _ := os.ReadFile(s.logPath()) // its end is the news
		return fmt.Errorf("it ended: %w\n%s", errors.Join(err), text)
	case <-ctx.Done():
		return errors.Join(ctx.Err(), s.cmd.Process.Kill(), <-s.done)
	}
}

// configure reads where the service listens and with which key.
func (s *service) configure() error {
	var at struct{ Listen string }
	var key struct{ AccessKeyID, SecretAccessKey string }
	for name, into := range map[string]any{"service.json": &at, "credentials.json": &key} {
		b, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, into); err != nil {
			return err
		}
	}
	s.config = aws.Config{
		Region: region, BaseEndpoint: aws.String("http://" + at.Listen),
		Credentials: credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretAccessKey, ""),
		HTTPClient:  newSDKClient(),
	}
	return nil
}

func (s *service) elasticache() *elasticache.Client { return elasticache.NewFromConfig(s.config) }

func (s *service) s3() *s3.Client {
	return s3.NewFromConfig(s.config, func(o *s3.Options) { o.UsePathStyle = true })
}

// stop ends the service and every engine of it, and removes what it kept.
func (s *service) stop() error {
	out, err := exec.Command(s.program, "down", "--discard", "--data", s.dir).CombinedOutput()
	if err != nil {
		err = errors.Join(fmt.Errorf("cannot stop the service: %w\n%s", err, out), s.cmd.Process.Kill())
	}
	ended := <-s.done
	return errors.Join(err, ended, os.RemoveAll(s.dir))
}

// create asks for a group of a single node.
func create(ctx context.Context, api *elasticache.Client, id string) error {
	_, err := api.CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: aws.String(id), ReplicationGroupDescription: aws.String("measured"),
		Engine: aws.String(engineName), EngineVersion: aws.String(version), CacheNodeType: aws.String(nodeType), NumCacheClusters: aws.Int32(1),
	})
	return err
}

// available waits until a group is, and returns its primary endpoint.
func available(ctx context.Context, api *elasticache.Client, id string) (resp.Options, error) {
	var at resp.Options
	err := poll(ctx, look, func() (bool, error) {
		out, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
		if err != nil {
			return false, err
		}
		g := out.ReplicationGroups[0]
		switch aws.ToString(g.Status) {
		case "available":
			e := g.NodeGroups[0].PrimaryEndpoint
			at.Addr = net.JoinHostPort(aws.ToString(e.Address), strconv.Itoa(int(aws.ToInt32(e.Port))))
			return true, nil
		case "create-failed":
			return false, fmt.Errorf("%s became create-failed", id)
		}
		return false, nil
	})
	return at, err
}

// erase deletes a group and waits until it is gone.
func erase(ctx context.Context, api *elasticache.Client, id string) error {
	_, err := api.DeleteReplicationGroup(ctx, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: &id})
	if err != nil {
		return err
	}
	return poll(ctx, look, func() (bool, error) {
		_, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
		var gone *types.ReplicationGroupNotFoundFault
		if errors.As(err, &gone) {
			return true, nil
		}
		return false, err
	})
}
