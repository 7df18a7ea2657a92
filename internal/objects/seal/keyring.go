package seal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"filippo.io/age"
)

// What can be wrong with a key or what was sealed with it.
var (
	// ErrNoKey: the key is not in the keyring.
	ErrNoKey = errors.New("the key is missing")
	// ErrWrongKey: the object was sealed with another key of the same name, or the
	// part of it that tells is damaged.
	ErrWrongKey = errors.New("it was sealed with another key, or its header is damaged")
	// ErrDamaged: the content is not what was sealed.
	ErrDamaged = errors.New("the sealed content is damaged")
)

// Keyring holds the keys of all regions in one directory: <region>/<name>.json.
type Keyring struct {
	dir string
	mu  sync.Mutex // of making keys
}

// NewKeyring is the keyring in a directory, which is made with the first key.
func NewKeyring(dir string) *Keyring { return &Keyring{dir: dir} }

// keyFile is a key as it is stored.
type keyFile struct {
	Name     string
	Identity string // AGE-SECRET-KEY-1…
}

const longestName = 100

// fileName makes a name fit to be part of a file's name. A very long one is
// represented by its digest.
func fileName(name string) string {
	s := strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
	if len(s) <= longestName {
		return s
	}
	sum := sha256.Sum256([]byte(name))
	return "sha256-" + hex.EncodeToString(sum[:])
}

func (k *Keyring) path(region, file string) string {
	return filepath.Join(k.dir, region, file+".json")
}

// identity reads a key.
func (k *Keyring) identity(region, file string) (*age.X25519Identity, error) {
	path := k.path(region, file)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s of region %s should be in %s; put the file back to read what was sealed with it", ErrNoKey, readable(file), region, path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the key %s of region %s: %w", readable(file), region, err)
	}
	var f keyFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("cannot read the key %s of region %s: %s holds no key", readable(file), region, path)
	}
	id, err := age.ParseX25519Identity(f.Identity)
	if err != nil { // its text may hold the secret
		return nil, fmt.Errorf("cannot read the key %s of region %s: %s holds no key", readable(file), region, path)
	}
	return id, nil
}

// readable is a key's name for people.
func readable(file string) string {
	if name, err := url.PathUnescape(file); err == nil {
		return name
	}
	return file
}

// recipient is whom to seal for. The key is made if there is none.
func (k *Keyring) recipient(region, file string) (*age.X25519Recipient, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id, err := k.identity(region, file)
	if errors.Is(err, ErrNoKey) {
		if err := k.make(region, file); err != nil {
			return nil, fmt.Errorf("cannot make the key %s of region %s: %w", readable(file), region, err)
		}
		id, err = k.identity(region, file)
	}
	if err != nil {
		return nil, err
	}
	return id.Recipient(), nil
}

// make draws a key. It is on disk before anything is sealed with it, and a key that
// somebody else has made meanwhile stays.
func (k *Keyring) make(region, file string) error {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	b, err := json.Marshal(keyFile{Name: readable(file), Identity: id.String()})
	if err != nil {
		return err
	}
	dir := filepath.Join(k.dir, region)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // by then it has the key's own name
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), k.path(region, file)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return errors.Join(syncDir(dir), syncDir(k.dir), syncDir(filepath.Dir(k.dir)))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
