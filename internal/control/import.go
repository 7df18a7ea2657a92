package control

import (
	"context"
	"errors"
	"path"
	"regexp"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// NewImport asks for a snapshot of what was backed up elsewhere. Its files have been
// staged, whole, before it is asked for.
type NewImport struct {
	Name string
	// Engine and Version, in full, of what the files were taken of.
	Engine, Version string
	// Clustered tells that each file holds the slots of one shard of a cluster.
	Clustered bool
	KmsKeyID  string
	Import    cache.Import
}

var (
	stagedRE     = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,199}$`)
	stagedFileRE = regexp.MustCompile(`^[0-9]{4}\.rdb$`)
)

// ImportSnapshot writes down that staged files are to become a manual snapshot. Whoever
// asks for the same again, because an answer was lost, gets what there is of it. Of
// the configuration only DB and Now are used.
func (c *Control) ImportSnapshot(ctx context.Context, region string, in NewImport) (*cache.Snapshot, error) {
	if err := checkImport(region, &in); err != nil {
		return nil, err
	}
	s := cache.Snapshot{
		Region: region, Name: lower(in.Name), Source: cache.SourceManual, Status: cache.StatusCreating,
		CreatedAt: c.Now(), SourceCreatedAt: c.Now(), Import: &in.Import, Imported: in.Import.Staged, Settings: importedSettings(&in),
	}
	for _, f := range in.Import.Files {
		if in.Clustered {
			s.NodeGroups = append(s.NodeGroups, cache.NodeGroup{ID: f.NodeGroupID, Slots: f.Slots})
		}
	}
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		there, ok, err := records.Snapshots.Get(tx, s.Key())
		if err != nil {
			return err
		}
		if ok && !there.Deleting && there.Imported == s.Imported {
			s = there
			return nil
		}
		if err := checkNoSnapshot(tx, region, s.Name); err != nil {
			return err
		}
		return records.Snapshots.Put(tx, s.Key(), s)
	})
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// CheckImport checks what is known of an import before its files are written.
func CheckImport(region, name, kmsKeyID string) error {
	return errors.Join(checkID("SnapshotName", name, maxSnapshotName), checkKey(region, kmsKeyID))
}

func checkImport(region string, in *NewImport) error {
	if err := CheckImport(region, in.Name, in.KmsKeyID); err != nil {
		return err
	}
	slots := 0
	for i, f := range in.Import.Files {
		if !stagedFileRE.MatchString(f.Name) || f.NodeGroupID != cache.NodeGroupName(i+1) || f.Fingerprint == "" {
			return invalid("The file %s, of node group %s, is none that can be imported.", f.Name, f.NodeGroupID)
		}
		slots += f.Slots.Count()
	}
	switch {
	case !stagedRE.MatchString(in.Import.Staged) || path.Base(in.Import.Staged) != in.Import.Staged:
		return invalid("%q is no directory of files to be imported.", in.Import.Staged)
	case in.Engine != cache.Redis && in.Engine != cache.Valkey:
		return invalid("Data of the engine %q cannot be imported; those of redis and valkey can.", in.Engine)
	case len(in.Import.Files) == 0 || len(in.Import.Files) > 1 && !in.Clustered:
		return invalid("One file can be imported, or those of the shards of a cluster. Provided: %d", len(in.Import.Files))
	case in.Clustered && slots != cache.SlotCount:
		return invalid("The files of a cluster must cover all %d slots. Covered: %d", cache.SlotCount, slots)
	}
	return nil
}

// importedSettings are what a group gets that is created from it and says nothing else.
func importedSettings(in *NewImport) cache.Settings {
	s := cache.Settings{
		Engine: in.Engine, EngineVersion: shortVersion(in.Version), Port: defaultPort, AutoMinorVersionUpgrade: true,
		KmsKeyID: in.KmsKeyID, NetworkType: ipv4, IPDiscovery: ipv4,
	}
	largest := int64(0)
	for _, f := range in.Import.Files {
		largest = max(largest, f.Bytes)
	}
	s.NodeType = nodeTypeFor(largest)
	if family, ok := cache.FamilyOf(s.Engine, s.EngineVersion); ok {
		s.ParameterGroup = cache.DefaultParameterGroup(family)
		if in.Clustered {
			s.ParameterGroup = cache.ClusterParameterGroup(family)
		}
	}
	return s
}

// shortVersion is a version as the API spells it: patches are named up to 5.0.6 only.
func shortVersion(full string) string {
	parts := strings.Split(full, ".")
	if len(parts) > 2 && cache.CompareVersions(full, patchless) >= 0 {
		return parts[0] + "." + parts[1]
	}
	return full
}

// swell is by how much data are larger in memory than in a file, or more.
const swell = 4

// nodeTypeFor is the smallest ordinary node type that surely holds the data of a file.
func nodeTypeFor(bytes int64) string {
	best := cache.NodeType{}
	for _, t := range cache.NodeTypes() {
		class, ok := strings.CutPrefix(t.Name, "cache.t4g.")
		if !ok {
			class, ok = strings.CutPrefix(t.Name, "cache.r6g.")
		}
		if !ok || class == "" {
			continue
		}
		fits, bestFits := t.MaxMemory >= swell*bytes, best.MaxMemory >= swell*bytes
		if best.Name == "" || fits && (!bestFits || t.MaxMemory < best.MaxMemory) || !fits && !bestFits && t.MaxMemory > best.MaxMemory {
			best = t
		}
	}
	return best.Name
}
