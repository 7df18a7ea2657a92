package query_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/shapes"
)

// FuzzDecode sends any form to a service that has a handler for each action. It
// must answer in well-formed XML and never with a fault of its own.
func FuzzDecode(f *testing.F) {
	svc := query.NewService(shapes.ElastiCache)
	for _, op := range operations() {
		if err := query.Register(svc, op.in, op.out, func(context.Context, any) (any, error) {
			return reflect.New(op.out).Interface(), nil
		}); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(createForm + "&NodeGroupConfiguration.NodeGroupConfiguration.1.PreferredAvailabilityZones.AvailabilityZone.1=a&Tags.member.2.Key=k")
	f.Add("Action=DescribeEvents&Version=2015-02-02&StartTime=2020-01-02T03:04:05Z&Duration=5&SourceType=user")
	f.Add("Action=ModifyUser&Version=2015-02-02&UserId=u&AuthenticationMode.Type=iam&AuthenticationMode.Passwords.member.1=\xff%00")
	f.Add(createForm + "&SnapshotArns.member.999999999=a&.=&..a=&Tags.Tag.1.=")
	f.Fuzz(func(t *testing.T, form string) {
		r := do(t, svc, form)
		if r.Status >= 500 {
			t.Errorf("status %d: %v", r.Status, r.Cause)
		}
		d := xml.NewDecoder(strings.NewReader(string(r.Body)))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Fatalf("%v: %q", err, r.Body)
			}
		}
	})
}

// TestHostileFormsStaySmall measures what the worst forms of a megabyte allocate.
func TestHostileFormsStaySmall(t *testing.T) {
	svc, _ := capture(t)
	var tangle strings.Builder
	for i := range 9000 {
		fmt.Fprintf(&tangle, "&%x.b.c.d.e.f.g.h.i.j", i)
	}
	for name, form := range map[string]string{
		"indexes":    createForm + strings.Repeat("&SnapshotArns.member.999999999=a", 9000),
		"one index":  createForm + "&NodeGroupConfiguration.member.10000.PreferredAvailabilityZones.member.10000=a",
		"deep names": createForm + "&A" + strings.Repeat(".a", 500_000),
		"tangle":     createForm + tangle.String(),
		"long name":  createForm + "&" + strings.Repeat("a", 1_000_000) + "=1",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := do(t, svc, form)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 48<<20 || len(r.Body) > 4096 {
			t.Errorf("%s: %d bytes allocated, %d bytes answered", name, used, len(r.Body))
		}
	}
}
