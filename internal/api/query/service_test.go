package query_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/shapes"
)

// do sends a form to a service, without the front door.
func do(t testing.TB, svc *query.Service, form string) query.Reply {
	t.Helper()
	if err := svc.Err(); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	ctx := query.WithInfo(t.Context(), query.Info{RequestID: "the-id"})
	return svc.Parse(r, []byte(form)).Do(ctx)
}

// capture registers CreateReplicationGroup and keeps the last input.
func capture(t testing.TB) (*query.Service, **elasticache.CreateReplicationGroupInput) {
	t.Helper()
	svc := query.NewService(shapes.ElastiCache)
	last := new(*elasticache.CreateReplicationGroupInput)
	query.Handle(svc, func(_ context.Context, in *elasticache.CreateReplicationGroupInput) (*elasticache.CreateReplicationGroupOutput, error) {
		*last = in
		return &elasticache.CreateReplicationGroupOutput{}, nil
	})
	return svc, last
}

const createForm = "Action=CreateReplicationGroup&Version=2015-02-02&ReplicationGroupId=orders&ReplicationGroupDescription=d"

func TestListForms(t *testing.T) {
	svc, last := capture(t)
	for _, c := range []struct {
		form string
		want []string
	}{
		{"&SnapshotArns.SnapshotArn.1=a&SnapshotArns.SnapshotArn.2=b", []string{"a", "b"}},
		{"&SnapshotArns.member.1=a&SnapshotArns.member.2=b", []string{"a", "b"}},
		{"&SnapshotArns.1=a&SnapshotArns.2=b", []string{"a", "b"}},
		{"&SnapshotArns.member.10=c&SnapshotArns.member.9=b&SnapshotArns.member.2=a", []string{"a", "b", "c"}},
		{"&SnapshotArns=", []string{}},
		{"", nil},
	} {
		if r := do(t, svc, createForm+c.form); r.Status != 200 {
			t.Fatalf("%s: %s", c.form, r.Body)
		}
		if diff := cmp.Diff(c.want, (*last).SnapshotArns); diff != "" {
			t.Errorf("%s: %s", c.form, diff)
		}
	}
}

func TestEnumsAreComparedWithoutCase(t *testing.T) {
	svc, last := capture(t)
	if r := do(t, svc, createForm+"&ClusterMode=Disabled&NetworkType=DUAL_stack"); r.Status != 200 {
		t.Fatalf("%s", r.Body)
	}
	if (*last).ClusterMode != types.ClusterModeDisabled || (*last).NetworkType != types.NetworkTypeDualStack {
		t.Errorf("got %q and %q", (*last).ClusterMode, (*last).NetworkType)
	}
}

func TestRefusedInputs(t *testing.T) {
	svc, _ := capture(t)
	query.Handle(svc, func(context.Context, *elasticache.DecreaseReplicaCountInput) (*elasticache.DecreaseReplicaCountOutput, error) {
		return &elasticache.DecreaseReplicaCountOutput{}, nil
	})
	const head = "Action=CreateReplicationGroup&Version=2015-02-02"
	for _, c := range []struct{ name, form, code, message string }{
		{"missing", head + "&ReplicationGroupDescription=d", "InvalidParameterValue", "The parameter ReplicationGroupId must be provided and must not be blank."},
		{"blank", head + "&ReplicationGroupId=+&ReplicationGroupDescription=d", "InvalidParameterValue", "The parameter ReplicationGroupId must be provided and must not be blank."},
		{
			"missing further down", "Action=DecreaseReplicaCount&Version=2015-02-02&ReplicationGroupId=o&ApplyImmediately=true&ReplicaConfiguration.ConfigureShard.1.NodeGroupId=0001",
			"InvalidParameterValue", "The parameter ReplicaConfiguration.ConfigureShard.1.NewReplicaCount must be provided and must not be null.",
		},
		{"no integer", createForm + "&NumCacheClusters=two", "MalformedInput", "Value (two) for parameter NumCacheClusters is invalid. Must be an integer."},
		{"too big an integer", createForm + "&NumCacheClusters=2147483648", "MalformedInput", "Value (2147483648) for parameter NumCacheClusters is invalid. Must be an integer."},
		{"no boolean", createForm + "&MultiAZEnabled=yes", "MalformedInput", "Value (yes) for parameter MultiAZEnabled is invalid. Must be true or false."},
		{"unknown enum value", createForm + "&ClusterMode=on", "InvalidParameterValue", "Value (on) for parameter ClusterMode is invalid. Valid values: enabled, disabled, compatible"},
		{"unknown parameter", createForm + "&NumReplicas=1", "InvalidQueryParameter", "The parameter NumReplicas is not known for this action"},
		{"list for a scalar", createForm + "&Port.member.1=6379", "MalformedInput", "Start of structure or list found where not expected: Port"},
		{"scalar for a list", createForm + "&SnapshotArns=a", "MalformedInput", "Expected list or null for parameter SnapshotArns"},
		{"scalar for a structure", createForm + "&Tags.Tag.1=a", "MalformedInput", "Unexpected value for the structure Tags.Tag.1"},
		{"index 0", createForm + "&SnapshotArns.member.0=a", "MalformedInput", "The list index SnapshotArns.member.0 is not a number from 1 to 10000"},
		{"huge index", createForm + "&SnapshotArns.member.999999999=a", "MalformedInput", "The list index SnapshotArns.member.999999999 is not a number from 1 to 10000"},
		{"index that overflows", createForm + "&SnapshotArns.member.99999999999999999999=a", "MalformedInput", "The list index SnapshotArns.member.99999999999999999999 is not a number from 1 to 10000"},
		{"padded index", createForm + "&SnapshotArns.member.01=a", "MalformedInput", "The list index SnapshotArns.member.01 is not a number from 1 to 10000"},
		{"two list forms", createForm + "&SnapshotArns.member.1=a&SnapshotArns.SnapshotArn.1=b", "MalformedInput", "The list index SnapshotArns.SnapshotArn is not a number from 1 to 10000"},
		{"deep", createForm + "&A" + strings.Repeat(".a", 10) + "=a", "MalformedInput", "The parameter A" + strings.Repeat(".a", 10) + " nests deeper than 10"},
		{"twice", createForm + "&Port=1&Port=2", "MalformedQueryString", "The parameter Port occurs more than once"},
		{"broken escape", createForm + "&Port=%zz", "MalformedQueryString", "The query string contains a syntax error in the parameter Port"},
		{"no UTF-8", createForm + "&AuthToken=%ff", "MalformedInput", "The parameter &#34;AuthToken&#34; holds a character that is not allowed"},
		{"NUL", createForm + "&AuthToken=a%00", "MalformedInput", "The parameter &#34;AuthToken&#34; holds a character that is not allowed"},
		{"many", createForm + strings.Repeat("&a", query.MaxParams), "MalformedQueryString", "The request has more than 10000 parameters"},
		{"no action", "Version=2015-02-02", "MissingAction", "The request must contain the parameter Action."},
		{"unknown action", "Action=Fly&Version=2015-02-02", "InvalidAction", "Could not find operation Fly for version 2015-02-02"},
		{"another version", "Action=CreateReplicationGroup&Version=2014-09-30", "InvalidAction", "Could not find operation CreateReplicationGroup for version 2014-09-30"},
		{"no version", "Action=CreateReplicationGroup", "InvalidAction", "Could not find operation CreateReplicationGroup for version NO_VERSION_SPECIFIED"},
		{"not built", "Action=TestFailover&Version=2015-02-02", "UnsupportedOperation", "The action TestFailover of elasticache is not supported by this endpoint."},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := do(t, svc, c.form)
			status := 400
			if c.code == "MalformedQueryString" {
				status = 404
			}
			want := `<ErrorResponse xmlns="http://elasticache.amazonaws.com/doc/2015-02-02/"><Error><Type>Sender</Type><Code>` + c.code +
				"</Code><Message>" + c.message + "</Message></Error><RequestId>the-id</RequestId></ErrorResponse>\n"
			if r.Status != status || r.Code != c.code || string(r.Body) != want {
				t.Errorf("status %d, body\n%s\nwant %d\n%s", r.Status, r.Body, status, want)
			}
		})
	}
}

// codedFault is a fault type as another package of ours may have it.
type codedFault struct{ code, message string }

func (f codedFault) Error() string        { return f.code + ": " + f.message }
func (f codedFault) ErrorCode() string    { return f.code }
func (f codedFault) ErrorMessage() string { return f.message }

func TestErrorsOfHandlers(t *testing.T) {
	text := "no <group>"
	for _, c := range []struct {
		name   string
		err    error
		status int
		code   string
		shown  string
	}{
		{"of the SDK", &types.ReplicationGroupNotFoundFault{Message: &text}, 404, "ReplicationGroupNotFoundFault", "no &lt;group&gt;"},
		{"of the SDK, wrapped", fmt.Errorf("cannot describe: %w", &types.CacheSubnetGroupNotFoundFault{Message: &text}), 400, "CacheSubnetGroupNotFoundFault", "no &lt;group&gt;"},
		{"408", &types.InvalidCredentialsException{}, 408, "InvalidCredentialsException", ""},
		{"coded", fmt.Errorf("cannot: %w", codedFault{"SnapshotNotFoundFault", "gone"}), 404, "SnapshotNotFoundFault", "gone"},
		{"coded, not modelled", codedFault{"SomethingElse", "why"}, 400, "SomethingElse", "why"},
		{"own", query.Errorf("AccessDenied", "no"), 403, "AccessDenied", "no"},
		{"own with a status", &query.Error{Code: "Slow", Message: "m", Status: 503}, 503, "Slow", "m"},
		{"plain", errors.New("secret detail"), 500, "InternalFailure", "unknown error"},
		{"another service's", &s3types.NoSuchBucket{Message: &text}, 500, "InternalFailure", "unknown error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			svc := query.NewService(shapes.ElastiCache)
			query.Handle(svc, func(context.Context, *elasticache.DescribeReplicationGroupsInput) (*elasticache.DescribeReplicationGroupsOutput, error) {
				return nil, c.err
			})
			r := do(t, svc, "Action=DescribeReplicationGroups&Version=2015-02-02")
			body := string(r.Body)
			side := "<Type>Sender</Type>"
			if c.status >= 500 {
				side = "<Type>Receiver</Type>"
			}
			if r.Status != c.status || r.Code != c.code || !strings.Contains(body, c.shown) || !strings.Contains(body, side) || strings.Contains(body, "secret") {
				t.Errorf("status %d: %s", r.Status, body)
			}
			if c.status == 500 != (r.Cause != nil) && c.name != "own with a status" {
				t.Errorf("the cause is %v", r.Cause)
			}
		})
	}
}

func TestPanicsAndNilOutputsAreInternal(t *testing.T) {
	svc := query.NewService(shapes.ElastiCache)
	query.Handle(svc, func(_ context.Context, in *elasticache.DescribeReplicationGroupsInput) (*elasticache.DescribeReplicationGroupsOutput, error) {
		if in.Marker != nil {
			panic("boom")
		}
		return nil, nil
	})
	for form, want := range map[string]string{"&Marker=x": "boom", "": "neither an output nor an error"} {
		r := do(t, svc, "Action=DescribeReplicationGroups&Version=2015-02-02"+form)
		if r.Status != 500 || r.Code != "InternalFailure" || r.Cause == nil || !strings.Contains(r.Cause.Error(), want) || strings.Contains(string(r.Body), want) {
			t.Errorf("%q: status %d, cause %v: %s", form, r.Status, r.Cause, r.Body)
		}
	}
}

func TestEmptyListsAreWritten(t *testing.T) {
	svc := query.NewService(shapes.ElastiCache)
	query.Handle(svc, func(context.Context, *elasticache.DescribeReplicationGroupsInput) (*elasticache.DescribeReplicationGroupsOutput, error) {
		return &elasticache.DescribeReplicationGroupsOutput{}, nil
	})
	query.Handle(svc, func(context.Context, *elasticache.DeleteCacheSubnetGroupInput) (*elasticache.DeleteCacheSubnetGroupOutput, error) {
		return &elasticache.DeleteCacheSubnetGroupOutput{}, nil
	})
	const ns = ` xmlns="http://elasticache.amazonaws.com/doc/2015-02-02/"`
	const meta = "<ResponseMetadata><RequestId>the-id</RequestId></ResponseMetadata>"
	for form, want := range map[string]string{
		"Action=DescribeReplicationGroups&Version=2015-02-02":                             "<DescribeReplicationGroupsResponse" + ns + "><DescribeReplicationGroupsResult><ReplicationGroups></ReplicationGroups></DescribeReplicationGroupsResult>" + meta + "</DescribeReplicationGroupsResponse>\n",
		"Action=DeleteCacheSubnetGroup&Version=2015-02-02&CacheSubnetGroupName=the-group": "<DeleteCacheSubnetGroupResponse" + ns + ">" + meta + "</DeleteCacheSubnetGroupResponse>\n",
	} {
		if r := do(t, svc, form); string(r.Body) != want {
			t.Errorf("got\n%s\nwant\n%s", r.Body, want)
		}
	}
}

// TestMutationsOutliveTheirClient: the client goes away while the handler runs.
func TestMutationsOutliveTheirClient(t *testing.T) {
	svc := query.NewService(shapes.ElastiCache)
	query.Handle(svc, func(ctx context.Context, _ *elasticache.CreateReplicationGroupInput) (*elasticache.CreateReplicationGroupOutput, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			return nil, errors.New("the handler may run for ever")
		}
		return &elasticache.CreateReplicationGroupOutput{}, ctx.Err()
	})
	query.Handle(svc, func(ctx context.Context, _ *elasticache.DescribeEventsInput) (*elasticache.DescribeEventsOutput, error) {
		return &elasticache.DescribeEventsOutput{}, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	get := func(form string) int {
		r := httptest.NewRequest(http.MethodGet, "/?"+form, nil)
		return svc.Parse(r, nil).Do(ctx).Status
	}
	if s := get(createForm); s != 200 {
		t.Errorf("a mutation whose client has gone: %d", s)
	}
	if s := get("Action=DescribeEvents&Version=2015-02-02"); s != 500 {
		t.Errorf("a question whose client has gone: %d", s)
	}
}

func TestHandleRefusesMistakes(t *testing.T) {
	svc := query.NewService(shapes.ElastiCache)
	query.Handle(svc, func(context.Context, *elasticache.CreateUserInput) (*elasticache.CreateUserGroupOutput, error) {
		return nil, nil
	})
	query.Handle(svc, func(context.Context, *url.URL) (*url.URL, error) { return nil, nil })
	query.Handle(svc, func(context.Context, *elasticache.CreateUserInput) (*elasticache.CreateUserOutput, error) {
		return nil, nil
	})
	query.Handle(svc, func(context.Context, *elasticache.CreateUserInput) (*elasticache.CreateUserOutput, error) {
		return nil, nil
	})
	for _, want := range []string{"want CreateUserOutput", "no action of that input", "has a handler already"} {
		if svc.Err() == nil || !strings.Contains(svc.Err().Error(), want) {
			t.Errorf("%v lacks %q", svc.Err(), want)
		}
	}
}
