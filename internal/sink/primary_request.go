package sink

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// What a replica says is short. Whoever says more is none.
const (
	maxRequestArgs  = 32
	maxRequestBytes = 4096
	maxRequestLine  = 64
)

var errRequest = errors.New("that is not what a replica says")

// readRequest reads a command of a replica. A replica that is busy sends
// newlines to show that it is alive; they are passed over.
func readRequest(r *bufio.Reader) ([]string, error) {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		if b == '*' {
			break
		}
		if b != '\n' && b != '\r' {
			return nil, errRequest
		}
	}
	n, err := requestNumber(r, maxRequestArgs)
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	left := maxRequestBytes
	for i := range args {
		if args[i], err = requestArg(r, left); err != nil {
			return nil, err
		}
		left -= len(args[i])
	}
	if n == 0 {
		return nil, errRequest
	}
	return args, nil
}

// requestArg reads one argument of at most so many bytes.
func requestArg(r *bufio.Reader, limit int) (string, error) {
	b, err := r.ReadByte()
	if err != nil {
		return "", err
	}
	if b != '$' {
		return "", errRequest
	}
	n, err := requestNumber(r, limit)
	if err != nil {
		return "", err
	}
	buf := make([]byte, n+2)
	if _, err := io.ReadFull(r, buf); err != nil {
		return "", err
	}
	if string(buf[n:]) != "\r\n" {
		return "", errRequest
	}
	return string(buf[:n]), nil
}

// requestNumber reads a number up to the end of its line.
func requestNumber(r *bufio.Reader, limit int) (int, error) {
	var line []byte
	for {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		if b == '\n' {
			break
		}
		if line = append(line, b); len(line) > maxRequestLine {
			return 0, errRequest
		}
	}
	if len(line) == 0 || line[len(line)-1] != '\r' {
		return 0, errRequest
	}
	n, err := strconv.Atoi(string(line[:len(line)-1]))
	if err != nil || n < 0 {
		return 0, errRequest
	}
	if n > limit {
		return 0, fmt.Errorf("%w: %d is too much", errRequest, n)
	}
	return n, nil
}
