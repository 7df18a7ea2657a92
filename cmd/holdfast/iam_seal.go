package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// sealKey is where the key stands that the secrets of users' access keys are sealed with.
func (d dataDir) sealKey() string { return filepath.Join(string(d), "iam.key") }

// keySealer seals the secrets of access keys by AES-256 in GCM, under a key that is no
// part of the records: a copy of those alone lets nobody sign.
type keySealer struct{ aead cipher.AEAD }

// openSealer reads the key, and makes it at the first start.
func openSealer(dir dataDir) (*keySealer, error) {
	var file struct{ Key []byte }
	err := readJSON(dir.sealKey(), &file)
	if errors.Is(err, fs.ErrNotExist) {
		file.Key = make([]byte, 32)
		rand.Read(file.Key)
		err = writeJSON(dir.sealKey(), file)
	}
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(file.Key)
	if err != nil || len(file.Key) != 32 {
		return nil, fmt.Errorf("cannot use %s: there is no key of 256 bits in it", dir.sealKey())
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s: %w", dir.sealKey(), err)
	}
	return &keySealer{aead}, nil
}

// Seal encrypts a secret under a label.
func (s *keySealer) Seal(label, secret string) ([]byte, error) {
	return s.aead.Seal(nil, nil, []byte(secret), []byte(label)), nil
}

// Open is its reverse.
func (s *keySealer) Open(label string, sealed []byte) (string, error) {
	b, err := s.aead.Open(nil, nil, sealed, []byte(label))
	if err != nil {
		return "", errors.New("it was not sealed with the key in iam.key")
	}
	return string(b), nil
}
