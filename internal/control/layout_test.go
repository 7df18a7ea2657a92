package control_test

import (
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/control/controltest"
)

// Where all nodes share a host, what they hear each other at needs addresses of
// its own too; no two things get one port.
func TestBusesHaveAddressesOfTheirOwn(t *testing.T) {
	for _, ownHosts := range []bool{true, false} {
		w := controltest.New(t, func(c *control.Config) { c.Addresses.Range = ownHosts })
		shards, replicas := 3, 1
		in := control.NewGroup{ID: "shop", NodeGroups: &shards, Replicas: &replicas, AutomaticFailover: true}
		in.Engine, in.NodeType = cache.Valkey, "cache.t3.micro"
		g, err := w.Control.CreateReplicationGroup(t.Context(), "us-east-1", in)
		if err != nil {
			t.Fatal(err)
		}
		taken := map[cache.Address]bool{g.ConfigurationEndpoint: true}
		for _, m := range g.Members {
			bus := cache.Address{Host: m.Node.Address.Host, Port: m.Node.BusPort}
			if m.Node.BusPort == 0 || taken[m.Node.Address] || taken[bus] {
				t.Errorf("%s answers at %v and hears at %v, one of which is taken", m.ID, m.Node.Address, bus)
			}
			taken[m.Node.Address], taken[bus] = true, true
		}
		if len(g.Members) != 6 || len(taken) != 13 {
			t.Errorf("%d members have %d addresses", len(g.Members), len(taken))
		}
	}
}
