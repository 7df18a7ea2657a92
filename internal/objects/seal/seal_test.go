package seal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"

	"holdfast.dev/internal/objects"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sealedKey = "here/s/0001.rdb.alias%2Fmine.age"

type place struct {
	*Store
	inner objects.Store
	files string
	keys  string
}

func newPlace(t testing.TB) *place {
	t.Helper()
	p := &place{files: filepath.Join(t.TempDir(), "files"), keys: filepath.Join(t.TempDir(), "keys")}
	inner, err := objects.Dir(p.files)
	if err != nil {
		t.Fatal(err)
	}
	p.inner, p.Store = inner, New(inner, NewKeyring(p.keys))
	return p
}

func content(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	if _, err := r.Read(b); err != nil {
		panic(err)
	}
	return b
}

func (p *place) put(t testing.TB, key string, b []byte) objects.Info {
	t.Helper()
	info, err := objects.Put(t.Context(), p, key, bytes.NewReader(b), objects.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func readAll(ctx context.Context, s objects.Store, key string, offset int64) ([]byte, objects.Info, error) {
	r, info, err := s.Open(ctx, key, offset)
	if err != nil {
		return nil, info, err
	}
	b, err := io.ReadAll(r)
	return b, info, errors.Join(err, r.Close())
}

func TestNames(t *testing.T) {
	for _, name := range []string{"alias/mine", "aws/elasticache", "a.b", "1234abcd-12ab-34cd-56ef-1234567890ab", strings.Repeat("x", 100)} {
		object := Object("here/s/0001.rdb", name)
		if plain, key, sealed := Parse(object); plain != "here/s/0001.rdb" || key != name || !sealed {
			t.Errorf("%s: %s is %s, sealed %v with %s", name, object, plain, sealed, key)
		}
		if strings.Count(object, "/") != 2 {
			t.Errorf("%s: the object %s has another directory", name, object)
		}
	}
	if o := Object("o", strings.Repeat("/", 256)); len(o) > 200 {
		t.Errorf("%d bytes are too many for the name of a file", len(o))
	}
	for _, plain := range []string{"here/s/0001.rdb", "here/s/0001.json", "a.b/.age", "age", "x.age"} {
		if _, _, sealed := Parse(plain); sealed {
			t.Errorf("%s is taken for sealed", plain)
		}
	}
}

func TestWhatIsSealedIsReadAgain(t *testing.T) {
	p := newPlace(t)
	for _, n := range []int{0, 1, 1000, chunkBytes - 1, chunkBytes, chunkBytes + 1, 5*chunkBytes + 7, 16 * chunkBytes} {
		want := content(n)
		sum := sha256.Sum256(want)
		if info := p.put(t, sealedKey, want); info.Size != int64(n) || info.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%d bytes: stored as %+v", n, info)
		}
		got, info, err := readAll(t.Context(), p, sealedKey, 0)
		if err != nil || !bytes.Equal(got, want) || info.Size != int64(n) {
			t.Errorf("%d bytes: %d come back, said to be %d: %v", n, len(got), info.Size, err)
		}
		if st, err := p.Stat(t.Context(), sealedKey); err != nil || st.Size != int64(n) {
			t.Errorf("%d bytes: Stat says %d, %v", n, st.Size, err)
		}
		for at := range p.List(t.Context(), "here/") {
			if at.Size != int64(n) {
				t.Errorf("%d bytes: List says %d", n, at.Size)
			}
		}
		if got, _, err := readAll(t.Context(), p, sealedKey, int64(n/2)); err != nil || !bytes.Equal(got, want[n/2:]) {
			t.Errorf("%d bytes from the middle: %v", n, err)
		}
	}
}

func TestWhatIsStoredShowsNothing(t *testing.T) {
	p := newPlace(t)
	want := bytes.Repeat([]byte("a secret "), 100_000)
	p.put(t, sealedKey, want)
	stored, _, err := readAll(t.Context(), p.inner, sealedKey, 0)
	if err != nil || bytes.Contains(stored, []byte("secret")) || !bytes.HasPrefix(stored, []byte("age-encryption.org/v1\n")) {
		t.Errorf("the file shows what is in it: %v", err)
	}
	p.put(t, "here/s/0001.json", want)
	if plain, _, err := readAll(t.Context(), p.inner, "here/s/0001.json", 0); err != nil || !bytes.Equal(plain, want) {
		t.Errorf("another object does not pass as it is: %v", err)
	}
	key := filepath.Join(p.keys, "here", "alias%2Fmine.json")
	for path, mode := range map[string]os.FileMode{key: 0o600, filepath.Dir(key): 0o700 | os.ModeDir} {
		if st, err := os.Stat(path); err != nil || st.Mode() != mode {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
}

func TestDamageIsFound(t *testing.T) {
	p := newPlace(t)
	p.put(t, sealedKey, content(3*chunkBytes+100))
	stored, _, err := readAll(t.Context(), p.inner, sealedKey, 0)
	if err != nil {
		t.Fatal(err)
	}
	damaged := func(what string, b []byte) {
		t.Helper()
		if _, err := objects.Put(t.Context(), p.inner, sealedKey, bytes.NewReader(b), objects.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readAll(t.Context(), p, sealedKey, 0); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrWrongKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, at := range []int{30, headerBytes - 1, headerBytes + 5, headerBytes + chunkBytes, len(stored) - 1} {
		b := bytes.Clone(stored)
		b[at] ^= 1
		damaged("a bit", b)
	}
	whole := chunkBytes + tagBytes
	for _, n := range []int{0, 10, headerBytes, headerBytes + whole, headerBytes + 3*whole, len(stored) - 1} {
		damaged("an end that is missing", stored[:n])
	}
	swapped := bytes.Clone(stored)
	copy(swapped[headerBytes:], stored[headerBytes+whole:headerBytes+2*whole])
	copy(swapped[headerBytes+whole:], stored[headerBytes:headerBytes+whole])
	damaged("chunks that changed places", swapped)
}

func TestAKeyThatIsMissingOrAnotherIsNamed(t *testing.T) {
	p := newPlace(t)
	p.put(t, sealedKey, content(10))
	path := filepath.Join(p.keys, "here", "alias%2Fmine.json")
	key, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, _, err = readAll(t.Context(), p, sealedKey, 0)
	if !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), "alias/mine of region here") || !strings.Contains(err.Error(), path) {
		t.Errorf("without its key: %v", err)
	}
	other := newPlace(t)
	other.put(t, sealedKey, content(10))
	if err := os.Rename(filepath.Join(other.keys, "here", "alias%2Fmine.json"), path); err != nil { // another key of the same name
		t.Fatal(err)
	}
	if _, _, err = readAll(t.Context(), p, sealedKey, 0); !errors.Is(err, ErrWrongKey) || !strings.Contains(err.Error(), "alias/mine") {
		t.Errorf("with another key: %v", err)
	}
	if err := os.WriteFile(path, []byte(`{"Identity":"AGE-SECRET-KEY-1NONSENSE"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err = readAll(t.Context(), p, sealedKey, 0); err == nil || strings.Contains(err.Error(), "NONSENSE") {
		t.Errorf("with a broken key: %v", err)
	}
	if err := os.WriteFile(path, key, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err = readAll(t.Context(), p, sealedKey, 0); err != nil {
		t.Errorf("with its key again: %v", err)
	}
}

// A line that breaks is no damage: another attempt may succeed.
type broken struct{ objects.Store }

var errBroken = errors.New("the line broke")

func (b broken) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, objects.Info, error) {
	in, info, err := b.Store.Open(ctx, key, offset)
	if err != nil {
		return nil, info, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(in, info.Size/2), iotest.ErrReader(errBroken)), in}, info, nil
}

func TestALineThatBreaksIsNoDamage(t *testing.T) {
	p := newPlace(t)
	for _, n := range []int{10, 3 * chunkBytes} {
		p.put(t, sealedKey, content(n))
		_, _, err := readAll(t.Context(), New(broken{p.inner}, NewKeyring(p.keys)), sealedKey, 0)
		if !errors.Is(err, errBroken) || errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// The first uses of a key, in two processes at a time, are of one key.
func TestTwoMakeOneKey(t *testing.T) {
	p := newPlace(t)
	var work sync.WaitGroup
	names := []string{"a", "b", "c", "d"}
	for _, n := range names {
		s := New(p.inner, NewKeyring(p.keys)) // as another process has it
		work.Go(func() {
			_, err := objects.Put(t.Context(), s, Object("here/"+n, "k"), strings.NewReader(n), objects.PutOptions{})
			if err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	for _, n := range names {
		if b, _, err := readAll(t.Context(), p, Object("here/"+n, "k"), 0); err != nil || string(b) != n {
			t.Errorf("%s: %q %v", n, b, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(p.keys, "here", ".new-*")); len(left) > 0 {
		t.Errorf("there are left %v", left)
	}
}

func TestAnAbortedObjectIsNone(t *testing.T) {
	p := newPlace(t)
	w, err := p.Create(t.Context(), sealedKey, objects.PutOptions{IfAbsent: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content(10)); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Stat(t.Context(), sealedKey); !errors.Is(err, objects.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
}

func BenchmarkSeal(b *testing.B) {
	p, data := newPlace(b), content(32<<20)
	b.Run("seal", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			p.put(b, sealedKey, data)
		}
	})
	b.Run("open", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			r, _, err := p.Open(b.Context(), sealedKey, 0)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				b.Fatal(err)
			}
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plain", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			p.put(b, "here/plain", data)
		}
	})
}

// A key that is lost is not drawn anew as long as something needs the old one.
func TestALostKeyIsNotReplaced(t *testing.T) {
	p := newPlace(t)
	p.put(t, sealedKey, content(1000))
	at := filepath.Join(p.keys, "here", "alias%2Fmine.json")
	old, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	const another = "here/t/0001.rdb.alias%2Fmine.age"
	if _, err := p.Create(t.Context(), another, objects.PutOptions{}); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), sealedKey) {
		t.Errorf("with the key lost: %v", err)
	}
	p.put(t, "there/t/0001.rdb.alias%2Fmine.age", content(10)) // another region's key is another
	if err := os.WriteFile(at, old, 0o600); err != nil {
		t.Fatal(err)
	}
	p.put(t, another, content(10))
	if err := errors.Join(p.Delete(t.Context(), sealedKey), p.Delete(t.Context(), another), os.Remove(at)); err != nil {
		t.Fatal(err)
	}
	p.put(t, another, content(10)) // nobody needs the old one
}
