package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Malformed says what is wrong with a policy document, in words for its author.
type Malformed struct{ Message string }

func (m *Malformed) Error() string { return m.Message }

func malformed(format string, args ...any) error {
	return &Malformed{Message: fmt.Sprintf(format, args...)}
}

// maxDepth is far beyond what a policy nests.
const maxDepth = 8

// member is a name and its value in an object, in the order of the document.
type member struct {
	name  string
	value any
}

// object is a JSON object whose names are all different.
type object []member

// scalar is a string, or the text of a number or a boolean.
type scalar struct {
	text   string
	quoted bool
}

// parseJSON reads one JSON value: object, []any, scalar, or nil for null.
func parseJSON(doc string) (any, error) {
	if !json.Valid([]byte(doc)) {
		return nil, malformed("The policy is not in the valid JSON format.")
	}
	d := json.NewDecoder(strings.NewReader(doc))
	d.UseNumber()
	v, err := readValue(d, 0)
	var told *Malformed
	if err != nil && !errors.As(err, &told) {
		return nil, malformed("The policy is not in the valid JSON format.")
	}
	return v, err
}

func readValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, malformed("The policy nests too deep.")
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return readObject(d, depth)
		}
		return readArray(d, depth)
	case string:
		return scalar{t, true}, nil
	case json.Number:
		return scalar{t.String(), false}, nil
	case bool:
		return scalar{fmt.Sprint(t), false}, nil
	}
	return nil, nil
}

func readObject(d *json.Decoder, depth int) (any, error) {
	out, seen := object{}, map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, errors.New("a name is no string")
		}
		if seen[name] {
			return nil, malformed("Duplicate element %q in the policy.", name)
		}
		seen[name] = true
		v, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, member{name, v})
	}
	_, err := d.Token()
	return out, err
}

func readArray(d *json.Decoder, depth int) (any, error) {
	out := []any{}
	for d.More() {
		v, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err := d.Token()
	return out, err
}

// texts reads a string, or a list of them that is not empty. loose lets numbers and
// booleans pass, as IAM does in conditions.
func texts(what string, v any, loose bool) ([]string, error) {
	list, many := v.([]any)
	if !many {
		list = []any{v}
	}
	if len(list) == 0 {
		return nil, malformed("%s must not be empty.", what)
	}
	var out []string
	for _, one := range list {
		s, ok := one.(scalar)
		if !ok || !s.quoted && !loose {
			return nil, malformed("%s must be a string or a list of strings.", what)
		}
		out = append(out, s.text)
	}
	return out, nil
}
