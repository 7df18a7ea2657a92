package objects

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"math/bits"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

const (
	// Parts begin at 8 MiB and double every 2,000, so that 10,000 of them make an
	// object of 484 GiB while small ones stay cheap in memory.
	firstPart     = 8 << 20
	partsPerSize  = 2000
	maxParts      = 10000
	partsInFlight = 3
	abortTime     = 30 * time.Second

	// markHeader is user metadata: a random mark by which a writer knows its own
	// object again, when the answer to a conditional write was lost and the
	// repetition is refused because of the first.
	// The writer's owner may choose it, to know the object again in another process.
	markHeader = "holdfast-writer"
)

func (b *bucketStore) Create(ctx context.Context, key string, opts PutOptions) (Writer, error) {
	name, err := b.name(key)
	if err != nil {
		return nil, err
	}
	if opts.IfAbsent {
		if _, err := b.Stat(ctx, key); err == nil {
			return nil, fmt.Errorf("cannot create object %s: %w", key, ErrExist)
		} else if !errors.Is(err, ErrNotExist) {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(partsInFlight)
	return &bucketWriter{
		store: b, key: key, name: name, opts: opts, mark: cmp.Or(opts.Mark, rand.Text()), sum: sha256.New(), crc: crc64.New(nvme),
		checked: b.client.Options().RequestChecksumCalculation != aws.RequestChecksumCalculationWhenRequired,
		group:   group, ctx: func() context.Context { return gctx },
		base: func() context.Context { return ctx },
	}, nil
}

// bucketWriter sends one PutObject when the object fits into the first part, and
// a multipart upload otherwise.
type bucketWriter struct {
	store *bucketStore
	key   string
	name  *string
	opts  PutOptions
	mark  string
	sum   hash.Hash
	crc   hash.Hash64
	size  int64
	etag  string // as the service answered

	group *errgroup.Group
	ctx   func() context.Context // of the parts: ends with the first failure
	base  func() context.Context // of Create
	buf   []byte
	free  chan []byte // parts that have been sent
	id    *string     // of the multipart upload, nil before the first full part
	// checked is whether the service is told CRC64NVME, of each part and of the whole
	// object, so that it refuses what did not arrive as it was written.
	checked bool
	parts   []*types.CompletedPart
	done    bool
}

func partSize(n int) int { return firstPart << (n / partsPerSize) }

func (w *bucketWriter) Write(p []byte) (int, error) {
	if w.done {
		return 0, fmt.Errorf("cannot write object %s: %w", w.key, os.ErrClosed)
	}
	written := 0
	for len(p) > 0 {
		if err := w.ctx().Err(); err != nil {
			return written, w.broken()
		}
		n := min(len(p), partSize(len(w.parts))-len(w.buf))
		w.room(n)
		w.buf = append(w.buf, p[:n]...)
		w.sum.Write(p[:n])
		w.size += int64(n)
		written += n
		p = p[n:]
		if len(w.buf) == partSize(len(w.parts)) {
			if err := w.flush(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// room makes place for n more bytes. Small objects stay small; what grows beyond
// 1 MiB gets a whole part at once, a used one if there is one.
func (w *bucketWriter) room(n int) {
	if need := len(w.buf) + n; need <= cap(w.buf) || need <= 1<<20 {
		return
	}
	want := partSize(len(w.parts))
	select {
	case b := <-w.free:
		if cap(b) >= want {
			w.buf = append(b[:0], w.buf...)
			return
		}
	default:
	}
	w.buf = append(make([]byte, 0, want), w.buf...)
}

// broken tells why the parts' context ended: the failed part's own error.
func (w *bucketWriter) broken() error {
	if err := w.base().Err(); err != nil {
		return err
	}
	return w.group.Wait()
}

// flush hands the buffered part to an uploader, waiting for a free one.
func (w *bucketWriter) flush() error {
	if w.id == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	if len(w.parts) == maxParts {
		return fmt.Errorf("cannot write object %s: it is larger than %d bytes", w.key, w.size)
	}
	body := w.buf
	w.buf = nil
	w.crc.Write(body)
	part := &types.CompletedPart{PartNumber: aws.Int32(int32(len(w.parts) + 1))}
	w.parts = append(w.parts, part)
	w.group.Go(func() error { return w.upload(body, part) })
	return nil
}

// upload sends one part and fills in what the completion must name.
func (w *bucketWriter) upload(body []byte, part *types.CompletedPart) error {
	in := &s3.UploadPartInput{
		Bucket: &w.store.bucket, Key: w.name, UploadId: w.id,
		PartNumber: part.PartNumber, Body: bytes.NewReader(body),
	}
	if w.checked {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc64nvme
	}
	out, err := w.store.client.UploadPart(w.ctx(), in)
	if err != nil {
		return w.store.fault("write", w.key, err)
	}
	part.ETag, part.ChecksumCRC64NVME = out.ETag, out.ChecksumCRC64NVME
	select {
	case w.free <- body:
	default:
	}
	return nil
}

func (w *bucketWriter) begin() error {
	begun := Upload{Key: w.key, At: time.Now()}
	if err := w.note(begun); err != nil {
		return err
	}
	in := &s3.CreateMultipartUploadInput{
		Bucket: &w.store.bucket, Key: w.name, Metadata: map[string]string{markHeader: w.mark},
	}
	if w.checked {
		in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithmCrc64nvme, types.ChecksumTypeFullObject
	}
	out, err := w.store.client.CreateMultipartUpload(w.ctx(), in)
	if err != nil {
		return w.store.fault("create", w.key, err)
	}
	w.id = out.UploadId
	begun.ID = aws.ToString(w.id)
	return w.note(begun)
}

func (w *bucketWriter) note(u Upload) error {
	if w.opts.Note == nil {
		return nil
	}
	if err := w.opts.Note(w.ctx(), u); err != nil {
		return fmt.Errorf("cannot note the upload of object %s: %w", w.key, err)
	}
	return nil
}

// Abort gives up what was uploaded, also when the writer's own context has ended.
func (w *bucketWriter) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	_ = w.group.Wait() // its error has been, or is now, beside the point
	w.buf = nil
	if w.id == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.base()), abortTime)
	defer cancel()
	return w.store.abort(ctx, w.name, aws.ToString(w.id))
}

func (w *bucketWriter) Commit(ctx context.Context) (Info, error) {
	if w.done {
		return Info{}, fmt.Errorf("cannot commit object %s: %w", w.key, os.ErrClosed)
	}
	err := ctx.Err()
	if err == nil {
		err = w.finish(ctx)
	}
	if err != nil {
		return Info{}, joinAbort(err, w)
	}
	w.done = true
	w.buf = nil
	info, err := w.store.Stat(ctx, w.key)
	switch {
	case err != nil, info.Mark != w.mark:
		// It is stored; it just cannot be looked at, or somebody has replaced it since.
		info = Info{Key: w.key, Size: w.size, ETag: w.etag, ModTime: time.Now()}
	case info.Size != w.size:
		err := fmt.Errorf("cannot commit object %s: %d bytes were written and %d arrived", w.key, w.size, info.Size)
		return Info{}, errors.Join(err, w.store.Delete(ctx, w.key))
	}
	info.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	return info, nil
}

// finish sends what is left and makes the object visible.
func (w *bucketWriter) finish(ctx context.Context) error {
	if err := w.base().Err(); err != nil {
		return err
	}
	send := w.putWhole
	if w.id != nil {
		if len(w.buf) > 0 {
			if err := w.flush(); err != nil {
				return err
			}
		}
		send = w.complete
	}
	if err := w.group.Wait(); err != nil {
		return err
	}
	condition := (*string)(nil)
	if w.opts.IfAbsent {
		condition = aws.String("*")
	}
	err := send(ctx, condition)
	for try := 0; err != nil && try < 5; try++ {
		code, status, _ := s3Error(err)
		switch {
		case w.landed(ctx, code, status):
			return nil
		case status == http.StatusConflict && condition != nil:
			// Another conditional write of this key is under way: the answer to ours
			// is known when that one has ended.
			if err := pause(ctx, time.Duration(try+1)*100*time.Millisecond); err != nil {
				return err
			}
		case condition != nil && (code == "NotImplemented" || status == http.StatusNotImplemented):
			if condition, err = nil, w.absent(ctx); err != nil {
				return err
			}
		default:
			return w.store.fault("commit", w.key, err)
		}
		err = send(ctx, condition)
	}
	return w.store.fault("commit", w.key, err)
}

// landed tells whether an object stands there by our own hand although the last
// answer was a failure: the refusal of a repetition whose first try had succeeded,
// or no answer at all.
func (w *bucketWriter) landed(ctx context.Context, code string, status int) bool {
	lost := status == 0 || status >= http.StatusInternalServerError
	if !lost && status != http.StatusPreconditionFailed && code != "NoSuchUpload" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	info, err := w.store.Stat(ctx, w.key)
	return err == nil && info.Mark == w.mark
}

// absent stands in for the condition where a service has none. It is not race-free.
func (w *bucketWriter) absent(ctx context.Context) error {
	_, err := w.store.Stat(ctx, w.key)
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	if err == nil {
		err = ErrExist
	}
	return fmt.Errorf("cannot commit object %s: %w", w.key, err)
}

func (w *bucketWriter) putWhole(ctx context.Context, condition *string) error {
	w.crc.Reset() // this may be a repetition
	w.crc.Write(w.buf)
	out, err := w.store.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &w.store.bucket, Key: w.name, Body: bytes.NewReader(w.buf), IfNoneMatch: condition,
		Metadata: map[string]string{markHeader: w.mark}, ChecksumCRC64NVME: w.whole(),
	})
	if err == nil {
		w.etag = unquote(out.ETag)
	}
	return err
}

// whole is the checksum of everything sent, as S3 spells it.
func (w *bucketWriter) whole() *string {
	if !w.checked {
		return nil
	}
	return aws.String(base64.StdEncoding.EncodeToString(w.crc.Sum(nil)))
}

// nvme is the table of CRC64NVME, its polynomial reversed as the standard library
// wants it.
var nvme = crc64.MakeTable(bits.Reverse64(0xad93d23594c93659))

func (w *bucketWriter) complete(ctx context.Context, condition *string) error {
	parts := make([]types.CompletedPart, len(w.parts))
	for i, p := range w.parts {
		parts[i] = *p
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &w.store.bucket, Key: w.name, UploadId: w.id, IfNoneMatch: condition,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}, ChecksumCRC64NVME: w.whole(),
	}
	if w.checked {
		in.ChecksumType = types.ChecksumTypeFullObject
	}
	out, err := w.store.client.CompleteMultipartUpload(ctx, in)
	if err == nil {
		w.etag = unquote(out.ETag)
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
