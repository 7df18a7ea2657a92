package front

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"math/bits"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// upload is one PUT of ours to a child: an object or a part, of known size.
type upload struct {
	url       *url.URL
	header    http.Header
	body      io.Reader
	size      int64
	algorithm string // of the checksum that follows the body; empty for none
}

// upload streams u and returns the headers of the child's answer. When the source fails on
// the way the request is broken off, and nothing is stored.
func (d *door) upload(r *http.Request, region string, u upload) (http.Header, *fault) {
	payload := "UNSIGNED-PAYLOAD"
	body, length := u.body, u.size
	if u.algorithm != "" {
		payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
		t := newTrailed(u.body, u.size, u.algorithm)
		body, length = t, t.length()
		u.header.Set("X-Amz-Decoded-Content-Length", strconv.FormatInt(u.size, 10))
		u.header.Set("X-Amz-Trailer", t.name)
	}
	out := (&http.Request{
		Method: http.MethodPut, URL: u.url, Header: u.header, Body: io.NopCloser(body), ContentLength: length,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(r.Context())
	if length == 0 {
		out.Body = http.NoBody
	}
	if err := d.sign(r.Context(), out, region, payload); err != nil {
		return nil, d.internal(r, err)
	}
	resp, err := d.pool.RoundTrip(region, out)
	if err != nil {
		return nil, d.unavailable(r, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, d.unavailable(r, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Header, nil
	}
	f := newFault(resp.StatusCode, "InternalError", "We encountered an internal error. Please try again.")
	var told fault
	if err := xml.Unmarshal(answer, &told); err == nil && told.Code != "" {
		told.status = resp.StatusCode
		f = &told
	}
	return nil, f
}

// nvme is the polynomial of CRC64NVME, reversed as the standard library wants it.
var nvme = crc64.MakeTable(bits.Reverse64(0xad93d23594c93659))

// newSum returns the hash of an S3 checksum algorithm, or nil.
func newSum(algorithm string) hash.Hash {
	switch algorithm {
	case "CRC32":
		return crc32.NewIEEE()
	case "CRC32C":
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case "CRC64NVME":
		return crc64.New(nvme)
	case "SHA1":
		return sha1.New()
	case "SHA256":
		return sha256.New()
	}
	return nil
}

// trailed encodes a body as aws-chunked with its checksum behind it, so that the
// checksum is computed on the way and the child still compares it.
type trailed struct {
	src  io.Reader
	sum  hash.Hash
	name string // header of the checksum
	left int64  // bytes of src still to come
	size int64
	out  []byte // encoded and not yet read
	buf  []byte
	done bool
}

const chunkSize = 1 << 20

func newTrailed(src io.Reader, size int64, algorithm string) *trailed {
	return &trailed{
		src: src, sum: newSum(algorithm), name: "x-amz-checksum-" + strings.ToLower(algorithm),
		left: size, size: size, buf: make([]byte, 0, chunkSize+64),
	}
}

// length is that of the whole encoded body in bytes.
func (t *trailed) length() int64 {
	frame := func(n int64) int64 { return int64(len(strconv.FormatInt(n, 16))) + 2 + n + 2 }
	total := t.size / chunkSize * frame(chunkSize)
	if rest := t.size % chunkSize; rest > 0 {
		total += frame(rest)
	}
	return total + int64(len("0\r\n")+len(t.name)+len(":")+base64.StdEncoding.EncodedLen(t.sum.Size())+len("\r\n\r\n"))
}

func (t *trailed) Read(p []byte) (int, error) {
	if len(t.out) == 0 {
		if t.done {
			return 0, io.EOF
		}
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}

// fill encodes the next chunk, or the trailer once the source has ended where it
// should.
func (t *trailed) fill() error {
	if t.left == 0 {
		// The end of the source is where its own checksums are compared.
		if n, err := io.ReadFull(t.src, make([]byte, 1)); n != 0 || err != io.EOF {
			return fmt.Errorf("cannot copy: the source does not end where it should: %w", err)
		}
		t.done = true
		t.out = fmt.Appendf(t.buf[:0], "0\r\n%s:%s\r\n\r\n", t.name, base64.StdEncoding.EncodeToString(t.sum.Sum(nil)))
		return nil
	}
	n := min(t.left, chunkSize)
	b := append(strconv.AppendInt(t.buf[:0], n, 16), "\r\n"...)
	start := len(b)
	b = b[:start+int(n)]
	if _, err := io.ReadFull(t.src, b[start:]); err != nil {
		return fmt.Errorf("cannot copy: the source ended early: %w", err)
	}
	t.sum.Write(b[start:])
	t.left -= n
	t.out = append(b, "\r\n"...)
	return nil
}
