package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The files of an authority. The bundle begins with the certificate that signs.
const (
	bundleFile = "ca.pem"
	keyFile    = "ca-key.pem"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 90 * 24 * time.Hour
	// before is how far back certificates begin to be valid, for clients whose clock
	// is behind.
	before = time.Hour
)

// Authority signs certificates. Its methods may be called from any goroutine.
type Authority struct {
	dir string
	now func() time.Time

	mu     sync.Mutex
	key    crypto.Signer
	cert   *x509.Certificate
	former []*x509.Certificate
}

// Open finds the authority of a directory or makes one.
func Open(dir string, now func() time.Time) (*Authority, error) {
	a := &Authority{dir: dir, now: now}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the directory of the certificate authority: %w", err)
	}
	err := a.load()
	if errors.Is(err, fs.ErrNotExist) {
		err = a.renew()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the certificate authority of %s: %w", dir, err)
	}
	return a, nil
}

// load reads what is there.
func (a *Authority) load() error {
	bundle, err := os.ReadFile(filepath.Join(a.dir, bundleFile))
	if err != nil {
		return err
	}
	secret, err := os.ReadFile(filepath.Join(a.dir, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		// Certificates that it signed are in use, and nobody trusts another one.
		return fmt.Errorf("%s is there and %s is not: put it back, or move %s away to have a new authority", bundleFile, keyFile, bundleFile)
	}
	if err != nil {
		return err
	}
	certs, err := readCertificates(bundle)
	if err != nil {
		return err
	}
	keys, err := readKeys(secret)
	if err != nil {
		return err
	}
	key, err := choose(certs[0], keys, a.now())
	if err != nil {
		return err
	}
	a.key, a.cert, a.former = key, certs[0], certs[1:]
	return nil
}

// choose finds the key with which a certificate signs.
func choose(cert *x509.Certificate, keys []crypto.Signer, now time.Time) (crypto.Signer, error) {
	switch {
	case !cert.IsCA || cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, fmt.Errorf("the first certificate of %s may not sign others", bundleFile)
	case now.After(cert.NotAfter):
		return nil, fmt.Errorf("the first certificate of %s has expired at %s", bundleFile, cert.NotAfter.UTC().Format(time.RFC3339))
	}
	for _, key := range keys {
		if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && public.Equal(cert.PublicKey) {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%s does not belong to the first certificate of %s", keyFile, bundleFile)
}

// Rotate makes a new key. What the former one signed stays good, for those who have
// the new bundle, until it expires.
func (a *Authority) Rotate() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.renew(); err != nil {
		return fmt.Errorf("cannot rotate the certificate authority: %w", err)
	}
	return nil
}

// renew makes a key and its certificate, and keeps both.
func (a *Authority) renew() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := serialNumber()
	if err != nil {
		return err
	}
	now := a.now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Holdfast " + now.UTC().Format("2006-01-02 15:04"), Organization: []string{"Holdfast"}},
		NotBefore:             now.Add(-before),
		NotAfter:              now.Add(caLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	var former []*x509.Certificate
	if a.cert != nil {
		former = append(former, a.cert)
	}
	for _, c := range a.former {
		if now.Before(c.NotAfter) {
			former = append(former, c)
		}
	}
	if err := a.keep(key, append([]*x509.Certificate{cert}, former...)); err != nil {
		return err
	}
	a.key, a.cert, a.former = key, cert, former
	return nil
}

// keep writes key and bundle. The bundle comes last: without it there is no authority
// yet, and until it has followed the former key, which is its own, stays beside the new one.
func (a *Authority) keep(key crypto.Signer, certs []*x509.Certificate) error {
	keys := []crypto.Signer{key}
	if a.key != nil {
		keys = append(keys, a.key)
	}
	secret, err := encodeKeys(keys)
	if err != nil {
		return err
	}
	if err := writeWhole(a.dir, keyFile, secret); err != nil {
		return err
	}
	return writeWhole(a.dir, bundleFile, encode(certs))
}

// Bundle is what clients have to trust, in PEM.
func (a *Authority) Bundle() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return encode(append([]*x509.Certificate{a.cert}, a.former...))
}

func serialNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
}
