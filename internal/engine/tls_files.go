package engine

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// The files of a node that speaks TLS. Certificate and key are one file, so that they
// always belong together.
const (
	certFile  = "tls.pem"
	trustFile = "tls-ca.pem"
)

// certify sees to it that a node's directory holds a certificate for its hosts, signed by
// the present authority and good for a while, and what the node is to trust.
func (n *node) certify(a Authority, spec cache.NodeSpec) error {
	if spec.Transit.Mode == "" {
		return nil
	}
	if a == nil {
		return fmt.Errorf("%w: there is no authority to sign its certificate", cache.ErrPermanent)
	}
	if _, err := n.writeTrust(a); err != nil {
		return err
	}
	_, err := n.writeCertificate(a, spec)
	return err
}

func (n *node) writeTrust(a Authority) (changed bool, err error) {
	bundle := a.Bundle()
	old, err := os.ReadFile(filepath.Join(n.dir, trustFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("cannot read what the node trusts: %w", err)
	}
	if bytes.Equal(old, bundle) {
		return false, nil
	}
	return true, n.writeWhole(trustFile, string(bundle))
}

func (n *node) writeCertificate(a Authority, spec cache.NodeSpec) (changed bool, err error) {
	old, err := os.ReadFile(filepath.Join(n.dir, certFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, errors.New("cannot read the node's certificate") // nothing of what stands in it
	}
	if goodFor(old, a.Bundle(), spec.Transit.Hosts, time.Now()) {
		return false, nil
	}
	c, err := a.Issue(spec.Transit.Hosts)
	if err != nil {
		return false, err
	}
	text, err := certificateText(c)
	if err != nil {
		return false, err
	}
	return true, n.writeWhole(certFile, text)
}

func certificateText(c tls.Certificate) (string, error) {
	var b bytes.Buffer
	for _, der := range c.Certificate {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	key, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return "", errors.New("the authority gave a certificate without its key")
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", errors.New("cannot encode the key of a certificate")
	}
	b.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return b.String(), nil
}

// goodFor tells whether a file has a certificate with its key for all these hosts, signed
// by the first of the bundle, of whose time more than a third is left.
func goodFor(text, bundle []byte, hosts []string, now time.Time) bool {
	c, err := tls.X509KeyPair(text, text)
	block, _ := pem.Decode(bundle)
	if err != nil || block == nil {
		return false
	}
	signer, err := x509.ParseCertificate(block.Bytes)
	if err != nil || c.Leaf == nil || c.Leaf.CheckSignatureFrom(signer) != nil {
		return false
	}
	for _, h := range hosts {
		if c.Leaf.VerifyHostname(h) != nil {
			return false
		}
	}
	return now.Before(c.Leaf.NotAfter.Add(-c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) / 3))
}

// Trusts makes a running node trust what the authority says at present, and Certify gives
// it a certificate of the present authority where it needs one. After a rotation all nodes
// have to trust the new authority before the first one shows what that has signed. Neither
// cuts anybody off.
func (e *Engines) Trusts(ctx context.Context, spec cache.NodeSpec) error {
	return e.renew(ctx, spec, "tls-ca-cert-file", trustFile, func(n *node) (bool, error) { return n.writeTrust(e.cfg.Authority) })
}

// Certify: see Trusts.
func (e *Engines) Certify(ctx context.Context, spec cache.NodeSpec) error {
	return e.renew(ctx, spec, "tls-cert-file", certFile, func(n *node) (bool, error) { return n.writeCertificate(e.cfg.Authority, spec) })
}

// renew writes a file anew, if it has to be, and has the engine read it. A file that was
// written by a call that was cut short is told by a mark beside it.
func (e *Engines) renew(ctx context.Context, spec cache.NodeSpec, directive, file string, write func(*node) (bool, error)) error {
	err := func() error {
		n, err := e.node(spec)
		if err != nil {
			return err
		}
		unlock, err := n.turn.lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		mark := filepath.Join(n.dir, file+unreadMark)
		_, marked := os.Stat(mark)
		if err := os.WriteFile(mark, nil, 0o600); err != nil {
			return fmt.Errorf("cannot note that a file is written anew: %w", err)
		}
		changed, err := write(n)
		if err != nil {
			return err
		}
		if changed || marked == nil {
			if err := n.link.use(ctx, spec, func(c *resp.Conn) error {
				_, err := c.Do(ctx, "CONFIG", "SET", directive, filepath.Join(n.dir, file))
				return err
			}); err != nil {
				return err
			}
		}
		return remove(mark)
	}()
	if err != nil {
		return fmt.Errorf("cannot renew the certificates of %s: %w", spec.Key, err)
	}
	return nil
}

// unreadMark ends the name of a file that says: its engine may not have read the other one yet.
const unreadMark = ".unread"
