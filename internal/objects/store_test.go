package objects_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/objects/gateway"
)

const childArg = "s3-child-of-the-test"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		if err := gateway.Main(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Every step reads every object back; the command line may ask for more.
	if err := flag.Set("rapid.checks", "12"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func newPool(t testing.TB) (*gateway.Pool, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	p, err := gateway.NewPool(gateway.Options{
		Root: root, Command: []string{exe, childArg}, Account: "000000000000",
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, root
}

func newBucket(t testing.TB) *s3.Client {
	t.Helper()
	p, _ := newPool(t)
	c := p.Client("us-east-1")
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")}); err != nil {
		t.Fatal(err)
	}
	return c
}

// everyStore runs f on each implementation. A new kind of store is one line here.
func everyStore(t *testing.T, f func(t *testing.T, s objects.Store)) {
	t.Run("dir", func(t *testing.T) {
		s, err := objects.Dir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		f(t, s)
	})
	t.Run("s3", func(t *testing.T) { f(t, objects.S3(newBucket(t), "bucket", "")) })
	t.Run("s3 prefix", func(t *testing.T) { f(t, objects.S3(newBucket(t), "bucket", "some/prefix-")) })
}

func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func keys(t *testing.T, s objects.Store, prefix string) []string {
	t.Helper()
	got := []string{}
	for info, err := range s.List(limited(t), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Key)
	}
	return got
}

func read(t *testing.T, s objects.Store, key string, offset int64) []byte {
	t.Helper()
	r, _, err := s.Open(limited(t), key, offset)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// Sizes around one part, several parts, and nothing at all.
func TestPutAndRead(t *testing.T) {
	everyStore(t, func(t *testing.T, s objects.Store) {
		ctx := limited(t)
		for _, n := range []int{0, 1, 1000, 8<<20 - 1, 8 << 20, 8<<20 + 1, 20 << 20} {
			key, body := fmt.Sprintf("dir/of size %d+é.rdb", n), random(n)
			info, err := objects.Put(ctx, s, key, onlyReader{bytes.NewReader(body)}, objects.PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if info.Key != key || info.Size != int64(n) || info.SHA256 != sum(body) || info.ETag == "" || time.Since(info.ModTime) > time.Minute {
				t.Errorf("%d bytes: %+v", n, info)
			}
			st, err := s.Stat(ctx, key)
			info.SHA256 = ""
			if err != nil || !cmp.Equal(st, info) {
				t.Errorf("Stat: %+v %v, want %+v", st, err, info)
			}
			for _, offset := range []int{0, n / 3, n} {
				r, at, err := s.Open(ctx, key, int64(offset))
				if err != nil || !cmp.Equal(at, info) {
					t.Fatalf("Open at %d: %+v %v, want %+v", offset, at, err, info)
				}
				got, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(r, 100)))
				rest, rerr := io.ReadAll(r)
				if err := errors.Join(err, rerr, r.Close()); err != nil || !bytes.Equal(append(got, rest...), body[offset:]) {
					t.Errorf("%d bytes at %d: %v, %d bytes", n, offset, err, len(got)+len(rest))
				}
			}
			if _, _, err := s.Open(ctx, key, int64(n)+1); err == nil {
				t.Errorf("%d bytes: opened beyond the end", n)
			}
		}
		if _, _, err := s.Open(ctx, "dir", 0); !errors.Is(err, objects.ErrNotExist) {
			t.Errorf("a prefix opened as an object: %v", err)
		}
	})
}

type onlyReader struct{ io.Reader }

func TestMissing(t *testing.T) {
	everyStore(t, func(t *testing.T, s objects.Store) {
		ctx := limited(t)
		if _, err := s.Stat(ctx, "none"); !errors.Is(err, objects.ErrNotExist) {
			t.Errorf("Stat: %v", err)
		}
		if _, _, err := s.Open(ctx, "none/at all", 0); !errors.Is(err, objects.ErrNotExist) {
			t.Errorf("Open: %v", err)
		}
		if err := s.Delete(ctx, "none"); err != nil {
			t.Errorf("Delete: %v", err)
		}
		if got := keys(t, s, ""); len(got) != 0 {
			t.Errorf("List: %v", got)
		}
		for _, bad := range []string{"", strings.Repeat("k", 1025)} {
			if _, err := s.Create(ctx, bad, objects.PutOptions{}); !errors.Is(err, objects.ErrBadKey) {
				t.Errorf("Create %q: %v", bad, err)
			}
		}
	})
}

func TestListAndDelete(t *testing.T) {
	everyStore(t, func(t *testing.T, s objects.Store) {
		ctx := limited(t)
		all := []string{"a", "a-b", "a.b/c", "b/1", "b/2", "b/c/d", "b0"}
		for _, k := range []string{"b/2", "a", "b0", "a.b/c", "b/c/d", "a-b", "b/1"} {
			if _, err := objects.Put(ctx, s, k, strings.NewReader(k), objects.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(all, keys(t, s, "")); diff != "" {
			t.Errorf("all (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"b/1", "b/2", "b/c/d"}, keys(t, s, "b/")); diff != "" {
			t.Errorf("b/ (-want +got):\n%s", diff)
		}
		for range s.List(ctx, "") {
			break // ending early is allowed
		}
		for _, k := range []string{"b/c/d", "b/1", "b", "a"} {
			if err := s.Delete(ctx, k); err != nil {
				t.Error(err)
			}
		}
		if diff := cmp.Diff([]string{"a-b", "a.b/c", "b/2", "b0"}, keys(t, s, "")); diff != "" {
			t.Errorf("after deletes (-want +got):\n%s", diff)
		}
	})
}

func TestReplace(t *testing.T) {
	everyStore(t, func(t *testing.T, s objects.Store) {
		ctx := limited(t)
		first, err := objects.Put(ctx, s, "k", strings.NewReader("first"), objects.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		second, err := objects.Put(ctx, s, "k", strings.NewReader("second"), objects.PutOptions{})
		if err != nil || second.ETag == first.ETag {
			t.Errorf("replaced: %+v %v", second, err)
		}
		_, err = objects.Put(ctx, s, "k", strings.NewReader("third"), objects.PutOptions{IfAbsent: true})
		if !errors.Is(err, objects.ErrExist) {
			t.Errorf("IfAbsent over an object: %v", err)
		}
		if got := read(t, s, "k", 0); string(got) != "second" {
			t.Errorf("got %q", got)
		}
	})
}

// Of many writers that all saw the key free, exactly one wins, whole.
func TestIfAbsentRace(t *testing.T) {
	everyStore(t, func(t *testing.T, s objects.Store) {
		for _, size := range []int{100, 9 << 20} {
			raceIfAbsent(t, s, fmt.Sprintf("raced/%d", size), size)
		}
	})
}

func raceIfAbsent(t *testing.T, s objects.Store, key string, size int) {
	t.Helper()
	ctx := limited(t)
	const writers = 4
	var open []objects.Writer
	for i := range writers {
		w, err := s.Create(ctx, key, objects.PutOptions{IfAbsent: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte{byte('a' + i)}, size)); err != nil {
			t.Fatal(err)
		}
		open = append(open, w)
	}
	errs := make([]error, writers)
	var wait sync.WaitGroup
	for i, w := range open {
		wait.Go(func() { _, errs[i] = w.Commit(ctx) })
	}
	wait.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("%s: writers %d and %d both won", key, winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, objects.ErrExist):
			t.Errorf("%s: a loser got %v", key, err)
		}
	}
	if winner < 0 {
		t.Fatalf("%s: nobody won", key)
	}
	if got := read(t, s, key, 0); !bytes.Equal(got, bytes.Repeat([]byte{byte('a' + winner)}, size)) {
		t.Errorf("%s: the object is not the winner's", key)
	}
}

func TestNothingPartial(t *testing.T) {
	everyStore(t, func(t *testing.T, s objects.Store) {
		ctx := limited(t)
		broken := errors.New("the source broke")
		for _, n := range []int{10, 20 << 20} {
			src := io.MultiReader(bytes.NewReader(random(n)), iotest.ErrReader(broken))
			if _, err := objects.Put(ctx, s, "k", src, objects.PutOptions{}); !errors.Is(err, broken) {
				t.Errorf("Put of a broken source: %v", err)
			}
			w, err := s.Create(ctx, "k", objects.PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(random(n)); err != nil {
				t.Fatal(err)
			}
			if got := keys(t, s, ""); len(got) != 0 {
				t.Errorf("visible before Commit: %v", got)
			}
			if err := errors.Join(w.Abort(), w.Abort()); err != nil {
				t.Error(err)
			}
			if _, err := w.Commit(ctx); err == nil {
				t.Error("Commit after Abort succeeded")
			}
			cancelled(t, s, n)
			if got := keys(t, s, ""); len(got) != 0 {
				t.Errorf("left behind: %v", got)
			}
		}
	})
}

func cancelled(t *testing.T, s objects.Store, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(limited(t))
	w, err := s.Create(ctx, "k", objects.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(random(n)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := w.Write(random(1)); n > 100 && !errors.Is(err, context.Canceled) {
		t.Errorf("Write after the context ended: %v", err)
	}
	if _, err := w.Commit(limited(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit after the context ended: %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
}

func TestAbortAfterCommit(t *testing.T) {
	everyStore(t, func(t *testing.T, s objects.Store) {
		ctx := limited(t)
		w, err := s.Create(ctx, "k", objects.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "kept"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		if err := w.Abort(); err != nil {
			t.Error(err)
		}
		if _, err := w.Commit(ctx); err == nil {
			t.Error("a second Commit succeeded")
		}
		if _, err := w.Write([]byte("x")); err == nil {
			t.Error("Write after Commit succeeded")
		}
		if got := read(t, s, "k", 0); string(got) != "kept" {
			t.Errorf("got %q", got)
		}
	})
}

// A reader goes on with the version that it opened, or says that it cannot.
func TestReadWhileReplaced(t *testing.T) {
	everyStore(t, func(t *testing.T, s objects.Store) {
		ctx := limited(t)
		old := random(12 << 20)
		if _, err := objects.Put(ctx, s, "k", bytes.NewReader(old), objects.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		r, _, err := s.Open(ctx, "k", 0)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1000)
		if _, err := io.ReadFull(r, got); err != nil {
			t.Fatal(err)
		}
		if _, err := objects.Put(ctx, s, "k", strings.NewReader("new"), objects.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(r)
		if cerr := r.Close(); cerr != nil {
			t.Error(cerr)
		}
		if err != nil && !errors.Is(err, objects.ErrChanged) || err == nil && !bytes.Equal(append(got, rest...), old) {
			t.Errorf("%d bytes, %v", len(rest), err)
		}
	})
}

// Random operations against a map.
func TestModel(t *testing.T) {
	everyStore(t, func(t *testing.T, s objects.Store) {
		model := map[string]string{}
		rapid.Check(t, func(r *rapid.T) {
			key := rapid.SampledFrom([]string{"a", "b", "c/1", "c/2", "c/d/3"})
			r.Repeat(map[string]func(*rapid.T){
				"put": func(r *rapid.T) {
					k, v := key.Draw(r, "key"), rapid.StringN(0, 20, 40).Draw(r, "value")
					absent := rapid.Bool().Draw(r, "absent")
					_, err := objects.Put(t.Context(), s, k, strings.NewReader(v), objects.PutOptions{IfAbsent: absent})
					if _, there := model[k]; absent && there {
						if !errors.Is(err, objects.ErrExist) {
							r.Fatalf("put of %s: %v", k, err)
						}
						return
					}
					if err != nil {
						r.Fatal(err)
					}
					model[k] = v
				},
				"delete": func(r *rapid.T) {
					k := key.Draw(r, "key")
					if err := s.Delete(t.Context(), k); err != nil {
						r.Fatal(err)
					}
					delete(model, k)
				},
				"": func(r *rapid.T) {
					got := map[string]string{}
					for info, err := range s.List(t.Context(), "") {
						if err != nil {
							r.Fatal(err)
						}
						got[info.Key] = string(read(t, s, info.Key, 0))
					}
					if diff := cmp.Diff(model, got); diff != "" {
						r.Fatalf("(-want +got):\n%s", diff)
					}
				},
			})
		})
	})
}
