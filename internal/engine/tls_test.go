package engine_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// encrypted makes a spec that of a node which has been told a mode.
func encrypted(spec cache.NodeSpec, mode, told cache.TransitMode) cache.NodeSpec {
	spec.Transit = cache.NodeTransit{Mode: mode, Told: told, PrimaryTold: told, Hosts: append([]string{spec.Address.Host}, spec.Binds...)}
	return spec
}

// roots are what a client has that was given the authority's bundle.
func (b *bench) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b.authority.Bundle()) {
		b.t.Fatal("the bundle holds no certificate")
	}
	return pool
}

// secure is a customer's connection with TLS, which knows the installation's authority.
func (b *bench) secure(at cache.Address) *resp.Conn {
	b.t.Helper()
	c, err := resp.Dial(b.context(), resp.Options{Addr: addrOf(at), TLS: &tls.Config{RootCAs: b.roots(), MinVersion: tls.VersionTLS12}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	return c
}

// plainly asks without encryption, and tells what came of it.
func plainly(at cache.Address) error {
	c, err := net.DialTimeout("tcp", addrOf(at), patience)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	said := make([]byte, 7)
	if _, err := c.Read(said); err != nil {
		return err
	}
	if !strings.HasPrefix(string(said), "+PONG") {
		return fmt.Errorf("it said %q", said)
	}
	return nil
}

// A pair that takes nothing but TLS: old protocols, strangers to the authority and plain
// connections are turned away, and a replica takes over with the endpoint.
func TestRequiredTLS(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		testkit.SpeaksTLS(t, build)
		primary, replica, vip := b.pair(build)
		primary = encrypted(primary, cache.TransitRequired, "")
		replica = encrypted(replica, cache.TransitRequired, "")
		replica.Transit.Hosts = append(replica.Transit.Hosts, vip)
		p := b.up(primary)
		primary.Transit.Told, replica.Transit.PrimaryTold = cache.TransitRequired, cache.TransitRequired
		c := b.secure(primary.Address)
		for i := range 100 {
			b.do(c, "SET", fmt.Sprint("key", i), "v")
		}
		b.up(replica)
		replica.Transit.Told = cache.TransitRequired
		if err := plainly(primary.Address); err == nil {
			t.Error("a plain connection is served")
		}
		old := &tls.Config{RootCAs: b.roots(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		if c, err := tls.Dial("tcp", addrOf(primary.Address), old); err == nil {
			t.Errorf("a client speaks %x", c.ConnectionState().Version)
			_ = c.Close()
		}
		stranger := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		if _, err := tls.Dial("tcp", addrOf(primary.Address), stranger); !errors.As(err, &x509.UnknownAuthorityError{}) {
			t.Errorf("somebody who does not know the authority: %v", err)
		}
		for _, s := range []cache.NodeSpec{primary, replica} {
			b.private(s)
		}

		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		closed(t, "exit", b.Exited(p))
		lead := replica
		lead.Primary, lead.Binds = cache.Address{}, primary.Binds
		if err := b.Reconfigure(b.context(), lead); err != nil {
			t.Fatal(err)
		}
		if got := b.do(b.secure(replica.Address), "DBSIZE"); got != "100" {
			t.Errorf("the replica that took over has %s keys", got)
		}
		if build.Rebind {
			b.do(b.secure(cache.Address{Host: vip, Port: replica.Address.Port}), "SET", "late", "v")
		}

		// The former primary follows, and reads everything through TLS.
		primary.Primary, primary.Binds = lead.Address, nil
		b.up(primary)
		if h, err := b.Probe(b.context(), primary); err != nil || !h.LinkUp || h.Keys < 100 {
			t.Errorf("the former primary: %+v, %v", h, err)
		}
	})
}

// private looks at who may read a node's key.
func (b *bench) private(spec cache.NodeSpec) {
	b.t.Helper()
	region, id := cache.SplitKey(spec.Key)
	fi, err := os.Stat(filepath.Join(b.dir, "nodes", region, id, "tls.pem"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		b.t.Errorf("the key of %s: %v, %v", spec.Key, fi, err)
	}
}

// Nodes that serve come to encrypt and back, one step at a time, without losing a write,
// without a full synchronization, and whoever may not be there any more is cut off.
func TestTransitChangesWhileServing(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		testkit.SpeaksTLS(t, build)
		primary, replica, _ := b.pair(build)
		primary.Binds = nil
		primary, replica = encrypted(primary, "", ""), encrypted(replica, "", "")
		b.up(primary)
		b.up(replica)
		if !build.Rebind {
			err := b.Reconfigure(b.context(), encrypted(primary, cache.TransitPreferred, ""))
			if !isPermanent(err) {
				t.Errorf("%s: %v", build.Name, err)
			}
			return
		}
		syncs := b.fullSyncs(primary)
		written := 0
		var told cache.TransitMode
		for _, mode := range []cache.TransitMode{
			cache.TransitPreferred, cache.TransitRequired, cache.TransitPreferred, "", cache.TransitPreferred, cache.TransitRequired,
		} {
			var before *resp.Conn
			if told != cache.TransitRequired {
				before = b.client(primary.Address.Host, primary.Address.Port)
				b.do(before, "PING")
			}
			// The replica first; each is told again, as one that was killed would be, and an
			// Engines that remembers nothing is to find it.
			for _, s := range []cache.NodeSpec{encrypted(replica, mode, told), encrypted(primary, mode, told)} {
				for range 2 {
					if err := b.Reconfigure(b.context(), s); err != nil {
						t.Fatalf("%q after %q: %v", mode, told, err)
					}
					b.again()
				}
			}
			told = mode
			switch plain := plainly(primary.Address); {
			case mode == cache.TransitRequired && plain == nil:
				t.Error("a plain connection is served")
			case mode != cache.TransitRequired && plain != nil:
				t.Errorf("%q: a plain connection: %v", mode, plain)
			}
			if before != nil {
				_, err := before.Do(b.context(), "PING")
				if cut := err != nil; cut != (mode == cache.TransitRequired) {
					t.Errorf("%q: a plain connection from before: %v", mode, err)
				}
			}
			c := b.clientOf(primary, mode)
			for range 50 {
				b.do(c, "SET", fmt.Sprint("key", written), "v")
				written++
			}
			here := encrypted(replica, mode, mode)
			if _, err := b.AwaitReady(b.context(), here); err != nil {
				t.Fatalf("%q: %v", mode, err)
			}
			eventually(t, "the replica has everything", func() bool {
				h, err := b.Probe(b.context(), here)
				return err == nil && h.LinkUp && h.Keys == int64(written)
			})
		}
		if now := b.fullSyncs(encrypted(primary, told, told)); now != syncs {
			t.Errorf("there were %s full synchronizations, before it %s", now, syncs)
		}
	})
}

// clientOf is a customer's connection as a mode asks for it.
func (b *bench) clientOf(spec cache.NodeSpec, mode cache.TransitMode) *resp.Conn {
	switch mode {
	case cache.TransitRequired:
		return b.secure(spec.Address)
	case cache.TransitPreferred:
		return b.secure(spec.Address.TLS())
	}
	return b.client(spec.Address.Host, spec.Address.Port)
}

func (b *bench) fullSyncs(spec cache.NodeSpec) string {
	b.t.Helper()
	for line := range strings.Lines(b.do(b.clientOf(spec, spec.Transit.Mode), "INFO", "stats")) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "sync_full:"); ok {
			return n
		}
	}
	b.t.Fatal("INFO says nothing of synchronizations")
	return ""
}

// The authority is replaced under nodes that serve: nobody is cut off, and whoever comes
// anew sees the new certificate, the replica too.
func TestCertificatesAreRenewedWhileServing(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		testkit.SpeaksTLS(t, build)
		primary, replica, _ := b.pair(build)
		primary.Binds = nil
		primary = encrypted(primary, cache.TransitRequired, cache.TransitRequired)
		replica = encrypted(replica, cache.TransitRequired, cache.TransitRequired)
		b.up(primary)
		b.up(replica)
		c := b.secure(primary.Address)
		former := b.shown(primary)
		if err := b.authority.Rotate(); err != nil {
			t.Fatal(err)
		}
		both := []cache.NodeSpec{primary, replica}
		for _, renew := range []func(cache.NodeSpec) error{
			func(s cache.NodeSpec) error { return b.Trusts(b.context(), s) },
			func(s cache.NodeSpec) error { return b.Certify(b.context(), s) },
		} {
			for _, s := range slices.Concat(both, both) {
				if err := renew(s); err != nil {
					t.Fatal(err)
				}
			}
		}
		b.do(c, "SET", "key", "v")
		if now := b.shown(primary); now.Equal(former) {
			t.Error("it shows the former certificate")
		} else if _, err := now.Verify(x509.VerifyOptions{Roots: b.roots()}); err != nil {
			t.Error(err)
		}
		// The replica comes again, and knows its primary by the new certificate.
		admin, err := resp.Dial(b.context(), resp.Options{
			Addr: addrOf(replica.Address), Username: "holdfast-admin", Password: secret, TLS: &tls.Config{RootCAs: b.roots(), MinVersion: tls.VersionTLS12},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
		b.do(admin, "CLIENT", "KILL", "TYPE", "master")
		eventually(t, "the replica is back", func() bool {
			h, err := b.Probe(b.context(), replica)
			return err == nil && h.LinkUp && h.Keys == 1
		})
	})
}

// shown is the certificate that a client sees.
func (b *bench) shown(spec cache.NodeSpec) *x509.Certificate {
	b.t.Helper()
	c, err := tls.Dial("tcp", addrOf(spec.Address), &tls.Config{RootCAs: b.roots(), MinVersion: tls.VersionTLS12})
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// A cluster whose nodes speak nothing but TLS, with clients and with each other: it forms,
// moves slots with their keys, and a replica takes a shard over.
func TestAnEncryptedCluster(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		testkit.SpeaksTLS(t, build)
		h := newHive(b, build)
		for i := range h.nodes {
			h.nodes[i] = encrypted(h.nodes[i], cache.TransitRequired, cache.TransitRequired)
		}
		h.start(0, 1, 2, 3)
		h.formed()
		low, high := h.secure(h.nodes[0].Address), h.secure(h.nodes[2].Address)
		for i := range 200 {
			h.do(low, "SET", fmt.Sprintf("{b}%d", i), "v")
		}
		if _, err := low.Do(h.context(), "GET", highKey); !resp.IsServerError(err, "MOVED") || !strings.Contains(err.Error(), addrOf(h.nodes[2].Address)) {
			t.Errorf("a key of the other shard: %v", err)
		}
		slots := cache.Slots{{First: 3000, Last: 3500}}
		h.move(cache.SlotMove{
			Source: h.spec(0), Target: h.spec(2), Others: []cache.NodeSpec{h.spec(1), h.spec(3)}, Slots: slots,
		})
		if got := h.do(high, "DBSIZE"); got != "200" {
			t.Errorf("%s keys have moved", got)
		}
		h.move(cache.SlotMove{
			Source: h.spec(2), Target: h.spec(0), Others: []cache.NodeSpec{h.spec(1), h.spec(3)}, Slots: slots,
		})
		if _, err := h.AwaitReady(h.context(), h.spec(1)); err != nil {
			t.Fatal(err)
		}
		h.kill(0)
		h.leads[0] = 1
		if err := h.Reconfigure(h.context(), h.spec(1)); err != nil {
			t.Fatal(err)
		}
		if got := h.do(h.secure(h.nodes[1].Address), "DBSIZE"); got != "200" {
			t.Errorf("the replica that took over has %s keys", got)
		}
		h.start(0)
		h.formed()
	})
}

// A cluster that serves both kinds of clients tells each where nodes are for it.
func TestAClusterForBothKinds(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		testkit.SpeaksTLS(t, build)
		if build.Engine != catalog.Valkey {
			t.Skipf("%s cannot tell both kinds of clients where its nodes are", build.Name)
		}
		h := newHive(b, build)
		for i := range h.nodes {
			h.nodes[i] = encrypted(h.nodes[i], cache.TransitPreferred, cache.TransitPreferred)
		}
		h.start(0, 1, 2, 3)
		h.formed()
		for _, c := range []struct {
			client *resp.Conn
			told   cache.Address
		}{{h.customer(0), h.nodes[2].Address}, {h.secure(h.nodes[0].Address.TLS()), h.nodes[2].Address.TLS()}} {
			_, err := c.client.Do(h.context(), "GET", highKey)
			if !resp.IsServerError(err, "MOVED") || !strings.HasSuffix(err.Error(), addrOf(c.told)) {
				t.Errorf("the client that should go to %v is told: %v", c.told, err)
			}
		}
		slots := cache.Slots{{First: 3000, Last: 3500}}
		h.do(h.customer(0), "SET", lowKey, "v")
		h.move(cache.SlotMove{
			Source: h.spec(0), Target: h.spec(2), Others: []cache.NodeSpec{h.spec(1), h.spec(3)}, Slots: slots,
		})
		if got := h.do(h.secure(h.nodes[2].Address.TLS()), "GET", lowKey); got != "v" {
			t.Errorf("the key says %q", got)
		}
	})
}
