package sigv4

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// parseQuery splits a raw query. Unlike url.ParseQuery it takes ';' as a letter.
func parseQuery(raw string) (url.Values, error) {
	if strings.Count(raw, "&") >= maxParams {
		return nil, refuse(http.StatusBadRequest, "MalformedQueryString", "The query string has more than %d parameters", maxParams)
	}
	values := url.Values{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		key, err1 := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if err := cmp.Or(err1, err2); err != nil {
			return nil, refuse(http.StatusBadRequest, "MalformedQueryString", "The query string contains a syntax error: %s", err)
		}
		values[key] = append(values[key], value)
	}
	return values, nil
}

// canonicalQuery sorts by name, then by value, both before they are joined: "a=1"
// and "a-b=1" sort the other way round once '=' stands between. The signature
// itself is left out.
func canonicalQuery(query url.Values) string {
	type pair struct{ name, value string }
	var pairs []pair
	for name, values := range query {
		if name == "X-Amz-Signature" {
			continue
		}
		for _, v := range values {
			pairs = append(pairs, pair{escape(name, true), escape(v, true)})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.value, b.value))
	})
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + p.value)
	}
	return b.String()
}

// canonicalHeaders writes "name:value\n" for each signed header. ok is false when
// one of them is not in the request.
func canonicalHeaders(r *http.Request, names []string) (text string, ok bool) {
	var b strings.Builder
	for _, name := range names {
		values := r.Header.Values(name)
		switch {
		case name == "host":
			values = []string{r.Host}
		case name == "content-length" && len(values) == 0 && r.ContentLength >= 0:
			values = []string{strconv.FormatInt(r.ContentLength, 10)}
		case name == "transfer-encoding" && len(values) == 0:
			values = r.TransferEncoding
		}
		if len(values) == 0 {
			return "", false
		}
		b.WriteString(name)
		b.WriteByte(':')
		for i, v := range values {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(collapse(v))
		}
		b.WriteByte('\n')
	}
	return b.String(), true
}

// collapse trims a header's value and makes each run of spaces one.
func collapse(s string) string {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "  ") {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if s[i] != ' ' || s[i-1] != ' ' {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// canonicalPaths returns the forms of the path that a client may have signed. S3
// clients sign what they send, but some send more or less of it escaped than the
// rule says; both forms decode to the same path, so accepting either is sound.
func canonicalPaths(r *http.Request, s3 bool) []string {
	wire := r.URL.EscapedPath()
	if wire == "" {
		wire = "/"
	}
	if !s3 {
		return []string{escape(wire, false)}
	}
	strict := escape(r.URL.Path, false)
	if strict == wire {
		return []string{wire}
	}
	return []string{wire, strict}
}

// escape percent-encodes all but letters, digits and "-._~", and '/' unless told.
func escape(s string, slash bool) string {
	const hex = "0123456789ABCDEF"
	n := 0
	for i := range len(s) {
		if !plain(s[i], slash) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		if c := s[i]; plain(c, slash) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func plain(c byte, slash bool) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	case c == '-', c == '.', c == '_', c == '~':
		return true
	}
	return c == '/' && !slash
}
