package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func benchS3(ctx context.Context, l *lab) (err error) {
	size := int64(200 << 20)
	if l.opt.quick {
		size /= 10
	}
	dir, err := l.mkdir("s3")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "object")
	if err := randomFile(file, size); err != nil {
		return err
	}
	s, err := l.serve(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	client := s.s3()
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		return err
	}
	target := filepath.Join(dir, "copy")
	got, err := l.alternate(ctx, l.opt.rounds,
		elapsed(func() error { return copyFile(file, target, false) }),
		elapsed(func() error { return copyFile(file, target, true) }),
		elapsed(func() error { return put(ctx, client, file) }),
		elapsed(func() error { return upload(ctx, client, file) }),
		elapsed(func() error { return get(ctx, client, target, size) }))
	if err != nil {
		return err
	}
	mb := size >> 20
	l.report.add(row{What: fmt.Sprintf("PutObject of %d MiB", mb), Bytes: size, Ours: got[2], LimitIs: "copy of the file, synced", Limit: got[1]})
	l.report.add(row{What: fmt.Sprintf("multipart upload of %d MiB", mb), Bytes: size, Ours: got[3], LimitIs: "copy of the file, synced", Limit: got[1]})
	l.report.add(row{What: fmt.Sprintf("GetObject of %d MiB to a file", mb), Bytes: size, Ours: got[4], LimitIs: "copy of the file", Limit: got[0]})
	return nil
}

const (
	bucket = "measured"
	object = "folder/object.rdb"
)

func randomFile(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{2}), size)
	return errors.Join(err, f.Close(), warm(path))
}

// plainly hides what would let the kernel copy without the program.
type plainly struct{ io.Writer }

func copyFile(from, to string, sync bool) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.CopyBuffer(plainly{out}, in, make([]byte, 1<<20)); err != nil || !sync {
		return err
	}
	return out.Sync()
}

func put(ctx context.Context, client *s3.Client, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(object), Body: f})
	return err
}

func upload(ctx context.Context, client *s3.Client, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = transfermanager.New(client).UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: aws.String(bucket), Key: aws.String(object), Body: f})
	return err
}

func get(ctx context.Context, client *s3.Client, path string, size int64) (err error) {
	got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(object)})
	if err != nil {
		return err
	}
	defer got.Body.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.CopyBuffer(plainly{f}, got.Body, make([]byte, 1<<20))
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes came back of %d", n, size)
	}
	return err
}
