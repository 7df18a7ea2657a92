package query

import (
	"fmt"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"

	"holdfast.dev/internal/api/shapes"
)

// encoder appends a value's XML, without the element around it.
type encoder func(b []byte, v reflect.Value) []byte

// field is how one field of a struct is written.
type field struct {
	index       int
	open, close string
	always      bool // written even when nil
	encode      encoder
}

// newEncoder makes the encoder of a type. item is the element name of its items
// when the type is a list; top says that lists directly in it are always written.
func newEncoder(table *shapes.Service, t reflect.Type, item string, top bool, depth int) (encoder, error) {
	if depth > maxTypeDepth {
		return nil, fmt.Errorf("type %s nests deeper than %d", t, maxTypeDepth)
	}
	if t == timeType {
		return appendTime, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		elem, err := newEncoder(table, t.Elem(), "", false, depth+1)
		if err != nil {
			return nil, err
		}
		return func(b []byte, v reflect.Value) []byte { return elem(b, v.Elem()) }, nil
	case reflect.Struct:
		return structEncoder(table, t, top, depth)
	case reflect.Slice:
		return listEncoder(table, t, item, depth)
	case reflect.String:
		return func(b []byte, v reflect.Value) []byte { return appendText(b, v.String()) }, nil
	case reflect.Bool:
		return func(b []byte, v reflect.Value) []byte { return strconv.AppendBool(b, v.Bool()) }, nil
	case reflect.Int32, reflect.Int64:
		return func(b []byte, v reflect.Value) []byte { return strconv.AppendInt(b, v.Int(), 10) }, nil
	case reflect.Float64:
		return func(b []byte, v reflect.Value) []byte { return strconv.AppendFloat(b, v.Float(), 'g', -1, 64) }, nil
	}
	return nil, fmt.Errorf("type %s is not modelled", t)
}

func structEncoder(table *shapes.Service, t reflect.Type, top bool, depth int) (encoder, error) {
	var fields []field
	for i, f := range modelFields(t) {
		enc, err := newEncoder(table, f.Type, table.Item(t.Name(), f.Name), false, depth+1)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t.Name(), f.Name, err)
		}
		wire := table.Wire(t.Name(), f.Name)
		fields = append(fields, field{
			index: i, open: "<" + wire + ">", close: "</" + wire + ">", encode: enc,
			always: top && f.Type.Kind() == reflect.Slice,
		})
	}
	return func(b []byte, v reflect.Value) []byte {
		for i := range fields {
			f := &fields[i]
			fv := v.Field(f.index)
			if !f.always && absent(fv) {
				continue
			}
			b = append(b, f.open...)
			b = f.encode(b, fv)
			b = append(b, f.close...)
		}
		return b
	}, nil
}

// absent tells a value that has not been set. Numbers and booleans that are no
// pointers cannot be absent; an enum is when it is empty.
func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice:
		return v.IsNil()
	case reflect.String:
		return v.Len() == 0
	}
	return false
}

func listEncoder(table *shapes.Service, t reflect.Type, item string, depth int) (encoder, error) {
	elem, err := newEncoder(table, t.Elem(), "", false, depth+1)
	if err != nil {
		return nil, err
	}
	open, end := "<"+item+">", "</"+item+">"
	return func(b []byte, v reflect.Value) []byte {
		for i := range v.Len() {
			b = append(b, open...)
			b = elem(b, v.Index(i))
			b = append(b, end...)
		}
		return b
	}, nil
}

// timeFormat is ElastiCache's: UTC with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z"

func appendTime(b []byte, v reflect.Value) []byte {
	if t, ok := v.Interface().(time.Time); ok {
		b = t.UTC().AppendFormat(b, timeFormat)
	}
	return b
}

// appendText escapes s. Bytes that XML cannot carry become U+FFFD.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= utf8.RuneSelf || c == '<' || c == '>' || c == '&' || c == '"' || c == '\'' {
			return appendEscaped(b, s)
		}
	}
	return append(b, s...)
}

func appendEscaped(b []byte, s string) []byte {
	for _, r := range s {
		switch {
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '"':
			b = append(b, "&#34;"...)
		case r == '\'':
			b = append(b, "&#39;"...)
		case r == '\t' || r == '\n' || r == '\r':
			// Written raw, a parser would fold line ends.
			b = append(b, "&#"...)
			b = strconv.AppendInt(b, int64(r), 10)
			b = append(b, ';')
		case r < 0x20 || r == 0xFFFE || r == 0xFFFF:
			b = utf8.AppendRune(b, utf8.RuneError)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}
