package query

import (
	"errors"
	"net/http"

	"github.com/aws/smithy-go"

	"holdfast.dev/internal/api/shapes"
)

const contentType = "text/xml"

// Reply is what goes back to the client.
type Reply struct {
	Status      int
	ContentType string
	Body        []byte
	// RequestID is the id that stands in Body.
	RequestID string
	// Code is the error code, "" on success.
	Code string
	// Cause is what an internal error really was: to be logged, not to be shown.
	Cause error
}

// coded is an error that knows its code and what to tell.
type coded interface {
	error
	ErrorCode() string
	ErrorMessage() string
}

// commonStatus are the codes that every service has, where they are not 400.
var commonStatus = map[string]int{
	"AccessDenied":          http.StatusForbidden,
	"AccessDeniedException": http.StatusForbidden,
	"InternalFailure":       http.StatusInternalServerError,
	"MalformedQueryString":  http.StatusNotFound,
	"OptInRequired":         http.StatusForbidden,
	"ServiceUnavailable":    http.StatusServiceUnavailable,
}

// Fail makes the reply to a request that failed with err.
func (s *Service) Fail(err error, requestID string) Reply {
	return fail(s.table, err, requestID)
}

// Fail makes the reply to a request that belongs to no service.
func Fail(err error, requestID string) Reply {
	return fail(&shapes.Service{}, err, requestID)
}

func fail(table *shapes.Service, err error, requestID string) Reply {
	f, status := classify(table, err)
	r := Reply{Status: status, ContentType: contentType, RequestID: requestID, Code: f.Code}
	if status >= http.StatusInternalServerError {
		r.Cause = err
	}
	r.Body = appendError(nil, table.Namespace, f, status, requestID)
	return r
}

// classify finds out what to tell of an error, and under which status.
func classify(table *shapes.Service, err error) (*Error, int) {
	internal := &Error{
		Code:    "InternalFailure",
		Message: "The request processing has failed because of an unknown error, exception or failure.",
	}
	var c coded
	if !errors.As(err, &c) || c.ErrorCode() == "" {
		return internal, http.StatusInternalServerError
	}
	f := &Error{Code: c.ErrorCode(), Message: c.ErrorMessage()}
	if own, ok := c.(interface{ HTTPStatus() int }); ok && own.HTTPStatus() != 0 {
		return f, own.HTTPStatus()
	}
	if status, ok := table.Status[f.Code]; ok {
		return f, status
	}
	// An SDK's error of a code that this service does not have is another
	// service's answer to us, and not one to our caller.
	if _, foreign := c.(smithy.APIError); foreign {
		return internal, http.StatusInternalServerError
	}
	if status, ok := commonStatus[f.Code]; ok {
		return f, status
	}
	return f, http.StatusBadRequest
}

func appendError(b []byte, namespace string, f *Error, status int, requestID string) []byte {
	side := "Sender"
	if status >= http.StatusInternalServerError {
		side = "Receiver"
	}
	b = append(b, "<ErrorResponse"...)
	if namespace != "" {
		b = append(b, ` xmlns="`+namespace+`"`...)
	}
	b = append(b, "><Error><Type>"+side+"</Type><Code>"...)
	b = appendText(b, f.Code)
	b = append(b, "</Code><Message>"...)
	b = appendText(b, f.Message)
	b = append(b, "</Message></Error><RequestId>"...)
	b = appendText(b, requestID)
	return append(b, "</RequestId></ErrorResponse>\n"...)
}
