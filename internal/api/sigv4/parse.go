package sigv4

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeFormat = "20060102T150405Z"
	dateFormat = "20060102"

	// Skew is how far the clocks of client and server may differ, either way.
	Skew = 15 * time.Minute
	// maxExpires is the longest life of a presigned URL.
	maxExpires = 7 * 24 * time.Hour
	// maxSignedHeaders and maxParams bound the work an unverified request can cause.
	maxSignedHeaders = 200
	maxParams        = 10_000
)

// Auth is what a request says of its own signature. Nothing in it is verified.
type Auth struct {
	AccessKeyID string
	// Region and Service are those of the credential scope.
	Region, Service string
	// Presigned tells the query form from the header form.
	Presigned bool

	date          string // of the scope: YYYYMMDD
	time          time.Time
	expires       time.Duration // of a presigned URL; 0 when it names none
	signedHeaders []string
	signature     string // lowercase hex
	token         string
}

// S3 tells whether the request is for S3, which has rules and errors of its own.
func (a *Auth) S3() bool { return a.Service == "s3" }

// Parse reads the signature of a request. Errors are *Error. Before the service
// is known, looksLikeS3 decides in whose words a fault is told.
func Parse(r *http.Request) (*Auth, error) {
	header := r.Header.Values("Authorization")
	presigned := strings.Contains(r.URL.RawQuery, "X-Amz-")
	var query url.Values
	if presigned {
		var err error
		if query, err = parseQuery(r.URL.RawQuery); err != nil {
			return nil, err
		}
		presigned = query.Has("X-Amz-Signature") || query.Has("X-Amz-Credential") || query.Has("X-Amz-Algorithm")
	}
	switch {
	case len(header) > 1 || len(header) == 1 && presigned:
		return nil, refuse(http.StatusBadRequest, "InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter or the Authorization header should be specified")
	case presigned:
		return parsePresigned(query)
	case len(header) == 1:
		return parseHeader(r, header[0])
	}
	return nil, missing(LooksLikeS3(r))
}

// LooksLikeS3 guesses the service of a request that does not name one: the Query
// services have everything at the root path.
func LooksLikeS3(r *http.Request) bool { return r.URL.Path != "/" && r.URL.Path != "" }

// parseHeader reads "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…".
func parseHeader(r *http.Request, header string) (*Auth, error) {
	s3 := LooksLikeS3(r)
	rest, ok := strings.CutPrefix(header, algorithm)
	if !ok || rest == "" || rest[0] != ' ' && rest[0] != '\t' {
		if s3 {
			return nil, refuse(http.StatusBadRequest, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use %s.", algorithm)
		}
		return nil, incomplete(false, false, "The Authorization header must begin with %s", algorithm)
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := parts[name]; !ok || twice {
			return nil, incomplete(s3, false, "The Authorization header must be a list of different name=value pairs")
		}
		parts[name] = value
	}
	for _, name := range []string{"Credential", "SignedHeaders", "Signature"} {
		if parts[name] == "" {
			return nil, incomplete(s3, false, "Authorization header requires '%s' parameter.", name)
		}
	}
	a := &Auth{token: r.Header.Get("X-Amz-Security-Token")}
	if err := a.setCredential(parts["Credential"], s3); err != nil {
		return nil, err
	}
	if err := a.setSigned(parts["SignedHeaders"], parts["Signature"]); err != nil {
		return nil, err
	}
	return a, a.setTime(headerTime(r))
}

// headerTime is the request's own date: X-Amz-Date, or else Date.
func headerTime(r *http.Request) string {
	if t := r.Header.Get("X-Amz-Date"); t != "" {
		return t
	}
	if t, err := http.ParseTime(r.Header.Get("Date")); err == nil {
		return t.UTC().Format(timeFormat)
	}
	return r.Header.Get("Date")
}

// parsePresigned reads the X-Amz-… parameters of a presigned URL.
func parsePresigned(query url.Values) (*Auth, error) {
	a := &Auth{Presigned: true, token: query.Get("X-Amz-Security-Token")}
	s3 := strings.Contains(query.Get("X-Amz-Credential"), "/s3/")
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature"} {
		if len(query[name]) != 1 || query.Get(name) == "" {
			return nil, incomplete(s3, true, "The query string must have the parameter %s once.", name)
		}
	}
	if query.Get("X-Amz-Algorithm") != algorithm {
		return nil, incomplete(s3, true, "X-Amz-Algorithm only supports \"%s\"", algorithm)
	}
	if err := a.setCredential(query.Get("X-Amz-Credential"), s3); err != nil {
		return nil, err
	}
	if err := a.setSigned(query.Get("X-Amz-SignedHeaders"), query.Get("X-Amz-Signature")); err != nil {
		return nil, err
	}
	if err := a.setExpires(query["X-Amz-Expires"]); err != nil {
		return nil, err
	}
	return a, a.setTime(query.Get("X-Amz-Date"))
}

// setCredential reads KEY/DATE/REGION/SERVICE/aws4_request.
func (a *Auth) setCredential(credential string, s3 bool) error {
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || slices.Contains(parts, "") || parts[4] != terminator {
		return incomplete(s3, a.Presigned, "The credential must have the form access-key/date/region/service/%s", terminator)
	}
	a.AccessKeyID, a.date, a.Region, a.Service = parts[0], parts[1], parts[2], parts[3]
	return nil
}

// setSigned reads the header names, which must be lowercase, sorted, each once,
// and hold host; and the signature.
func (a *Auth) setSigned(headers, signature string) error {
	a.signedHeaders = strings.Split(headers, ";")
	for i, name := range a.signedHeaders {
		if name == "" || name != strings.ToLower(name) || i > 0 && name <= a.signedHeaders[i-1] {
			return incomplete(a.S3(), a.Presigned, "SignedHeaders must be lowercase names in sorted order, separated by ';'")
		}
	}
	if len(a.signedHeaders) > maxSignedHeaders {
		return incomplete(a.S3(), a.Presigned, "SignedHeaders names more than %d headers", maxSignedHeaders)
	}
	if !slices.Contains(a.signedHeaders, "host") {
		return incomplete(a.S3(), a.Presigned, "The host header must be signed.")
	}
	if !isHex64(signature) {
		return incomplete(a.S3(), a.Presigned, "The signature must be 64 lowercase hexadecimal digits")
	}
	a.signature = signature
	return nil
}

// setTime reads the request's time, which must be of the scope's day.
func (a *Auth) setTime(text string) error {
	t, err := time.Parse(timeFormat, text)
	if err != nil {
		return incomplete(a.S3(), a.Presigned, "Date must be in ISO-8601 'basic format'. Got '%.50s'.", text)
	}
	if t.Format(dateFormat) != a.date {
		return incomplete(a.S3(), a.Presigned, "Date in Credential scope does not match YYYYMMDD from the date of the request")
	}
	a.time = t
	return nil
}

// setExpires reads X-Amz-Expires, in seconds. S3 insists on it.
func (a *Auth) setExpires(values []string) error {
	if len(values) == 0 && !a.S3() {
		return nil
	}
	if len(values) != 1 {
		return incomplete(a.S3(), true, "The query string must have the parameter X-Amz-Expires once.")
	}
	n, err := strconv.ParseInt(values[0], 10, 32)
	if err != nil || n < 1 || time.Duration(n)*time.Second > maxExpires {
		return incomplete(a.S3(), true, "X-Amz-Expires must be a number of seconds from 1 to %d", int(maxExpires.Seconds()))
	}
	a.expires = time.Duration(n) * time.Second
	return nil
}

// isHex64 tells a SHA-256 in lowercase hexadecimal.
func isHex64(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
