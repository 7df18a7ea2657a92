package chaos

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
)

// patience bounds every wait: on a busy machine all take longer. Slots that move
// key by key take minutes there.
const patience = 5 * time.Minute

const region = "us-east-1"

// service is the program at work.
type service struct {
	program, dir, listen string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	log  tailed
}

// start runs the program until it is ready.
func (s *service) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		select {
		case <-s.done:
		default:
			return nil // somebody else has started it already
		}
	}
	cmd := exec.Command(s.program, "serve", "--data", s.dir, "--listen", s.listen)
	cmd.Stderr = &s.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start the service: %w", err)
	}
	done, ready := make(chan struct{}), make(chan struct{})
	s.cmd, s.done = cmd, done
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == "ready" {
				close(ready)
			}
		}
		_ = cmd.Wait() // how it ended is asked of ProcessState
		close(done)
	}()
	select {
	case <-ready:
		return nil
	case <-done:
		return fmt.Errorf("the service ended before it was ready: %v\n%s", cmd.ProcessState, s.log.String())
	case <-time.After(patience):
		return fmt.Errorf("the service is not ready within %v:\n%s", patience, s.log.String())
	}
}

// end sends a signal and waits for the end of the process.
func (s *service) end(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cannot end the service: %w", err)
	}
	select {
	case <-s.done:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("the service does not end by %v within %v", sig, patience)
	}
}

// discard stops everything and deletes it.
func (s *service) discard() error {
	out, err := exec.Command(s.program, "down", "--discard", "--data", s.dir).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "nothing has ever been started") {
		return fmt.Errorf("cannot take everything down: %w\n%s", err, out)
	}
	return s.end(syscall.SIGTERM)
}

// api is how to call the service. A request that gets no answer is not repeated.
func (s *service) api() (*elasticache.Client, error) {
	var key struct{ AccessKeyID, SecretAccessKey string }
	b, err := os.ReadFile(filepath.Join(s.dir, "credentials.json"))
	if err == nil {
		err = json.Unmarshal(b, &key)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the installation's key: %w", err)
	}
	return elasticache.NewFromConfig(aws.Config{
		Region: region, BaseEndpoint: aws.String("http://" + s.listen),
		Credentials: credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretAccessKey, ""),
		HTTPClient:  &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience},
		Retryer:     func() aws.Retryer { return retry.AddWithMaxAttempts(retry.NewStandard(), 1) },
	}), nil
}

// tailed keeps the end of what is written to it.
type tailed struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 16 << 10

func (t *tailed) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 2*tailSize {
		t.b = bytes.Clone(t.b[len(t.b)-tailSize:])
	}
	return len(p), nil
}

func (t *tailed) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b[max(0, len(t.b)-tailSize):])
}
