package resp_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// over is the address of a server that speaks TLS, by a host name of the caller's choice.
func over(t *testing.T, ca *testkit.CA, s *testkit.Server, host, more string) resp.Options {
	t.Helper()
	o, err := resp.ParseURL(fmt.Sprintf("rediss://%s/?cacert=%s%s", net.JoinHostPort(host, fmt.Sprint(s.Port)), ca.File(), more))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// reachAll connects to every node that one of them names, and follows a MOVED.
func reachAll(t *testing.T, opt resp.Options) error {
	t.Helper()
	top, err := resp.Discover(t.Context(), opt)
	if err != nil {
		return err
	}
	for _, addr := range top.Addrs() {
		c, err := resp.Dial(t.Context(), opt.At(addr))
		if err != nil {
			return err
		}
		_, err = c.Do(t.Context(), "GET", "a")
		if to, ok := c.Redirection(err); ok {
			d, err := resp.Dial(t.Context(), opt.At(to.Addr))
			if err != nil {
				return fmt.Errorf("sent on to %s: %w", to.Addr, err)
			}
			_ = d.Close()
		} else if err != nil && !resp.IsServerError(err) {
			return err
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	if len(top.Shards) != 2 {
		return fmt.Errorf("%d shards", len(top.Shards))
	}
	return nil
}

// TestClusterTLS: nodes tell the ports at which they speak TLS, and their certificates are
// accepted for any name by which they may be meant, and for no other.
func TestClusterTLS(t *testing.T) {
	for _, line := range append(testkit.Lines, "redis-8.0") {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			b := testkit.Engine(t, line)
			testkit.SpeaksTLS(t, b)
			ca := testkit.NewCA(t)
			byIP := testkit.StartCluster(t, b, 2, 1, ca.TLS("127.0.0.1"))
			check(t, "addresses", reachAll(t, over(t, ca, byIP.Primaries[1], "127.0.0.1", "")), "")
			check(t, "a foreign authority", reachAll(t, over(t, testkit.NewCA(t), byIP.Primaries[1], "127.0.0.1", "")), "cacert=FILE")

			// Nodes announce their addresses, and the certificates are for a name.
			named := testkit.StartCluster(t, b, 2, 0, ca.TLS("localhost"))
			check(t, "the name given", reachAll(t, over(t, ca, named.Primaries[0], "localhost", "")), "")
			check(t, "the name asked for", reachAll(t, over(t, ca, named.Primaries[0], "127.0.0.1", "&servername=localhost")), "")
			check(t, "an address that the certificate lacks", reachAll(t, over(t, ca, named.Primaries[0], "127.0.0.1", "")), "servername=NAME in the address says for which name it has to be: localhost")
			check(t, "insecure", reachAll(t, over(t, ca, named.Primaries[0], "127.0.0.1", "&insecure=true")), "")
			if line == "redis-7.0" || line == "valkey-9.1" { // the first and the last that know host names
				announcedNames(t, b, ca)
			}
		})
	}
}

// announcedNames: each node has a certificate for a name of its own.
func announcedNames(t *testing.T, b catalog.Build, ca *testkit.CA) {
	t.Helper()
	beside := testkit.StartCluster(t, b, 2, 0, ca.TLS("localhost", "only.test"))
	opt := over(t, ca, beside.Primaries[0], "127.0.0.1", "&servername=only.test")
	check(t, "the name asked for, of all", reachAll(t, opt), "")
	// One more name is announced; the certificate of one node is for that alone.
	own := testkit.StartCluster(t, b, 2, 0, ca.TLS("127.0.0.1"))
	for i, s := range own.Primaries {
		name := fmt.Sprintf("node-%d.test", i)
		cert, key := ca.Issue([]string{name})
		s.Must("CONFIG", "SET", "tls-cert-file", cert, "tls-key-file", key)
		s.Must("CONFIG", "SET", "cluster-announce-hostname", name)
		s.Trust(name)
	}
	waitNames(t, own)
	check(t, "a name of each node's own", reachAll(t, over(t, ca, own.Primaries[0], "127.0.0.1", "&servername=node-0.test")), "")
	check(t, "another node's name", reachAll(t, over(t, ca, own.Primaries[0], "127.0.0.1", "&servername=node-1.test")), "node-1.test")
	asked := over(t, ca, own.Primaries[0], "127.0.0.1", "&servername=node-0.test")
	other := own.Primaries[1]
	for what, by := range map[string]*testkit.CA{"a name that nobody meant": ca, "the right name by a foreign authority": testkit.NewCA(t)} {
		name := "intruder.test"
		if by != ca {
			name = "node-1.test"
		}
		cert, key := by.Issue([]string{name})
		other.Must("CONFIG", "SET", "tls-cert-file", cert, "tls-key-file", key)
		check(t, what, reachAll(t, asked), "tls: failed to verify certificate")
	}

	hosts := testkit.StartCluster(t, b, 2, 0, ca.TLS("localhost"), testkit.Config("cluster-announce-hostname localhost", "cluster-preferred-endpoint-type hostname"))
	waitNames(t, hosts)
	check(t, "names instead of addresses", reachAll(t, over(t, ca, hosts.Primaries[0], "localhost", "")), "")
	check(t, "asked at an address", reachAll(t, over(t, ca, hosts.Primaries[0], "127.0.0.1", "&servername=localhost")), "")
}

// waitNames waits until all nodes know of each other's names.
func waitNames(t *testing.T, c *testkit.ClusterServers) {
	t.Helper()
	for _, s := range c.All() {
		testkit.Wait(t, 0, func() bool {
			text := fmt.Sprint(s.Must("CLUSTER", "SLOTS"))
			return strings.Count(text, "node-0.test") == strings.Count(text, "node-1.test") && strings.Count(text, "node-0.test")+strings.Count(text, "localhost")/2 > 0 &&
				!strings.Contains(text, "?")
		}, "%s to know the names of all", s.Addr())
	}
}

func check(t *testing.T, what string, err error, says string) {
	t.Helper()
	if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
		t.Errorf("%s: %v", what, err)
	}
}

// Ports that speak another language than is expected are told as what they are.
func TestTLSAdvice(t *testing.T) {
	b := testkit.Engine(t, "valkey-9.1")
	ca := testkit.NewCA(t)
	plain := testkit.StartServer(t, b)
	opt := over(t, ca, plain, "127.0.0.1", "")
	opt.DialTimeout = 3 * time.Second // it does not answer at all
	_, err := resp.Dial(t.Context(), opt)
	check(t, "a port without TLS", err, "if the port speaks no TLS")
	strict := testkit.StartServer(t, b, ca.TLS("127.0.0.1"))
	strict.Must("CONFIG", "SET", "tls-auth-clients", "yes")
	_, err = resp.Dial(t.Context(), over(t, ca, strict, "127.0.0.1", ""))
	check(t, "no certificate of ours", err, "cert=FILE and key=FILE")
	cert, key := ca.Issue([]string{"anybody"})
	c, err := resp.Dial(t.Context(), over(t, ca, strict, "127.0.0.1", "&cert="+cert+"&key="+key))
	check(t, "with one", err, "")
	if err == nil {
		_ = c.Close()
	}
}
