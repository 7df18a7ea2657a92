package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// bucketReader reads one version of an object. When a connection breaks it goes on
// from where it was, under If-Match, as long as each attempt gets further.
type bucketReader struct {
	store *bucketStore
	ctx   func() context.Context // of Open
	name  *string
	info  Info
	at    int64 // bytes of the object already handed out
	body  io.ReadCloser
	idle  int // broken connections since the last byte
	done  bool
}

const maxReadAttempts = 8

// connect asks for the object from r.at on. The first call fills r.info.
func (r *bucketReader) connect() error {
	in := &s3.GetObjectInput{Bucket: &r.store.bucket, Key: r.name}
	if r.info.ETag != "" {
		in.IfMatch = aws.String(strconv.Quote(r.info.ETag))
	}
	if r.at > 0 {
		in.Range = aws.String("bytes=" + strconv.FormatInt(r.at, 10) + "-")
	}
	out, err := r.store.client.GetObject(r.ctx(), in)
	if err != nil {
		return r.refused(err)
	}
	if r.at > 0 && out.ContentRange == nil {
		_ = out.Body.Close()
		return r.store.fault("open", r.info.Key, errors.New("the service ignored the range"))
	}
	r.body = out.Body
	if r.info.ETag == "" {
		r.info.Size = r.at + aws.ToInt64(out.ContentLength)
		r.info.ETag, r.info.ModTime = unquote(out.ETag), aws.ToTime(out.LastModified)
		r.info.Mark = out.Metadata[markHeader]
	}
	return nil
}

func (r *bucketReader) refused(err error) error {
	_, status, _ := s3Error(err)
	switch {
	case status == http.StatusPreconditionFailed, r.info.ETag != "" && status == http.StatusNotFound:
		return fmt.Errorf("cannot read object %s at %d: %w", r.info.Key, r.at, ErrChanged)
	case status == http.StatusRequestedRangeNotSatisfiable && r.info.ETag == "":
		return r.openAtEnd()
	}
	return r.store.fault("open", r.info.Key, err)
}

// openAtEnd tells an offset at the end, which S3 refuses and Store allows, from
// one beyond it.
func (r *bucketReader) openAtEnd() error {
	info, err := r.store.Stat(r.ctx(), r.info.Key)
	if err != nil {
		return err
	}
	if r.at != info.Size {
		return fmt.Errorf("cannot open object %s at %d: it has %d bytes", info.Key, r.at, info.Size)
	}
	r.info, r.body = info, http.NoBody
	return nil
}

func (r *bucketReader) Read(p []byte) (int, error) {
	for {
		if r.done {
			return 0, io.EOF
		}
		n, err := r.body.Read(p)
		r.at += int64(n)
		if n > 0 {
			r.idle = 0
		}
		switch {
		case r.at == r.info.Size && (err == nil || errors.Is(err, io.EOF)):
			// The SDK compares checksums at the end of the body, so the end must be read.
			r.done = errors.Is(err, io.EOF)
			return n, err
		case err == nil:
			return n, nil
		case r.at > r.info.Size:
			return n, fmt.Errorf("cannot read object %s: it is longer than announced", r.info.Key)
		case n > 0:
			return n, nil // the error comes again
		}
		if err := r.again(err); err != nil {
			return 0, err
		}
	}
}

// again connects anew after cause, or gives cause back when that cannot help.
func (r *bucketReader) again(cause error) error {
	_ = r.body.Close()
	r.body = http.NoBody
	r.idle++
	if err := r.ctx().Err(); err != nil {
		return err
	}
	if errors.Is(cause, io.EOF) {
		cause = io.ErrUnexpectedEOF
	}
	if r.idle > maxReadAttempts || r.at >= r.info.Size {
		return r.store.fault("read", r.info.Key, cause)
	}
	err := pause(r.ctx(), time.Duration(r.idle)*50*time.Millisecond)
	if err == nil {
		err = r.connect()
	}
	if status := statusOf(err); err != nil && (status == 0 || status >= 500) && r.ctx().Err() == nil {
		return nil // the next Read finds no body and comes here again
	}
	return err
}

func statusOf(err error) int {
	_, status, _ := s3Error(err)
	return status
}

func (r *bucketReader) Close() error {
	r.done = true
	return r.body.Close()
}
