package query

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	smithytime "github.com/aws/smithy-go/time"

	"holdfast.dev/internal/api/shapes"
)

// path is where in the request a value stands, for messages; built without
// allocating text until there is an error to tell.
type path struct {
	up   *path
	name string
}

func (p *path) String() string {
	if p.up == nil || p.up.name == "" {
		return p.name
	}
	return p.up.String() + "." + p.name
}

// decoder puts a node of the request into a value.
type decoder func(at *path, n *node, v reflect.Value) error

// maxTypeDepth stops at a type that contains itself; none does today.
const maxTypeDepth = 20

var timeType = reflect.TypeFor[time.Time]()

// newDecoder makes the decoder of a type. field names the list's "Struct.Member"
// when the type is a list's.
func newDecoder(table *shapes.Service, t reflect.Type, item string, depth int) (decoder, error) {
	if depth > maxTypeDepth {
		return nil, fmt.Errorf("type %s nests deeper than %d", t, maxTypeDepth)
	}
	if t == timeType {
		return decodeTime, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return pointerDecoder(table, t, depth)
	case reflect.Struct:
		return structDecoder(table, t, depth)
	case reflect.Slice:
		return listDecoder(table, t, item, depth)
	case reflect.String:
		if values := enumValues(t); values != nil {
			return enumDecoder(values), nil
		}
		return decodeString, nil
	case reflect.Bool:
		return decodeBool, nil
	case reflect.Int32, reflect.Int64:
		return decodeInt, nil
	case reflect.Float64:
		return decodeFloat, nil
	}
	return nil, fmt.Errorf("type %s is not modelled", t)
}

func pointerDecoder(table *shapes.Service, t reflect.Type, depth int) (decoder, error) {
	elem, err := newDecoder(table, t.Elem(), "", depth+1)
	if err != nil {
		return nil, err
	}
	blankIsAbsent := t.Elem().Kind() != reflect.String
	return func(at *path, n *node, v reflect.Value) error {
		if blankIsAbsent && n.children == nil && n.value == "" {
			return nil
		}
		p := reflect.New(t.Elem())
		if err := elem(at, n, p.Elem()); err != nil {
			return err
		}
		v.Set(p)
		return nil
	}, nil
}

// member is how one field of a struct is decoded.
type member struct {
	index  int
	decode decoder
}

// structDecoder decodes the fields that are there, then checks the required
// ones. A name that the struct does not have is refused: to obey half of a
// request would be worse.
func structDecoder(table *shapes.Service, t reflect.Type, depth int) (decoder, error) {
	members := map[string]member{}
	var required []string
	for i, f := range modelFields(t) {
		wire := table.Wire(t.Name(), f.Name)
		dec, err := newDecoder(table, f.Type, table.Item(t.Name(), f.Name), depth+1)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t.Name(), f.Name, err)
		}
		members[wire] = member{index: i, decode: dec}
	}
	for _, name := range table.Required[t.Name()] {
		wire := table.Wire(t.Name(), name)
		if _, ok := members[wire]; !ok {
			return nil, fmt.Errorf("%s has no field %s, which the table requires", t.Name(), name)
		}
		required = append(required, wire)
	}
	return func(at *path, n *node, v reflect.Value) error {
		if n.set && n.value != "" {
			return malformed("Unexpected value for the structure %s", at)
		}
		for _, name := range sortedKeys(n.children) {
			m, ok := members[name]
			here := &path{at, name}
			if !ok {
				return Errorf("InvalidQueryParameter", "The parameter %.200s is not known for this action", here.String())
			}
			if err := m.decode(here, n.children[name], v.Field(m.index)); err != nil {
				return err
			}
		}
		for _, name := range required {
			if err := present(&path{at, name}, v.Field(members[name].index)); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// present refuses a required member that is missing or blank, in ElastiCache's words.
func present(at *path, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type().Elem().Kind() != reflect.String {
			break
		}
		if v.IsNil() || strings.TrimSpace(v.Elem().String()) == "" {
			return Errorf("InvalidParameterValue", "The parameter %s must be provided and must not be blank.", at)
		}
	case reflect.String:
		if strings.TrimSpace(v.String()) == "" {
			return Errorf("InvalidParameterValue", "The parameter %s must be provided and must not be blank.", at)
		}
	}
	if (v.Kind() == reflect.Pointer || v.Kind() == reflect.Slice) && v.IsNil() {
		return Errorf("InvalidParameterValue", "The parameter %s must be provided and must not be null.", at)
	}
	return nil
}

// listDecoder takes Name.member.N, Name.<item>.N and Name.N. Gaps between the
// indexes close up. What is allocated is as many items as were sent.
func listDecoder(table *shapes.Service, t reflect.Type, item string, depth int) (decoder, error) {
	elem, err := newDecoder(table, t.Elem(), "", depth+1)
	if err != nil {
		return nil, err
	}
	return func(at *path, n *node, v reflect.Value) error {
		if n.value != "" {
			return malformed("Expected list or null for parameter %s", at)
		}
		items := n
		for _, name := range []string{item, "member"} {
			if c := n.children[name]; c != nil && len(n.children) == 1 {
				items, at = c, &path{at, name}
				break
			}
		}
		if items.value != "" {
			return malformed("Expected list or null for parameter %s", at)
		}
		type entry struct {
			index int
			name  string
		}
		entries := make([]entry, 0, len(items.children))
		for _, name := range sortedKeys(items.children) {
			i, ok := index(name)
			if !ok || i > MaxIndex {
				return malformed("The list index %.100s is not a number from 1 to %d", &path{at, name}, MaxIndex)
			}
			entries = append(entries, entry{i, name})
		}
		slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.index, b.index) })
		list := reflect.MakeSlice(t, len(entries), len(entries))
		for i, e := range entries {
			if err := elem(&path{at, e.name}, items.children[e.name], list.Index(i)); err != nil {
				return err
			}
		}
		v.Set(list)
		return nil
	}, nil
}

// scalar refuses a structure where one value should be.
func scalar(at *path, n *node) error {
	if n.children != nil {
		return malformed("Start of structure or list found where not expected: %s", at)
	}
	return nil
}

func decodeString(at *path, n *node, v reflect.Value) error {
	v.SetString(n.value)
	return scalar(at, n)
}

func decodeBool(at *path, n *node, v reflect.Value) error {
	if err := scalar(at, n); err != nil || n.value == "" {
		return err
	}
	switch {
	case strings.EqualFold(n.value, "true"):
		v.SetBool(true)
	case strings.EqualFold(n.value, "false"):
		v.SetBool(false)
	default:
		return invalid(at, n, "Must be true or false.")
	}
	return nil
}

func decodeInt(at *path, n *node, v reflect.Value) error {
	if err := scalar(at, n); err != nil || n.value == "" {
		return err
	}
	i, err := strconv.ParseInt(n.value, 10, v.Type().Bits())
	if err != nil {
		return invalid(at, n, "Must be an integer.")
	}
	v.SetInt(i)
	return nil
}

func decodeFloat(at *path, n *node, v reflect.Value) error {
	if err := scalar(at, n); err != nil || n.value == "" {
		return err
	}
	f, err := strconv.ParseFloat(n.value, 64)
	if err != nil {
		return invalid(at, n, "Must be a number.")
	}
	v.SetFloat(f)
	return nil
}

// decodeTime takes ISO 8601 as the SDKs write it.
func decodeTime(at *path, n *node, v reflect.Value) error {
	if err := scalar(at, n); err != nil || n.value == "" {
		return err
	}
	ts, err := smithytime.ParseDateTime(n.value)
	if err != nil {
		return invalid(at, n, "Must be a time such as 2006-01-02T15:04:05Z.")
	}
	v.Set(reflect.ValueOf(ts))
	return nil
}

// enumDecoder hands on the SDK's spelling: ElastiCache compares without case.
func enumDecoder(values []string) decoder {
	return func(at *path, n *node, v reflect.Value) error {
		if err := scalar(at, n); err != nil || n.value == "" {
			return err
		}
		for _, known := range values {
			if strings.EqualFold(known, n.value) {
				v.SetString(known)
				return nil
			}
		}
		return Errorf("InvalidParameterValue", "Value (%.100s) for parameter %s is invalid. Valid values: %s",
			n.value, at, strings.Join(values, ", "))
	}
}

func invalid(at *path, n *node, hint string) error {
	return malformed("Value (%.100s) for parameter %s is invalid. %s", n.value, at, hint)
}

func malformed(format string, args ...any) error { return Errorf("MalformedInput", format, args...) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
