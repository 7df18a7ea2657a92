package control

import (
	"testing"

	"holdfast.dev/internal/cache"
)

// Of all that a request may say of encryption in transit: what becomes of a new group, and
// of groups that there are.
func TestWhatIsSaidOfEncryption(t *testing.T) {
	on, off := true, false
	const refused = "refused"
	for _, c := range []struct {
		said Transit
		// created is the mode of a new group, then what groups with none, preferred and
		// required become.
		created, none, preferred, required cache.TransitMode
	}{
		{Transit{}, "", "", "preferred", "required"},
		{Transit{Enabled: &off}, "", "", "", refused},
		{Transit{Enabled: &on}, "required", refused, "preferred", "required"},
		{Transit{Enabled: &on, Mode: "preferred"}, "preferred", "preferred", "preferred", "preferred"},
		{Transit{Enabled: &on, Mode: "required"}, "required", refused, "required", "required"},
		{Transit{Mode: "preferred"}, refused, refused, "preferred", "preferred"},
		{Transit{Mode: "required"}, refused, refused, "required", "required"},
		{Transit{Enabled: &off, Mode: "required"}, refused, refused, refused, refused},
		{Transit{Enabled: &on, Mode: "often"}, refused, refused, refused, refused},
	} {
		got, err := c.said.forNew()
		if err != nil {
			got = refused
		}
		if got != c.created {
			t.Errorf("%+v makes a group that is %q, want %q", c.said, got, c.created)
		}
		for from, want := range map[cache.TransitMode]cache.TransitMode{
			"": c.none, cache.TransitPreferred: c.preferred, cache.TransitRequired: c.required,
		} {
			to, err := c.said.target(from)
			if err == nil && to != from {
				err = checkTransitStep(&Group{}, from, to)
			}
			if err != nil {
				to = refused
			}
			if to != want {
				t.Errorf("%+v makes %q of a group that is %q, want %q", c.said, to, from, want)
			}
		}
	}
}

// Encryption stays while something rests on it, and where it cannot be changed while the
// nodes serve.
func TestEncryptionThatHasToStay(t *testing.T) {
	for what, g := range map[string]cache.ReplicationGroup{
		"users":   {UserGroupIDs: []string{"staff"}},
		"a token": {AuthTokens: []string{cache.HashPassword("a token of theirs")}},
	} {
		if err := checkTransitStep(&Group{ReplicationGroup: g}, cache.TransitPreferred, ""); err == nil {
			t.Errorf("it can be turned off under %s", what)
		}
		if err := checkTransitStep(&Group{ReplicationGroup: g}, cache.TransitRequired, cache.TransitPreferred); err != nil {
			t.Errorf("with %s: %v", what, err)
		}
	}
	cluster := &Group{ReplicationGroup: cache.ReplicationGroup{ClusterEnabled: true}}
	if err := checkTransitStep(cluster, cache.TransitPreferred, cache.TransitRequired); err == nil {
		t.Error("a cluster comes to encrypt what its nodes tell each other while it serves")
	}
	if err := checkTransitStep(cluster, "", cache.TransitPreferred); err != nil {
		t.Error(err)
	}
}

// A build without TLS is refused by its name, and so is one that cannot take both kinds.
func TestBuildsThatCannotEncrypt(t *testing.T) {
	c := &Control{Config: Config{SpeaksTLS: func(build string) bool { return build != "redis-7.0.1" }, Addresses: Addresses{Range: true}}}
	on := true
	for _, k := range []struct {
		engine, build, version, mode string
		cluster, refused             bool
	}{
		{cache.Redis, "redis-7.0.1", "7.0.1", "required", false, true},
		{cache.Redis, "redis-5.0.14", "5.0.14", "required", false, true},
		{cache.Redis, "redis-6.0.16", "6.0.16", "required", true, false},
		{cache.Redis, "redis-6.0.16", "6.0.16", "preferred", false, true},
		{cache.Redis, "redis-7.0.15", "7.0.15", "preferred", false, false},
		{cache.Redis, "redis-7.0.15", "7.0.15", "preferred", true, true},
		{cache.Valkey, "valkey-8.1.1", "8.1.1", "preferred", true, false},
	} {
		d := &decided{cluster: k.cluster, choice: Choice{Build: k.build, FullVersion: k.version}}
		d.Engine, d.NodeType = k.engine, "cache.t4g.small"
		err := c.decideTransit(d, Transit{Enabled: &on, Mode: k.mode})
		if (err != nil) != k.refused {
			t.Errorf("%+v: %v", k, err)
		}
		if err == nil && string(d.TransitEncryption) != k.mode {
			t.Errorf("%+v: it becomes %q", k, d.TransitEncryption)
		}
	}
}
