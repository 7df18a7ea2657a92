package query

import "fmt"

// Error is a fault for the caller whose code has no struct in the SDK.
type Error struct {
	// Code is what stands in <Code>.
	Code string
	// Message is shown to the caller as it is.
	Message string
	// Status is the HTTP status; 0 means what the table says for Code, else 400.
	Status int
}

// Errorf makes an Error whose status is the code's own.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ErrorCode returns Code.
func (e *Error) ErrorCode() string { return e.Code }

// ErrorMessage returns Message.
func (e *Error) ErrorMessage() string { return e.Message }

// HTTPStatus returns Status.
func (e *Error) HTTPStatus() int { return e.Status }
