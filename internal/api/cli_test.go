package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// cli runs the AWS CLI against a door, with nothing of the user's configuration.
type cli struct {
	path string
	env  []string
}

func newCLI(t *testing.T, d *door) *cli {
	t.Helper()
	path, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("NOT TESTED against the AWS CLI: there is no aws on PATH")
	}
	none := filepath.Join(t.TempDir(), "none")
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	return &cli{path, append(env,
		"AWS_ENDPOINT_URL="+d.url, "AWS_ACCESS_KEY_ID="+keyID, "AWS_SECRET_ACCESS_KEY="+secret,
		"AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1", "AWS_CONFIG_FILE="+none, "AWS_SHARED_CREDENTIALS_FILE="+none,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1", "AWS_DEFAULT_OUTPUT=json", "NO_PROXY=*")}
}

func (c *cli) run(t *testing.T, args ...string) (stdout, stderr string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Env = c.env
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), strings.TrimSpace(errs.String()), err == nil
}

// json runs a command that must succeed and parses what it prints.
func (c *cli) json(t *testing.T, args ...string) any {
	t.Helper()
	out, errs, ok := c.run(t, args...)
	if !ok {
		t.Fatalf("aws %s: %s", strings.Join(args, " "), errs)
	}
	var v any
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("aws %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return v
}

func TestAWSCLI(t *testing.T) {
	d := open(t, nil)
	c := newCLI(t, d)
	if diff := cmp.Diff(map[string]any{"ReplicationGroups": []any{}}, c.json(t, "elasticache", "describe-replication-groups")); diff != "" {
		t.Error("empty describe:", diff)
	}
	c.json(t, "elasticache", "create-replication-group", "--replication-group-id", "orders", "--replication-group-description", "two words & more",
		"--node-group-configuration", "NodeGroupId=0001,Slots=0-8191,ReplicaCount=1,PrimaryAvailabilityZone=eu-west-1a,ReplicaAvailabilityZones=eu-west-1b,eu-west-1c",
		"NodeGroupId=0002,Slots=8192-16383", "--automatic-failover-enabled", "--tags", "Key=k,Value=v", "--snapshot-arns", "arn:aws:s3:::b/f.rdb")
	d.groups.mu.Lock()
	in := d.groups.lastIn
	d.groups.mu.Unlock()
	want := []types.NodeGroupConfiguration{
		{NodeGroupId: aws.String("0001"), Slots: aws.String("0-8191"), ReplicaCount: aws.Int32(1), PrimaryAvailabilityZone: aws.String("eu-west-1a"), ReplicaAvailabilityZones: []string{"eu-west-1b", "eu-west-1c"}},
		{NodeGroupId: aws.String("0002"), Slots: aws.String("8192-16383")},
	}
	if diff := cmp.Diff(want, in.NodeGroupConfiguration, cmpopts.IgnoreUnexported(types.NodeGroupConfiguration{})); diff != "" {
		t.Error("shorthand:", diff)
	}
	if *in.ReplicationGroupDescription != "two words & more" || !*in.AutomaticFailoverEnabled || *in.Tags[0].Value != "v" || in.SnapshotArns[0] != "arn:aws:s3:::b/f.rdb" {
		t.Errorf("got %+v", in)
	}
	got := c.json(t, "elasticache", "describe-replication-groups", "--query", "ReplicationGroups[].[ReplicationGroupId,Description,Status]")
	if diff := cmp.Diff([]any{[]any{"orders", "two words & more", "creating"}}, got); diff != "" {
		t.Error("describe:", diff)
	}
	got = c.json(t, "sts", "get-caller-identity")
	if diff := cmp.Diff(map[string]any{"UserId": "ROOT", "Account": "000000000000", "Arn": "arn:aws:iam::000000000000:root"}, got); diff != "" {
		t.Error("identity:", diff)
	}
	cliErrors(t, c)
}

// cliErrors runs commands that must fail, each with its own words.
func cliErrors(t *testing.T, c *cli) {
	for _, e := range []struct {
		args []string
		want string
	}{
		{
			[]string{"elasticache", "describe-replication-groups", "--replication-group-id", "none"},
			"An error occurred (ReplicationGroupNotFoundFault) when calling the DescribeReplicationGroups operation: ReplicationGroup none not found.",
		},
		{
			[]string{"elasticache", "describe-events"},
			"An error occurred (UnsupportedOperation) when calling the DescribeEvents operation: The action DescribeEvents of elasticache is not supported by this endpoint.",
		},
		{
			[]string{"elasticache", "create-replication-group", "--replication-group-id", " ", "--replication-group-description", "d"},
			"An error occurred (InvalidParameterValue) when calling the CreateReplicationGroup operation: The parameter ReplicationGroupId must be provided and must not be blank.",
		},
		{[]string{"sns", "list-topics"}, "An error occurred (UnsupportedOperation) when calling the ListTopics operation: The service sns is not served by this endpoint. Served: elasticache, sts"},
		{
			[]string{"logs", "describe-log-groups"},
			"An error occurred (UnsupportedOperation) when calling the DescribeLogGroups operation: The service logs is not served by this endpoint. Served: elasticache, sts",
		},
	} {
		if _, errs, ok := c.run(t, e.args...); ok || !strings.Contains(errs, e.want) {
			t.Errorf("aws %s:\n%s\nwant\n%s", strings.Join(e.args, " "), errs, e.want)
		}
	}
	wrong := &cli{c.path, append(c.env, "AWS_SECRET_ACCESS_KEY=wrong")}
	if _, errs, ok := wrong.run(t, "sts", "get-caller-identity"); ok || !strings.Contains(errs, "(SignatureDoesNotMatch)") {
		t.Errorf("a wrong secret: %s", errs)
	}
	wrong.env = append(c.env, "AWS_ACCESS_KEY_ID=NOBODY")
	if _, errs, ok := wrong.run(t, "sts", "get-caller-identity"); ok || !strings.Contains(errs, "(InvalidClientTokenId)") {
		t.Errorf("an unknown key: %s", errs)
	}
}
