package resp

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Kind is the first byte of a reply on the wire.
type Kind byte

// The kinds of replies. Streamed forms ("$?", "*?"), which no server sends, are refused.
const (
	Simple    Kind = '+'
	Err       Kind = '-'
	Int       Kind = ':'
	Bulk      Kind = '$'
	Array     Kind = '*'
	Null      Kind = '_'
	Double    Kind = ','
	Bool      Kind = '#'
	BulkErr   Kind = '!'
	Verbatim  Kind = '='
	BigNumber Kind = '('
	Map       Kind = '%'
	Set       Kind = '~'
	Push      Kind = '>'
	attribute Kind = '|'
)

// Reply is one reply. It is valid until the next one is read.
type Reply struct {
	// Kind is the kind on the wire, but Null for RESP2's null bulk and null array.
	Kind Kind
	// Int is the value of an Int, and 1 or 0 for a Bool.
	Int int64
	// Bytes is the text of a Simple, Err, Bulk, BulkErr, Verbatim, Double or BigNumber.
	// Of a Verbatim it leaves out the format ("txt:"). It is nil where Spilled has the text.
	Bytes []byte
	// Elems are the elements of an Array, Set or Push; of a Map key, value, key, value.
	Elems []Reply

	// While a reply is being read: where the bytes are, relative to the start of
	// the reply, or where the elements are in the next level.
	at, n   int
	spilled *io.SectionReader
}

// Err returns a ServerError when the reply is an error, else nil.
func (r *Reply) Err() error {
	if r.Kind != Err && r.Kind != BulkErr {
		return nil
	}
	return &ServerError{Text: string(r.Bytes)}
}

// IsNull tells whether the reply is a null of any form.
func (r *Reply) IsNull() bool { return r.Kind == Null }

// Number returns the integer that the reply is, or holds in decimal.
func (r *Reply) Number() (int64, error) {
	switch r.Kind {
	case Int, Bool:
		return r.Int, nil
	case Bulk, Simple, BigNumber, Verbatim:
		n, err := strconv.ParseInt(string(r.Bytes), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("cannot read the reply as a number: %w", err)
		}
		return n, nil
	}
	return 0, fmt.Errorf("cannot read the reply as a number: it is %s", r.Kind)
}

// String names the kind for messages.
func (k Kind) String() string {
	switch k {
	case Simple, Bulk, Verbatim:
		return "a string"
	case Err, BulkErr:
		return "an error"
	case Int, BigNumber, Double:
		return "a number"
	case Array, Set, Push:
		return "an array"
	case Map:
		return "a map"
	case Null:
		return "null"
	case Bool:
		return "a boolean"
	}
	return fmt.Sprintf("of kind %q", byte(k))
}

// ServerError is an error reply: the server is well and refused the command.
type ServerError struct {
	// Text is what the server said, its code first: "NOAUTH Authentication required."
	Text string
}

// Error returns the server's own words.
func (e *ServerError) Error() string { return e.Text }

// Code is the first word of the text: ERR, NOAUTH, NOPERM, BUSYKEY.
func (e *ServerError) Code() string {
	code, _, _ := strings.Cut(e.Text, " ")
	return code
}

// IsServerError tells whether err is an error reply with one of the codes; with
// no codes, whether it is an error reply at all.
func IsServerError(err error, codes ...string) bool {
	var se *ServerError
	if !errors.As(err, &se) {
		return false
	}
	for _, c := range codes {
		if se.Code() == c {
			return true
		}
	}
	return len(codes) == 0
}

// UnknownCommand tells whether err says that the server does not know the
// command, its subcommand or an option of it: an older server, or a managed one
// that hides it.
func UnknownCommand(err error) bool {
	var se *ServerError
	if !errors.As(err, &se) {
		return false
	}
	t := strings.ToLower(se.Text)
	return strings.Contains(t, "unknown command") || strings.Contains(t, "unknown subcommand") ||
		strings.Contains(t, "unrecognized") || strings.Contains(t, "syntax error")
}
