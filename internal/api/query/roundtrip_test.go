package query_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/shapes"
)

// filler sets every field it reaches to a value of its own. With rand it leaves
// some out, and makes some lists and texts empty.
type filler struct {
	n    int
	rand *rand.Rand
	// required are the members that the client insists on.
	required map[string][]string
}

// chance is true once in n times, never without rand.
func (f *filler) chance(n int) bool { return f.rand != nil && f.rand.IntN(n) == 0 }

// skip tells whether to leave out field i of a struct. Something must remain: the
// protocol cannot carry an input structure without members.
func (f *filler) skip(t reflect.Type, i int) bool {
	first := firstScalar(t)
	return first != "" && t.Field(i).Name != first && !slices.Contains(f.required[t.Name()], t.Field(i).Name) && f.chance(3)
}

// firstScalar is the name of the first field that is always written when set.
func firstScalar(t reflect.Type) string {
	for i := range t.NumField() {
		if f := t.Field(i); f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() != reflect.Struct {
			return f.Name
		}
	}
	return ""
}

func (f *filler) fill(t *testing.T, v reflect.Value) {
	t.Helper()
	f.n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.UnixMilli(1_700_000_000_000 + int64(f.n)*1001).UTC()))
		return
	case v.Type() == reflect.TypeFor[middleware.Metadata]():
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(t, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && !f.skip(v.Type(), i) {
				f.fill(t, v.Field(i))
			}
		}
	case reflect.Slice:
		size := 3
		if f.chance(4) {
			size = 0
		}
		v.Set(reflect.MakeSlice(v.Type(), size, size))
		for i := range v.Len() {
			f.fill(t, v.Index(i))
		}
	case reflect.String:
		if values := v.MethodByName("Values"); values.IsValid() {
			all := values.Call(nil)[0]
			v.Set(all.Index(f.n % all.Len()))
			return
		}
		v.SetString(fmt.Sprintf(" %d <a href=\"x\">&amp;\t\r\n'é世\U0001F600 + %% ", f.n))
	case reflect.Bool:
		v.SetBool(!f.chance(2))
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.n) + 1)
	case reflect.Float64:
		v.SetFloat(float64(f.n) + 0.1)
	default:
		t.Fatalf("no value for a %s", v.Type())
	}
}

// operation is one method of the SDK's client.
type operation struct {
	name    string
	in, out reflect.Type // the structs
}

func operations() []operation {
	var ops []operation
	client := reflect.TypeFor[*elasticache.Client]()
	for i := range client.NumMethod() {
		m := client.Method(i)
		// func(*Client, context.Context, *XInput, ...func(*Options)) (*XOutput, error)
		if m.Type.NumIn() == 4 && m.Type.NumOut() == 2 && m.Type.In(2).Elem().Name() == m.Name+"Input" {
			ops = append(ops, operation{m.Name, m.Type.In(2).Elem(), m.Type.Out(0).Elem()})
		}
	}
	return ops
}

func TestTheTableHasTheClientsActions(t *testing.T) {
	var names []string
	for _, op := range operations() {
		names = append(names, op.name)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(shapes.ElastiCache.Actions)), names); diff != "" {
		t.Error(diff)
	}
	if len(names) != 77 {
		t.Errorf("%d actions, want 77", len(names))
	}
}

// TestEveryFieldOfEveryAction is the proof of the codec: what the SDK's client
// writes is what the handler sees, and what the handler returns is what the client
// reads, for every field there is.
func TestEveryFieldOfEveryAction(t *testing.T) {
	m := newMirror(t)
	f := &filler{}
	for _, op := range m.ops {
		t.Run(op.name, func(t *testing.T) { m.exchange(t, op, f) })
	}
}

// TestAnyFieldsOfAnyAction is the same with fields left out, lists and texts empty.
func TestAnyFieldsOfAnyAction(t *testing.T) {
	m := newMirror(t)
	for seed := range uint64(10) {
		f := &filler{rand: rand.New(rand.NewPCG(seed, 0)), required: shapes.ElastiCache.Required}
		for _, op := range m.ops {
			if m.exchange(t, op, f); t.Failed() {
				t.Fatalf("%s, seed %d", op.name, seed)
			}
		}
	}
}

// mirror has a handler for every action that keeps the input and returns reply.
type mirror struct {
	ops    []operation
	client reflect.Value
	got    any
	reply  any
}

func newMirror(t *testing.T) *mirror {
	t.Helper()
	m := &mirror{ops: operations()}
	svc := query.NewService(shapes.ElastiCache)
	for _, op := range m.ops {
		if err := query.Register(svc, op.in, op.out, func(_ context.Context, in any) (any, error) {
			m.got = in
			return m.reply, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	m.client = reflect.ValueOf(newClient(t, svc))
	return m
}

// exchange makes one call, and compares what each side sent with what the other saw.
func (m *mirror) exchange(t *testing.T, op operation, f *filler) {
	t.Helper()
	in, out := reflect.New(op.in), reflect.New(op.out)
	f.fill(t, in.Elem())
	f.fill(t, out.Elem())
	m.reply = out.Interface()
	res := m.client.MethodByName(op.name).Call([]reflect.Value{reflect.ValueOf(t.Context()), in})
	if err, ok := res[1].Interface().(error); ok {
		t.Fatal(err)
	}
	opts := cmp.Options{
		cmpopts.IgnoreTypes(middleware.Metadata{}),
		cmp.Exporter(func(reflect.Type) bool { return true }),
	}
	if diff := cmp.Diff(in.Interface(), m.got, opts); diff != "" {
		t.Errorf("the handler saw another input (-sent +seen):\n%s", diff)
	}
	// Lists directly in an output are always written.
	for i := range out.Elem().NumField() {
		if v := out.Elem().Field(i); v.Kind() == reflect.Slice && v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
	}
	if diff := cmp.Diff(out.Interface(), res[0].Interface(), opts); diff != "" {
		t.Errorf("the client read another output (-returned +read):\n%s", diff)
	}
}
