package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// TestNobodyElseReadsAnything: files are their owner's, and no secret is in a
// log, on a command line or in what a client or a person is told.
func TestNobodyElseReadsAnything(t *testing.T) {
	t.Parallel()
	s := startService(t)
	said := s.provoke()
	lines := commandLines(t)
	s.privateFiles()
	s.stop()
	secrets := s.secrets()
	for what, secret := range secrets {
		for pid, line := range lines {
			if strings.Contains(line, secret) {
				t.Errorf("%s is on the command line of process %d: %s", what, pid, line)
			}
		}
		if strings.Contains(said, secret) {
			t.Errorf("%s is in an answer", what)
		}
		if strings.Contains(s.lastWords(1<<30), secret) {
			t.Errorf("%s is in the service's log", what)
		}
	}
	s.quietLogs(secrets)
	// The database keeps the nodes' secrets and so has to be where the test looks.
	if b, err := os.ReadFile(filepath.Join(s.dir, "holdfast.db")); err != nil || !bytes.Contains(b, []byte(secrets["the secret of a group"])) {
		t.Errorf("the test does not know the nodes' secrets: %v", err)
	}
	s.privateFiles()
}

// provoke does what there is to do, and what fails, and returns all that was answered.
func (s *service) provoke() string {
	s.t.Helper()
	j := journey{service: s, keys: fewKeys}
	j.run()
	s.createGroup(east, groupRequest("old", "redis", "6.0", 2))
	s.killEngine(east, "orders-002")
	s.wantMessage(east, "orders-002: Finished recovery for cache nodes 0001")
	putCorrupt(s, "corrupt")
	in := groupRequest("doomed", "valkey", "8.1", 1)
	in.SnapshotArns = []string{"arn:aws:s3:::corrupt/flipped.rdb"}
	if _, err := s.elasticache(east).CreateReplicationGroup(s.t.Context(), in); err != nil {
		s.t.Fatal(err)
	}
	s.awaitGroup(east, "doomed", "create-failed")
	said := strings.Join(s.messages(east), "\n")
	id, _ := s.rootKey()
	for _, key := range [][2]string{{id, "wrong"}, {"AKIAWRONG", "wrong"}} {
		c := s.config(east)
		c.Credentials = credentials.NewStaticCredentialsProvider(key[0], key[1], "")
		_, err := elasticache.NewFromConfig(c).DescribeReplicationGroups(s.t.Context(), &elasticache.DescribeReplicationGroupsInput{})
		if err == nil {
			s.t.Errorf("the key %v is taken", key)
			continue
		}
		said += err.Error()
	}
	out, err := s.elasticache(east).DescribeReplicationGroups(s.t.Context(), &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("orders")})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, line := range []string{primary(out.ReplicationGroups[0]), reader(out.ReplicationGroups[0])} {
		for _, cmd := range [][]string{{"INFO"}, {"ACL", "LIST"}, {"CLIENT", "LIST"}, {"HELLO", "3"}} {
			answer, err := try(s.t.Context(), line, cmd...)
			if err != nil {
				s.t.Errorf("%v: %v", cmd, err)
			}
			said += answer
		}
	}
	for _, args := range [][]string{{"serve", "--data", s.dir, "--listen", "127.0.0.1:0"}, {"engines"}, {"version"}} {
		b, _ := exec.Command(program, args...).CombinedOutput() // the first fails, as it should
		said += string(b)
	}
	return said
}

func commandLines(t *testing.T) map[int]string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[int]string{}
	for i, p := range paths {
		if b, err := os.ReadFile(p); err == nil {
			lines[i] = string(bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
		}
	}
	return lines
}

// privateFiles fails the test if anything in the data directory can be reached
// by others.
func (s *service) privateFiles() {
	s.t.Helper()
	n := 0
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // an engine's own temporary file
		}
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		n++
		if fi.Mode()&fs.ModeSymlink == 0 && fi.Mode().Perm()&0o077 != 0 {
			s.t.Errorf("others can reach %s: %s", path, fi.Mode())
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if n < 20 {
		s.t.Fatalf("only %d files were looked at", n)
	}
}

// secrets of a stopped service, by what they are.
func (s *service) secrets() map[string]string {
	s.t.Helper()
	_, root := s.rootKey()
	secrets := map[string]string{"the root key": root}
	s.read(func(tx *store.Tx) error {
		groups, err := records.Groups.List(tx, "")
		for _, g := range groups {
			secrets["the secret of a group"] = g.Secret
			secrets["the secret of "+g.Key()] = g.Secret
		}
		return err
	})
	for what, secret := range secrets {
		if len(secret) < 20 {
			s.t.Fatalf("%s is %q", what, secret)
		}
	}
	return secrets
}

// quietLogs fails the test if a log in the data directory has a secret in it.
func (s *service) quietLogs(secrets map[string]string) {
	s.t.Helper()
	n := 0
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(d.Name(), ".log") {
			return err
		}
		b, err := os.ReadFile(path)
		n++
		for what, secret := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				s.t.Errorf("%s is in %s", what, path)
			}
		}
		return err
	})
	if err != nil || n == 0 {
		s.t.Fatalf("%d logs were looked at: %v", n, err)
	}
}
