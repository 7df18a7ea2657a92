package sigv4

import (
	"fmt"
	"net/http"
	"time"
)

// Error is a refusal, in the words of AWS.
type Error struct {
	Code    string
	Message string
	Status  int
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ErrorCode returns Code.
func (e *Error) ErrorCode() string { return e.Code }

// ErrorMessage returns Message.
func (e *Error) ErrorMessage() string { return e.Message }

// refuse makes an Error.
func refuse(status int, code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: status}
}

// The codes differ by flavour; each function below holds one fault in both.

// missing: the request carries no signature at all.
func missing(s3 bool) *Error {
	if s3 {
		return refuse(http.StatusForbidden, "AccessDenied", "Access Denied")
	}
	return refuse(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
}

// incomplete: there is a signature, but it cannot be read.
func incomplete(s3, presigned bool, format string, args ...any) *Error {
	switch {
	case !s3:
		return refuse(http.StatusBadRequest, "IncompleteSignature", format, args...)
	case presigned:
		return refuse(http.StatusBadRequest, "AuthorizationQueryParametersError", format, args...)
	}
	return refuse(http.StatusBadRequest, "AuthorizationHeaderMalformed", format, args...)
}

// unknownKey: no such access key, or not with that session token.
func unknownKey(s3 bool) *Error {
	if s3 {
		return refuse(http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	}
	return refuse(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
}

// mismatch: the signature is another than ours.
func mismatch(s3 bool) *Error {
	if s3 {
		return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	}
	return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. "+
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}

// expired: signed too long ago.
func expired(s3, presigned bool, signed, limit, now time.Time) *Error {
	switch {
	case s3 && presigned:
		return refuse(http.StatusForbidden, "AccessDenied", "Request has expired")
	case s3:
		return skewed()
	}
	return refuse(http.StatusBadRequest, "RequestExpired", "Signature expired: %s is now earlier than %s (%s - %d min.)",
		signed.Format(timeFormat), limit.Format(timeFormat), now.Format(timeFormat), int(now.Sub(limit).Minutes()))
}

// early: signed in the future.
func early(s3, presigned bool, signed, limit, now time.Time) *Error {
	switch {
	case s3 && presigned:
		return refuse(http.StatusForbidden, "AccessDenied", "Request is not valid yet")
	case s3:
		return skewed()
	}
	return refuse(http.StatusBadRequest, "RequestExpired", "Signature not yet current: %s is still later than %s (%s + %d min.)",
		signed.Format(timeFormat), limit.Format(timeFormat), now.Format(timeFormat), int(limit.Sub(now).Minutes()))
}

func skewed() *Error {
	return refuse(http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
}

// HTTPStatus returns Status.
func (e *Error) HTTPStatus() int { return e.Status }
