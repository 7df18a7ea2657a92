package control

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
)

// Asked is what the creation of a replication group and that of a cache cluster
// have in common. Zero values and nil mean that nothing was said.
type Asked struct {
	Engine, EngineVersion   string
	NodeType                string
	Port                    *int
	ParameterGroup          string
	SubnetGroup             string
	SecurityGroupIDs        []string
	AutoMinorVersionUpgrade *bool
	SnapshotRetention       *int
	SnapshotWindow          string
	MaintenanceWindow       string
	NotificationTopicARN    string
	Tags                    []cache.Tag
	AtRestEncryption        bool
	KmsKeyID                string
	Transit                 Transit
	SnapshotName            string
	SnapshotARNs            []string
	// AuthToken is what clients of a replication group have to know; "" for nothing.
	AuthToken string
	// ClusterMode says whether the keys are to be spread over several shards: "enabled",
	// "disabled", or "" for as the parameter group, or else the snapshot, has it.
	ClusterMode string
	// memcached: it is a cache cluster, which may be of that engine.
	memcached bool
}

// The values of ClusterMode.
const (
	ClusterOn  = "enabled"
	ClusterOff = "disabled"
)

const (
	defaultPort  = 6379
	lowestPort   = 1024 // those below are not for ordinary users to bind
	highestPort  = 65535
	maxRetention = 35 // days
	ipv4         = "ipv4"
)

var topicRE = regexp.MustCompile(`^arn:aws[a-z-]*:sns:([a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_.-]{1,256}$`)

// checkAsked checks what can be said without looking anywhere.
func checkAsked(region string, a *Asked) error {
	if a.Port != nil && (*a.Port < lowestPort || *a.Port > highestPort) {
		return invalid("The parameter Port must be between %d and %d. Provided value: %d", lowestPort, highestPort, *a.Port)
	}
	if err := checkRetention(a.SnapshotRetention); err != nil {
		return err
	}
	if arn := a.NotificationTopicARN; arn != "" {
		if err := checkTopic(region, arn); err != nil {
			return err
		}
	}
	if slices.Contains(a.SecurityGroupIDs, "") {
		return invalid("The parameter SecurityGroupIds must not hold an empty id.")
	}
	if a.SnapshotName != "" && len(a.SnapshotARNs) > 0 {
		return conflict("The parameters SnapshotName and SnapshotArns cannot be used together.")
	}
	if a.KmsKeyID != "" && !a.AtRestEncryption {
		return conflict("The parameter KmsKeyId needs AtRestEncryptionEnabled to be true.")
	}
	if err := checkKey(region, a.KmsKeyID); err != nil {
		return err
	}
	return checkTags(a.Tags)
}

func checkRetention(days *int) error {
	if days != nil && (*days < 0 || *days > maxRetention) {
		return invalid("The parameter SnapshotRetentionLimit must be between 0 and %d. Provided value: %d", maxRetention, *days)
	}
	return nil
}

func checkTopic(region, arn string) error {
	if m := topicRE.FindStringSubmatch(arn); m == nil || m[1] != region {
		return invalid("The parameter NotificationTopicArn must be the ARN of a topic in %s. Provided value: %s", region, arn)
	}
	return nil
}

// decided is what becomes of Asked once engine, build and node type are known.
type decided struct {
	cache.Settings
	choice Choice
	node   cache.NodeType
	// cluster tells that the parameter group turns cluster mode on.
	cluster bool
	seed    *cache.Seed
	// notes are told as events of the new cache.
	notes []string
}

// decide completes what was asked for. from is the snapshot to restore, if there
// is one: it says what was not asked for otherwise.
func (c *Control) decide(ctx context.Context, region, id string, a *Asked, from *cache.Snapshot) (*decided, error) {
	d := &decided{}
	want := *a
	if from != nil {
		inherit(&want, from)
	}
	if err := c.decideEngine(d, &want); err != nil {
		return nil, err
	}
	if from != nil {
		if err := checkRestore(from, d.Engine, d.EngineVersion); err != nil {
			return nil, err
		}
	}
	if err := decideNodeType(d, want.NodeType); err != nil {
		return nil, err
	}
	if err := c.decideParameterGroup(ctx, region, d, &want, from != nil && a.ParameterGroup == "", from != nil && from.ClusterEnabled()); err != nil {
		return nil, err
	}
	if err := checkClusterRestore(d, from, a.SnapshotARNs); err != nil {
		return nil, err
	}
	var err error
	if d.SnapshotWindow, d.MaintenanceWindow, err = windows(region, id, a.SnapshotWindow, a.MaintenanceWindow); err != nil {
		return nil, err
	}
	d.Port = orElse(a.Port, defaultPort)
	d.SubnetGroup = lower(a.SubnetGroup)
	d.SecurityGroupIDs = a.SecurityGroupIDs
	d.AutoMinorVersionUpgrade = orElse(a.AutoMinorVersionUpgrade, true)
	d.SnapshotRetention = orElse(a.SnapshotRetention, 0)
	if d.SnapshotRetention > 0 && !d.node.Snapshots {
		return nil, conflict("%s SnapshotRetentionLimit must be 0.", noSnapshots(d.NodeType))
	}
	d.NotificationTopicARN = a.NotificationTopicARN
	d.NetworkType, d.IPDiscovery = ipv4, ipv4
	d.Tags = a.Tags
	d.AtRestEncryption, d.KmsKeyID = a.AtRestEncryption, a.KmsKeyID
	if err := c.decideTransit(d, a.Transit); err != nil {
		return nil, err
	}
	d.note()
	return d, nil
}

func orElse[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// inherit takes from a snapshot what a restore does not say.
func inherit(a *Asked, from *cache.Snapshot) {
	if a.Engine == "" {
		a.Engine = from.Engine
	}
	if a.EngineVersion == "" && lower(a.Engine) == from.Engine {
		a.EngineVersion = from.EngineVersion
	}
	if a.NodeType == "" {
		a.NodeType = from.NodeType
	}
	if a.ParameterGroup == "" {
		a.ParameterGroup = from.ParameterGroup
	}
}

func (c *Control) decideEngine(d *decided, a *Asked) error {
	d.Engine = lower(a.Engine)
	switch d.Engine {
	case cache.Redis, cache.Valkey:
	case cache.Memcached:
		if !a.memcached {
			return invalid("The engine memcached has no replication groups. Use CreateCacheCluster, or one of the engines redis and valkey.")
		}
	case "":
		return missing("Engine")
	default:
		return invalid("Unrecognized engine type: %s", a.Engine)
	}
	if err := checkVersion(a.EngineVersion); err != nil {
		return err
	}
	choice, err := c.Catalogue.Resolve(d.Engine, a.EngineVersion)
	var fault *cache.Fault
	if err != nil && !errors.As(err, &fault) {
		err = invalid("%s", err)
	}
	if err != nil {
		return err
	}
	if choice.Asked == "" || choice.Build == "" || choice.Family == "" {
		return fmt.Errorf("the catalogue's choice for %s %q is incomplete: %+v", d.Engine, a.EngineVersion, choice)
	}
	d.choice, d.EngineVersion = choice, choice.Asked
	return nil
}

// patchless is the version from which the API names no patches.
const patchless = "6.0"

// checkVersion refuses the choice of a patch where there is none to choose. What
// the version means is for the catalogue to say.
func checkVersion(asked string) error {
	parts := strings.Split(asked, ".")
	if len(parts) > 2 && cache.CompareVersions(asked, patchless) >= 0 {
		return invalid("Specific version selection is not allowed for '%s', please use '%s'", asked, parts[0]+"."+parts[1])
	}
	return nil
}

func decideNodeType(d *decided, asked string) error {
	if asked == "" {
		return missing("CacheNodeType")
	}
	t, ok := cache.FindNodeType(asked)
	switch {
	case !ok:
		return invalid("The parameter CacheNodeType is not valid: there is no node type %s.", asked)
	case t.DataTiering:
		return invalid("The node type %s keeps part of its data on disk (DataTieringEnabled), which is not supported by this endpoint yet.", asked)
	case d.Engine == cache.Redis && t.ValkeyOnly:
		return conflict("The node type %s does not serve redis; it serves valkey.", asked)
	case d.Engine == cache.Redis && t.MinRedis != "" && cache.CompareVersions(d.EngineVersion, t.MinRedis) < 0:
		return conflict("The node type %s serves redis from version %s on. Provided version: %s", asked, t.MinRedis, d.EngineVersion)
	}
	if d.Engine == cache.Memcached {
		if err := checkMemcachedNodeType(t, d.EngineVersion); err != nil {
			return err
		}
	}
	d.node, d.NodeType = t, t.Name
	return nil
}

// decideParameterGroup takes the group asked for or the default one. An inherited
// group of another family, or mode, or one that is gone, gives way to the default; in the
// last case clustered says which.
func (c *Control) decideParameterGroup(ctx context.Context, region string, d *decided, a *Asked, inherited, clustered bool) error {
	name := lower(a.ParameterGroup)
	g, ok, err := c.lookUpParameterGroup(ctx, region, name)
	if err != nil {
		return err
	}
	own := cache.DefaultParameterGroup(d.choice.Family)
	if a.ClusterMode == ClusterOn || a.ClusterMode == "" && inherited && (g.ClusterMode || !ok && clustered) {
		own = cache.ClusterParameterGroup(d.choice.Family)
	}
	mode := ClusterOff
	if g.ClusterMode {
		mode = ClusterOn
	}
	if name == "" || inherited && (!ok || g.Family != d.choice.Family || a.ClusterMode != "" && a.ClusterMode != mode) {
		name = own
		g, ok = cache.FindParameterGroup(own)
	}
	switch {
	case !ok:
		return cache.Faultf(codeParameterGroupNotFound, "CacheParameterGroup not found: %s", name)
	case g.Family != d.choice.Family:
		return conflict("Expected a parameter group of family %s but found one of family %s", d.choice.Family, g.Family)
	case a.ClusterMode == ClusterOff && g.ClusterMode:
		return conflict("Cluster mode should be disabled in parameter group, but found it is enabled.")
	case a.ClusterMode == ClusterOn && !g.ClusterMode:
		return conflict("Cluster mode should be enabled in parameter group, but found it is disabled.")
	}
	d.ParameterGroup, d.Parameters, d.cluster = g.Name, g.Values, g.ClusterMode
	if !g.Default() {
		d.notes = append(d.notes, usesParameterGroup(g.Name))
	}
	return c.checkHonoured(&g, d.choice.Build, g.Values)
}

// note says what is kept without effect.
func (d *decided) note() {
	if len(d.choice.Lacks) > 0 {
		d.notes = append(d.notes, fmt.Sprintf("Build %s serves %s %s without %s",
			d.choice.Build, d.Engine, d.EngineVersion, strings.Join(d.choice.Lacks, ", ")))
	}
	if d.NotificationTopicARN != "" {
		d.notes = append(d.notes, topicNote(d.NotificationTopicARN))
	}
	if len(d.SecurityGroupIDs) > 0 {
		d.notes = append(d.notes, securityGroupsNote(d.SecurityGroupIDs))
	}
}

func topicNote(arn string) string {
	return fmt.Sprintf("Topic %s is kept, but notifications are not sent yet: read events with DescribeEvents", arn)
}

func securityGroupsNote(ids []string) string {
	return fmt.Sprintf("Security groups %s are kept, but filter nothing: nodes answer on addresses of this machine only", strings.Join(ids, ", "))
}
