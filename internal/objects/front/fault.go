package front

import (
	"crypto/rand"
	"encoding/xml"
	"net/http"
	"strconv"
)

const regionHeader = "X-Amz-Bucket-Region"

// fault is an S3 error answer. Its fields are the elements that S3 itself sends.
type fault struct {
	XMLName    xml.Name `xml:"Error"`
	Code       string
	Message    string
	Endpoint   string `xml:",omitempty"`
	Bucket     string `xml:",omitempty"`
	BucketName string `xml:",omitempty"`
	Key        string `xml:",omitempty"`
	Location   string `xml:"LocationConstraint,omitempty"`
	Condition  string `xml:",omitempty"`
	RequestID  string `xml:"RequestId"`
	HostID     string `xml:"HostId"`

	status int
	region string // sent as a header
}

func newFault(status int, code, message string) *fault {
	return &fault{status: status, Code: code, Message: message}
}

func (f *fault) write(w http.ResponseWriter, r *http.Request) {
	if f.region != "" {
		w.Header().Set(regionHeader, f.region)
	}
	f.RequestID, f.HostID = w.Header().Get(requestIDHeader), rand.Text()
	if f.RequestID == "" {
		f.RequestID = rand.Text()[:16]
	}
	writeXML(w, r, f.status, f.RequestID, f)
}

const requestIDHeader = "X-Amz-Request-Id"

// writeXML answers with a document; to HEAD, with its headers alone.
func writeXML(w http.ResponseWriter, r *http.Request, status int, requestID string, doc any) {
	body, err := xml.Marshal(doc)
	if err != nil { // our own documents are all plain structs
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body = append([]byte(xml.Header), body...)
	h := w.Header()
	if requestID == "" {
		requestID = rand.Text()[:16]
	}
	h.Set(requestIDHeader, requestID)
	h.Set("Content-Type", "application/xml")
	if r.Method == http.MethodHead {
		// A HEAD answer carries no document, and S3 announces none.
		w.WriteHeader(status)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone reads no error either
}

func noSuchBucket(bucket string) *fault {
	f := newFault(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	f.BucketName = bucket
	return f
}

// redirect tells a client that signed for the wrong region which one is right.
func redirect(r *http.Request, t target) *fault {
	f := newFault(http.StatusMovedPermanently, "PermanentRedirect",
		"The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.")
	f.Endpoint, f.Bucket, f.region = r.Host, t.bucket, t.home
	return f
}

// internal answers a failure of ours. Clients try such a request again.
func (d *door) internal(r *http.Request, err error) *fault {
	if r.Context().Err() == nil {
		d.log.Error("cannot serve an S3 request", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	return newFault(http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.")
}

// unavailable answers when a child cannot be reached or died under the request.
func (d *door) unavailable(r *http.Request, err error) *fault {
	if r.Context().Err() == nil {
		d.log.Warn("an S3 request was cut off", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	return newFault(http.StatusServiceUnavailable, "ServiceUnavailable", "The S3 service of this region is being restarted. Please try again.")
}
