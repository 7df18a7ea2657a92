package main

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"

	"holdfast.dev/internal/api/sigv4"
	"holdfast.dev/internal/cache"
)

// rootKey is the access key that may do everything.
type rootKey struct {
	AccessKeyID     string
	SecretAccessKey string
	// Previous is the key before it, while that is still good.
	Previous *rootKey `json:",omitempty"`
}

// newRootKey draws a key.
func newRootKey() rootKey {
	id, secret := make([]byte, 10), make([]byte, 30)
	rand.Read(id)
	rand.Read(secret)
	return rootKey{
		AccessKeyID:     "AKIA" + base32.StdEncoding.EncodeToString(id),
		SecretAccessKey: strings.NewReplacer("+", "A", "/", "B").Replace(base64.StdEncoding.EncodeToString(secret)),
	}
}

// rootKey reads the root key, and makes it at the first start.
func (d dataDir) rootKey() (rootKey, error) {
	k, err := d.readRootKey()
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	k = newRootKey()
	return k, writeJSON(d.credentials(), k)
}

func (d dataDir) readRootKey() (rootKey, error) {
	var k rootKey
	err := readJSON(d.credentials(), &k)
	if err == nil && (k.AccessKeyID == "" || k.SecretAccessKey == "") {
		err = fmt.Errorf("cannot read %s: there is no key in it", d.credentials())
	}
	return k, err
}

// all are the key and the one before it.
func (k rootKey) all() []rootKey {
	if k.Previous == nil {
		return []rootKey{k}
	}
	return []rootKey{k, *k.Previous}
}

// find returns the secret of one of them.
func (k rootKey) find(accessKeyID string) (secret string, ok bool) {
	for _, one := range k.all() {
		if one.AccessKeyID == accessKeyID && accessKeyID != "" {
			return one.SecretAccessKey, true
		}
	}
	return "", false
}

// rootIdentity is who signs with the root key.
var rootIdentity = sigv4.Identity{Account: cache.Account, ARN: cache.RootARN, UserID: cache.Account}

// rootKeys are those that are good at present. The file is looked at for each request:
// a rotation needs no restart.
type rootKeys struct {
	dir dataDir
	log *slog.Logger

	mu   sync.Mutex
	file fs.FileInfo
	key  rootKey
}

func newRootKeys(dir dataDir, log *slog.Logger) (*rootKeys, error) {
	k, err := dir.rootKey()
	return &rootKeys{dir: dir, log: log, key: k}, err
}

// current reads the file again when it is another one. While it cannot be read the keys
// of before are good.
func (r *rootKeys) current() rootKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The look comes before the reading: what changes in between is read the next time.
	file, err := os.Stat(r.dir.credentials())
	if err == nil && r.file != nil && os.SameFile(file, r.file) && file.ModTime().Equal(r.file.ModTime()) && file.Size() == r.file.Size() {
		return r.key
	}
	var k rootKey
	if err == nil {
		k, err = r.dir.readRootKey()
	}
	if err != nil {
		r.log.Error("cannot read the root key; the one read before stays good", "error", err)
		return r.key
	}
	r.file, r.key = file, k
	return k
}
