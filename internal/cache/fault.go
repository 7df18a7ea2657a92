package cache

import (
	"errors"
	"fmt"
)

// Fault is an error that the caller of the API is told, by ElastiCache's code
// and in words meant for a person. Everything else that goes wrong is internal.
type Fault struct {
	// Code is what stands in the reply's <Code>, for example "InvalidParameterValue".
	Code string
	// Message is shown to the caller as it is.
	Message string
}

func (f *Fault) Error() string { return f.Code + ": " + f.Message }

// ErrorCode and ErrorMessage let the front door read a fault without knowing this type.
func (f *Fault) ErrorCode() string    { return f.Code }
func (f *Fault) ErrorMessage() string { return f.Message }

// Faultf makes a fault.
func Faultf(code, format string, args ...any) *Fault {
	return &Fault{Code: code, Message: fmt.Sprintf(format, args...)}
}

// IsFault tells whether err is, or wraps, a fault of this code.
func IsFault(err error, code string) bool {
	var f *Fault
	return errors.As(err, &f) && f.Code == code
}

// Kinds of failure that decide what happens next. Wrap them with %w.
var (
	// ErrAmbiguous: what is true cannot be told from here. Nothing is retried
	// or guessed; a person or new evidence has to settle it.
	ErrAmbiguous = errors.New("the state is ambiguous")
	// ErrPermanent: trying again cannot help, the input itself is at fault.
	ErrPermanent = errors.New("trying again cannot help")
	// ErrTorn: a node of a cluster takes itself for a primary and follows another one
	// all the same. No command turns it round; it has to be started anew.
	ErrTorn = errors.New("the node takes itself for a primary and for a replica at once")
)
