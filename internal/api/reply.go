package api

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/sigv4"
)

// refuse tells err in the form that the caller's service has.
func (x *exchange) refuse(err error) {
	var r query.Reply
	switch svc := x.services[x.info.Service]; {
	case svc != nil:
		r = svc.Fail(err, x.info.RequestID)
	default:
		r = query.Fail(err, x.info.RequestID)
	}
	switch {
	case x.info.Service == "s3" || x.info.Service == "" && sigv4.LooksLikeS3(x.r):
		r.ContentType, r.Body = "application/xml", s3Error(r, err, x.r, x.info.RequestID)
		x.w.Header().Set("x-amz-request-id", x.info.RequestID)
	case speaksJSON(x.r):
		x.w.Header().Set("x-amzn-ErrorType", r.Code)
		r.ContentType, r.Body = "application/x-amz-json-1.0", jsonError(r, err)
	}
	x.reply(r)
}

// reply writes r, and logs what it hides.
func (x *exchange) reply(r query.Reply) {
	if r.Cause != nil {
		x.logInternal(r.Cause)
	}
	x.code = r.Code
	if r.RequestID != "" {
		// A reply given once before keeps its id, which stands in its body too.
		x.w.Header().Set("x-amzn-RequestId", r.RequestID)
	}
	x.w.Header().Set("Content-Type", r.ContentType)
	x.write(r.Status, r.Body)
}

func (x *exchange) write(status int, body []byte) {
	x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if err := x.deadline((*http.ResponseController).SetWriteDeadline, x.bodyTimeout); err != nil {
		x.log.Debug("cannot bound the reply's time", "request_id", x.info.RequestID, "error", err)
	}
	x.w.WriteHeader(status)
	if _, err := x.w.Write(body); err != nil && x.r.Method != http.MethodHead {
		x.log.Debug("cannot write the reply", "request_id", x.info.RequestID, "error", err)
	}
}

// notServed refuses a service that is not spoken here, and names those that are.
func (x *exchange) notServed(service string) error {
	served := slices.Sorted(maps.Keys(x.services))
	if x.s3 != nil {
		served = append(served, "s3")
	}
	return query.Errorf("UnsupportedOperation", "The service %.50s is not served by this endpoint. Served: %s", service, strings.Join(served, ", "))
}

var regionForm = regexp.MustCompile(`^[a-z]{2}(-[a-z]{2,16}){1,3}-[0-9]{1,2}$`)

// validRegion tells names of the form that AWS gives: us-east-1, us-gov-west-1.
func validRegion(name string) bool { return len(name) <= 40 && regionForm.MatchString(name) }

func badRegion(auth *sigv4.Auth) error {
	if auth.S3() {
		return &sigv4.Error{
			Code: "AuthorizationHeaderMalformed", Status: http.StatusBadRequest,
			Message: fmt.Sprintf("The authorization header is malformed; the region '%.50s' is wrong", auth.Region),
		}
	}
	return &sigv4.Error{
		Code: "SignatureDoesNotMatch", Status: http.StatusForbidden,
		Message: fmt.Sprintf("Credential should be scoped to a valid region, not '%.50s'.", auth.Region),
	}
}

// speaksJSON tells a client of a JSON protocol: it cannot read an error in XML.
func speaksJSON(r *http.Request) bool {
	return r.Header.Get("X-Amz-Target") != "" || strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-amz-json")
}

// message is what the reply may tell of err.
func message(r query.Reply, err error) string {
	if r.Cause != nil {
		return "We encountered an internal error. Please try again."
	}
	var told interface{ ErrorMessage() string }
	if errors.As(err, &told) {
		return told.ErrorMessage()
	}
	return r.Code
}

func jsonError(r query.Reply, err error) []byte {
	b, jerr := json.Marshal(map[string]string{"__type": r.Code, "message": message(r, err)})
	if jerr != nil {
		return []byte("{}")
	}
	return b
}

// s3Error writes S3's form of an error. S3 calls an internal error InternalError.
func s3Error(r query.Reply, err error, req *http.Request, requestID string) []byte {
	code := r.Code
	if r.Cause != nil {
		code = "InternalError"
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + "<Error>")
	for _, e := range [][2]string{{"Code", code}, {"Message", message(r, err)}, {"Resource", req.URL.Path}, {"RequestId", requestID}} {
		b.WriteString("<" + e[0] + ">")
		// A bytes.Buffer does not fail.
		_ = xml.EscapeText(&b, []byte(e[1]))
		b.WriteString("</" + e[0] + ">")
	}
	b.WriteString("</Error>\n")
	return b.Bytes()
}

// newRequestID makes a random UUID.
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// recorder remembers the status for the log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	// 1xx come before the reply.
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach flushing and deadlines.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
