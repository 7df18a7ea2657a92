package query

import (
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a request. They are far above what any action of AWS takes and far
// below what would hurt.
const (
	// MaxParams is how many parameters a request may have.
	MaxParams = 10_000
	// MaxDepth is how many names a parameter's path may have.
	MaxDepth = 10
	// MaxIndex is the highest index in a list.
	MaxIndex = 10_000
)

// node is one name in the tree that the dotted parameter names make.
type node struct {
	value    string
	set      bool // a parameter of exactly this name was sent
	children map[string]*node
}

// child returns the child of that name, making it if need be.
func (n *node) child(name string) *node {
	if n.children == nil {
		n.children = map[string]*node{}
	}
	c := n.children[name]
	if c == nil {
		c = &node{}
		n.children[name] = c
	}
	return c
}

// parseForm reads pairs as a URL's query has them. Each name may come once: of
// two values none could be obeyed without silently dropping the other.
func parseForm(raws ...string) (map[string]string, error) {
	form := map[string]string{}
	for _, raw := range raws {
		if strings.Count(raw, "&")+len(form) >= MaxParams {
			return nil, Errorf("MalformedQueryString", "The request has more than %d parameters", MaxParams)
		}
		for pair := range strings.SplitSeq(raw, "&") {
			if pair == "" {
				continue
			}
			k, v, _ := strings.Cut(pair, "=")
			key, err := url.QueryUnescape(k)
			if err != nil {
				return nil, Errorf("MalformedQueryString", "The query string contains a syntax error: %s", err)
			}
			val, err := url.QueryUnescape(v)
			if err != nil {
				return nil, Errorf("MalformedQueryString", "The query string contains a syntax error in the parameter %.100s", key)
			}
			if !carriable(key) || !carriable(val) {
				return nil, malformed("The parameter %.100q holds a character that is not allowed", key)
			}
			if _, twice := form[key]; twice {
				return nil, Errorf("MalformedQueryString", "The parameter %.100s occurs more than once", key)
			}
			form[key] = val
		}
	}
	return form, nil
}

// carriable tells text that XML can give back as it came: valid UTF-8 without
// control characters other than tab and line ends.
func carriable(s string) bool {
	for _, r := range s {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return false
		}
	}
	return utf8.ValidString(s)
}

// isOverhead tells the parameters that belong to the protocol, not to the action.
func isOverhead(name string) bool {
	return name == "Action" || name == "Version" || strings.HasPrefix(name, "X-Amz-")
}

// tree arranges the action's parameters by the names between the dots.
func tree(form map[string]string) (*node, error) {
	root := &node{}
	for key, value := range form {
		if isOverhead(key) {
			continue
		}
		if strings.Count(key, ".") >= MaxDepth {
			return nil, Errorf("MalformedInput", "The parameter %.100s nests deeper than %d", key, MaxDepth)
		}
		n := root
		for name := range strings.SplitSeq(key, ".") {
			n = n.child(name)
		}
		n.value, n.set = value, true
	}
	return root, nil
}

// index reads a list index: 1 to MaxIndex, in plain decimal.
func index(name string) (int, bool) {
	if name == "" || name[0] < '1' || name[0] > '9' || len(name) > 9 {
		return 0, false
	}
	i, err := strconv.Atoi(name)
	return i, err == nil
}
