package cache

import "slices"

// NodeTransit says with what kind of connections a node is reached, and reaches others.
type NodeTransit struct {
	// Mode is what the node is to have, Told what it has been told last. While they differ
	// it may have either.
	Mode, Told TransitMode
	// PrimaryTold is what the node that it replicates has been told last.
	PrimaryTold TransitMode
	// Hosts are the names and addresses for which its certificate has to be, its own first.
	Hosts []string
}

// Steady tells that the node has what it is to have, for all that is known.
func (t NodeTransit) Steady() bool { return t.Mode == t.Told }

// TransitChange is a change of the mode of a group that serves, under way. Each node's
// own Transit says whether it has been told.
type TransitChange struct {
	From, To TransitMode
}

// highestPort is the last one that there is.
const highestPort = 65535

// TLSPort is where a node serves TLS while its own port is for plain connections, with
// TransitPreferred. No node has it for its port or its bus: each has a host of its own.
func TLSPort(port int) int {
	if port == highestPort {
		return port - 1
	}
	return port + 1
}

// TLS is where a node of this address serves TLS with TransitPreferred.
func (a Address) TLS() Address { return Address{Host: a.Host, Port: TLSPort(a.Port)} }

// Door is an address and whether it takes nothing but TLS.
type Door struct {
	Address Address
	TLS     bool
}

// Doors are where a node takes connections, by what it is to have and what it was told.
// Modes change by one step at a time, so that there is never a doubt whether a door speaks
// TLS: with one mode or the other the node's own port is plain, or it has TLS, at the
// second port with one of them and at its own, where the second one refuses, with the other.
func Doors(at Address, mode, told TransitMode) []Door {
	switch {
	case mode == TransitRequired && told != TransitPreferred:
		return []Door{{at, true}}
	case mode == "" || told == "":
		return []Door{{at, false}}
	case mode == TransitPreferred && told == TransitPreferred:
		return []Door{{at.TLS(), true}}
	}
	return []Door{{at.TLS(), true}, {at, true}}
}

// Transit is the mode that the nodes of a group are to have.
func (g *ReplicationGroup) Transit() TransitMode {
	if g.TransitChange != nil {
		return g.TransitChange.To
	}
	return g.TransitEncryption
}

// NodeTransit is that of one of its members.
func (g *ReplicationGroup) NodeTransit(n *Node) NodeTransit {
	t := NodeTransit{Mode: g.Transit(), Told: n.Transit, Hosts: []string{n.Address.Host}}
	for _, at := range []Address{g.PrimaryEndpoint, g.ReaderEndpoint, g.ConfigurationEndpoint} {
		if !at.IsZero() && !slices.Contains(t.Hosts, at.Host) {
			t.Hosts = append(t.Hosts, at.Host)
		}
	}
	return t
}
