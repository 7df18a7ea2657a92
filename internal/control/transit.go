package control

import (
	"strings"

	"holdfast.dev/internal/cache"
)

// Transit is what a request says of encryption in transit: nothing, or that it is to be on
// or off, and in which mode.
type Transit struct {
	Enabled *bool
	Mode    string
}

// From these versions on a cache takes connections of both kinds, or is changed while it serves.
const (
	bothKindsRedis  = "7.0"
	bothKindsValkey = "7.2"
	// firstTLS is the first Redis that has TLS of its own.
	firstTLS = "6.0"
)

// check holds what is said against itself.
func (t Transit) check() error {
	switch cache.TransitMode(t.Mode) {
	case "", cache.TransitPreferred, cache.TransitRequired:
	default:
		return invalid("The parameter TransitEncryptionMode must be preferred or required. Provided value: %s", t.Mode)
	}
	if t.Mode != "" && !orElse(t.Enabled, true) {
		return conflict("TransitEncryptionMode cannot be used where TransitEncryptionEnabled is false.")
	}
	return nil
}

// forNew is the mode of a new cache.
func (t Transit) forNew() (cache.TransitMode, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	switch {
	case !orElse(t.Enabled, false) && t.Mode != "":
		return "", conflict("TransitEncryptionMode needs TransitEncryptionEnabled to be true.")
	case !orElse(t.Enabled, false):
		return "", nil
	case t.Mode == "":
		return cache.TransitRequired, nil
	}
	return cache.TransitMode(t.Mode), nil
}

// decideTransit refuses encryption that the cache could not have.
func (c *Control) decideTransit(d *decided, asked Transit) error {
	mode, err := asked.forNew()
	if err != nil || mode == "" {
		return err
	}
	if strings.HasPrefix(d.NodeType, "cache.m1.") || strings.HasPrefix(d.NodeType, "cache.m2.") {
		return conflict("Encryption in transit is not supported on the node type %s.", d.NodeType)
	}
	if d.Engine == cache.Redis && cache.CompareVersions(d.choice.FullVersion, firstTLS) < 0 {
		return conflict("TransitEncryptionEnabled needs redis %s or newer here: the installed %s speaks no TLS.", firstTLS, d.choice.Build)
	}
	if err := c.speaksTLS(d.choice.Build); err != nil {
		return err
	}
	if mode == cache.TransitPreferred {
		if err := c.takesBoth(d.Engine, d.choice.FullVersion, d.choice.Build, d.cluster); err != nil {
			return err
		}
	}
	d.TransitEncryption = mode
	return nil
}

// speaksTLS refuses a build that was compiled without TLS.
func (c *Control) speaksTLS(build string) error {
	if c.SpeaksTLS == nil || c.SpeaksTLS(build) {
		return nil
	}
	return conflict("TransitEncryptionEnabled cannot be used: the installed %s was built without TLS.", build)
}

// takesBoth refuses nodes that cannot serve clients with and without TLS side by side.
func (c *Control) takesBoth(engine, version, build string, cluster bool) error {
	from := bothKindsRedis
	if engine == cache.Valkey {
		from = bothKindsValkey
	}
	switch {
	case cache.CompareVersions(version, from) < 0:
		return conflict("TransitEncryptionMode preferred needs %s %s or newer. The installed build is %s.", engine, from, build)
	case !c.ownHosts():
		return conflict("TransitEncryptionMode preferred is not supported on this platform, where all nodes share one address. Use required.")
	case cluster && engine != cache.Valkey:
		return conflict("TransitEncryptionMode preferred with cluster mode needs valkey: %s cannot tell both kinds of clients where its nodes are. Use required.", build)
	}
	return nil
}

// target is the mode that a change asks for, present where it asks for none.
func (t Transit) target(present cache.TransitMode) (cache.TransitMode, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	switch {
	case t.Enabled == nil && t.Mode == "":
		return present, nil
	case t.Enabled == nil && present == "":
		return "", conflict("TransitEncryptionMode needs TransitEncryptionEnabled to be true.")
	case !orElse(t.Enabled, true):
		return "", nil
	case t.Mode != "":
		return cache.TransitMode(t.Mode), nil
	case present == "":
		return cache.TransitRequired, nil // as at creation, and refused for that
	}
	return present, nil
}

// changeTransit begins a change of who has to encrypt. More tells that nodes are changed
// otherwise too.
func (c *Control) changeTransit(in *GroupChange, g *Group, more bool) error {
	from := g.TransitEncryption
	to, err := in.Transit.target(from)
	if err != nil || to == from {
		return err
	}
	if err := checkTransitStep(g, from, to); err != nil {
		return err
	}
	switch {
	case !in.Immediately:
		return conflict("TransitEncryptionEnabled and TransitEncryptionMode are changed at once: ApplyImmediately must be true.")
	case more || lower(in.PrimaryCluster) != "" && lower(in.PrimaryCluster) != g.Primary:
		return conflict("TransitEncryptionMode cannot be changed together with another primary, engine version or node type. Ask for them one after the other.")
	}
	if err := checkChangeable(g); err != nil {
		return err
	}
	for i := range g.Members {
		if err := c.takesChange(g, &g.Members[i], to); err != nil {
			return err
		}
	}
	g.Status, g.TransitChange = cache.StatusModifying, &cache.TransitChange{From: from, To: to}
	return nil
}

// checkTransitStep refuses a change that leaves out a step, or that would be one too far.
func checkTransitStep(g *Group, from, to cache.TransitMode) error {
	switch {
	case from == "" && to == cache.TransitRequired:
		return conflict("TransitEncryptionMode must be preferred first: clients could not connect any more. Ask for required once all of them encrypt.")
	case from == cache.TransitRequired && to == "":
		return conflict("TransitEncryptionMode must be preferred before TransitEncryptionEnabled is turned off.")
	case to == "" && (len(g.UserGroupIDs) > 0 || len(g.AuthTokens) > 0):
		return conflict("TransitEncryptionEnabled cannot be turned off while users or an AuthToken protect the replication group.")
	case g.ClusterEnabled && (from == cache.TransitRequired || to == cache.TransitRequired):
		return conflict("TransitEncryptionMode cannot be changed from %s to %s with cluster mode enabled: the nodes would have to encrypt what they tell each other from one moment to the next, which no installed engine does while it serves. Create the replication group with it.",
			orOff(from), orOff(to))
	}
	return nil
}

func orOff(m cache.TransitMode) string {
	if m == "" {
		return "off"
	}
	return string(m)
}

// takesChange refuses a change that one of the nodes could not take while it serves.
func (c *Control) takesChange(g *Group, k *cache.CacheCluster, to cache.TransitMode) error {
	_, version, _ := strings.Cut(k.Node.Build, "-")
	if err := c.speaksTLS(k.Node.Build); err != nil {
		return err
	}
	if err := c.takesBoth(k.Engine, version, k.Node.Build, g.ClusterEnabled); err != nil {
		return err
	}
	second := k.Node.Address.TLS()
	if to == cache.TransitPreferred && k.Node.Transit != cache.TransitPreferred && !c.Addresses.Free(second.Host, second.Port) {
		return cache.Faultf(codeInsufficientCapacity,
			"Another program of this machine listens on port %d of the address of %s, where that is to serve TLS beside its own port. Stop that program.", second.Port, k.ID)
	}
	return nil
}
