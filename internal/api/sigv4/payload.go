package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
)

// ErrPayload is what reading a body ends with when it is not the one that was signed.
var ErrPayload error = &Error{
	Code:    "XAmzContentSHA256Mismatch",
	Message: "The provided 'x-amz-content-sha256' header does not match what was computed.",
	Status:  http.StatusBadRequest,
}

// CheckBody returns body with its hash checked while it is read. A wrong one gives
// ErrPayload in place of the last bytes, so nobody can take it for whole. length
// is the body's length in bytes, -1 when it is not known.
func CheckBody(body io.ReadCloser, length int64, want string) io.ReadCloser {
	return &checked{body: body, left: length, hash: sha256.New(), want: want}
}

type checked struct {
	body io.ReadCloser
	left int64 // bytes still to come, negative when not known
	hash hash.Hash
	want string
	err  error
}

func (c *checked) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.body.Read(p)
	c.hash.Write(p[:n]) // never fails
	if c.left >= 0 {
		c.left -= int64(n)
	}
	if errors.Is(err, io.EOF) || c.left == 0 && n > 0 {
		if hex.EncodeToString(c.hash.Sum(nil)) != c.want {
			n, err = 0, ErrPayload
		}
	}
	c.err = err
	return n, err
}

func (c *checked) Close() error { return c.body.Close() }
