package bridge

import (
	"bytes"
	"errors"
	"fmt"
)

var errStream = errors.New("the replication stream is not one")

// maxArgs bounds what a command may claim to consist of.
const maxArgs = 1 << 24

// frame splits the first command off a stream. n is its length with everything that
// frames it, 0 if not all of it is there yet. The arguments are parts of buf.
func frame(buf []byte, args [][]byte) (_ [][]byte, n int, err error) {
	args = args[:0]
	if len(buf) == 0 {
		return args, 0, nil
	}
	count, at, err := header(buf, 0, '*')
	if err != nil || at == 0 {
		return args, 0, err
	}
	if count < 1 || count > maxArgs {
		return args, 0, fmt.Errorf("%w: a command of %d arguments", errStream, count)
	}
	for range count {
		size, next, err := header(buf, at, '$')
		if err != nil || next == 0 {
			return args, 0, err
		}
		end := next + size
		if size < 0 || len(buf) < end+2 {
			if size < 0 {
				err = fmt.Errorf("%w: an argument of %d bytes", errStream, size)
			}
			return args, 0, err
		}
		args = append(args, buf[next:end:end])
		at = end + 2
	}
	return args, at, nil
}

// header reads "*3\r\n" or "$5\r\n" at an offset; next is 0 if not all of it is there.
func header(buf []byte, at int, kind byte) (n, next int, err error) {
	if at >= len(buf) {
		return 0, 0, nil
	}
	if buf[at] != kind {
		return 0, 0, fmt.Errorf("%w: %q where %q was due", errStream, buf[at], kind)
	}
	line := bytes.IndexByte(buf[at:min(len(buf), at+24)], '\n')
	if line < 0 {
		if len(buf)-at >= 24 {
			err = fmt.Errorf("%w: a number that does not end", errStream)
		}
		return 0, 0, err
	}
	digits := buf[at+1 : at+line]
	if len(digits) < 2 || digits[len(digits)-1] != '\r' || len(digits) > 12 {
		return 0, 0, fmt.Errorf("%w: a number %q", errStream, digits)
	}
	for _, d := range digits[:len(digits)-1] {
		if d < '0' || d > '9' {
			return 0, 0, fmt.Errorf("%w: a number %q", errStream, digits)
		}
		n = n*10 + int(d-'0')
	}
	return n, at + line + 1, nil
}
