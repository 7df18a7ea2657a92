package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"holdfast.dev/internal/testkit"
)

// shell runs commands as a person would, in the environment that "holdfast env" prints.
type shell struct {
	t   *testing.T
	env []string
}

func (s *service) shell(region string) *shell {
	s.t.Helper()
	if _, err := exec.LookPath("aws"); err != nil {
		s.t.Skip("NOT TESTED with the AWS CLI: there is no aws on PATH")
	}
	none := filepath.Join(s.t.TempDir(), "none") // nothing of the user's own configuration
	mine := slices.DeleteFunc(s.env(region), func(v string) bool {
		return strings.HasPrefix(v, "AWS_PROFILE=") || strings.HasPrefix(v, "AWS_SESSION_TOKEN=")
	})
	return &shell{s.t, append(mine, "AWS_CONFIG_FILE="+none, "AWS_SHARED_CREDENTIALS_FILE="+none,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "NO_PROXY=*", "AWS_DEFAULT_OUTPUT=text")}
}

// run runs a command line that must succeed and returns what it prints.
func (s *shell) run(line string, more ...string) string {
	s.t.Helper()
	out, err := s.try(line, more...)
	if err != nil {
		s.t.Fatalf("%s %v: %v\n%s", line, more, err, out)
	}
	return out
}

func (s *shell) try(line string, more ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	words := append(strings.Fields(line), more...)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = s.env
	cmd.WaitDelay = patience // for what it started to close its output
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// want fails the test unless a command prints what it should.
func (s *shell) want(text, line string, more ...string) {
	s.t.Helper()
	if out := s.run(line, more...); !strings.Contains(out, text) {
		s.t.Errorf("%s %v does not print %q:\n%s", line, more, text, out)
	}
}

// TestTheCommandLinesOfTheReadme makes the journey with the AWS CLI.
func TestTheCommandLinesOfTheReadme(t *testing.T) {
	t.Parallel()
	s := startService(t)
	here, there := s.shell(east), s.shell(west)
	here.want("arn:aws:iam::000000000000:root", "aws sts get-caller-identity --query Arn")
	create := "aws elasticache create-replication-group --replication-group-id orders --replication-group-description orders" +
		" --engine valkey --engine-version 8.1 --cache-node-type cache.t4g.small --num-cache-clusters 2 --query ReplicationGroup.Status"
	here.want("creating", create)
	here.run("aws elasticache wait replication-group-available --replication-group-id orders")
	endpoint := func(sh *shell, kind string) string {
		out := sh.run("aws elasticache describe-replication-groups --replication-group-id orders --query",
			"ReplicationGroups[0].NodeGroups[0]."+kind+".[Address,Port]")
		return strings.Join(strings.Fields(out), ":")
	}
	from := endpoint(here, "PrimaryEndpoint")
	here.run(program + " generate redis://" + from + " --keys 300 --databases 2")
	here.run("aws s3 mb s3://orders-east")
	there.run("aws s3 mb s3://orders-west")
	here.run("aws elasticache create-snapshot --replication-group-id orders --snapshot-name backup")
	s.awaitSnapshot(east, "backup", "available")
	here.run("aws elasticache copy-snapshot --source-snapshot-name backup --target-snapshot-name export --target-bucket orders-east")
	s.awaitSnapshot(east, "backup", "available")
	here.want("export-0001.rdb", "aws s3 ls s3://orders-east")
	there.run("aws s3 cp s3://orders-east/export-0001.rdb s3://orders-west/export-0001.rdb --source-region " + east)
	there.want("export-0001.rdb", "aws s3 ls s3://orders-west")
	there.run(create + " --snapshot-arns arn:aws:s3:::orders-west/export-0001.rdb")
	there.run("aws elasticache wait replication-group-available --replication-group-id orders")
	here.want("identical", program+" verify redis://"+from+" redis://"+endpoint(there, "PrimaryEndpoint"))
	there.filesAreTheSame(filepath.Join(s.dir, "snapshots", east, "backup", "0001.rdb"), "s3://orders-west/export-0001.rdb")
	there.want("verified on the running node", "aws elasticache describe-events --duration 60 --source-type replication-group --query Events[].Message")
	if out, err := here.try(create); err == nil || !strings.Contains(out, "(ReplicationGroupAlreadyExists)") {
		t.Errorf("the same group again: %v\n%s", err, out)
	}
	for _, sh := range []*shell{here, there} {
		sh.run("aws elasticache delete-replication-group --replication-group-id orders --query ReplicationGroup.Status")
		sh.run("aws elasticache wait replication-group-deleted --replication-group-id orders")
	}
	here.run("aws elasticache delete-snapshot --snapshot-name backup")
	here.run("aws s3 rb s3://orders-east --force")
}

// filesAreTheSame downloads an object and compares it with a file.
func (s *shell) filesAreTheSame(file, url string) {
	s.t.Helper()
	local := filepath.Join(s.t.TempDir(), "downloaded.rdb")
	s.run("aws s3 cp " + url + " " + local)
	a, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if b, err := os.ReadFile(local); err != nil || string(a) != string(b) {
		s.t.Errorf("%s is not %s: %v", url, file, err)
	}
	s.want("identical", program+" verify "+local+" "+file)
}

// TestRedisCLI writes and reads as a customer, with the engines' own client.
func TestRedisCLI(t *testing.T) {
	t.Parallel()
	build := testkit.Engine(t, "valkey-8.1")
	if build.CLI == "" {
		t.Fatalf("%s has no command line client", build.Name)
	}
	s := startService(t)
	g := s.createGroup(east, groupRequest("shop", "valkey", "8.1", 2))
	sh := &shell{t, append(os.Environ(), build.Env...)}
	cli := func(e string, cmd ...string) string {
		host, port, _ := strings.Cut(e, ":")
		return sh.run(build.CLI+" -e -h "+host+" -p "+port, cmd...)
	}
	cli(primary(g), "SET", "greeting", "hello world")
	eventually(t, "the replica has the key", func(context.Context) (bool, error) {
		return cli(reader(g), "GET", "greeting") == "hello world", nil
	})
	if out := cli(reader(g), "INFO", "replication"); !strings.Contains(out, "role:slave") {
		t.Errorf("the reader endpoint is no replica:\n%s", out)
	}
	host, port := aws.ToString(g.NodeGroups[0].ReaderEndpoint.Address), strings.Split(reader(g), ":")[1]
	if out, err := sh.try(build.CLI+" -e -h "+host+" -p "+port, "SET", "greeting", "other"); err == nil || !strings.Contains(out, "READONLY") {
		t.Errorf("a write at the reader endpoint: %v %s", err, out)
	}
	for _, cmd := range refused {
		host, port, _ := strings.Cut(primary(g), ":")
		out, err := sh.try(build.CLI+" -e -h "+host+" -p "+port, cmd...)
		if err == nil || !strings.Contains(out, "NOPERM") && !strings.Contains(out, "command not allowed") {
			t.Errorf("%v: %v %s", cmd, err, out)
		}
	}
	if got := cli(primary(g), "GET", "greeting"); got != "hello world" {
		t.Errorf("the key is %q after all that", got)
	}
}
