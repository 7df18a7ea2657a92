package front_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"holdfast.dev/internal/objects"
)

const benchSize = 200 << 20

// BenchmarkTransfer compares a put and a get of 200 MB through front and child with
// writing (and syncing) and reading a plain file on the same disk. It also reports
// the child's peak memory in MB.
func BenchmarkTransfer(b *testing.B) {
	s := newService(b)
	s.bucket(b, near, "one")
	s.bucket(b, far, "two")
	body := random(benchSize)
	c := s.client(b, near)
	plain := filepath.Join(s.root, "plain")
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
			if mb := peak(s.pool.PIDs()[near]); mb > 0 {
				b.ReportMetric(mb, "MB-child")
			}
		})
	}
	run("file write+sync", func() error { return writeSynced(plain, body) })
	run("file read", func() error { _, err := os.ReadFile(plain); return err })
	run("front put", func() error {
		_, err := c.PutObject(b.Context(), &s3.PutObjectInput{Bucket: aws.String("one"), Key: aws.String("k"), Body: bytes.NewReader(body)})
		return err
	})
	run("front get", func() error {
		out, err := c.GetObject(b.Context(), &s3.GetObjectInput{Bucket: aws.String("one"), Key: aws.String("k")})
		if err != nil {
			return err
		}
		defer func() { _ = out.Body.Close() }()
		_, err = io.Copy(io.Discard, out.Body)
		return err
	})
	run("cross-region copy", func() error {
		_, err := s.client(b, far).CopyObject(b.Context(), &s3.CopyObjectInput{Bucket: aws.String("two"), Key: aws.String("k"), CopySource: aws.String("one/k")})
		return err
	})
	store, err := s.pool.Buckets().Open(b.Context(), near, "one")
	if err != nil {
		b.Fatal(err)
	}
	run("store put", func() error {
		_, err := objects.Put(b.Context(), store, "s", bytes.NewReader(body), objects.PutOptions{})
		return err
	})
	run("store get", func() error {
		r, _, err := store.Open(b.Context(), "s", 0)
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }()
		_, err = io.Copy(io.Discard, r)
		return err
	})
}

func writeSynced(path string, body []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(body); err != nil {
		return err
	}
	return f.Sync()
}

// peak is the most memory that a process has held, in MB; 0 where that is not told.
func peak(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	var kb float64
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kb); err == nil {
			return kb / 1024
		}
	}
	return 0
}
