package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Catalog is what Scan found.
type Catalog struct {
	builds   []Build
	problems []error
}

// DefaultDir is where scripts/engines installs: $HOLDFAST_ENGINES_DIR, or
// holdfast/engines in the user's data directory.
func DefaultDir() (string, error) {
	if dir := os.Getenv("HOLDFAST_ENGINES_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "holdfast", "engines"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("cannot find the engines directory: %w", err)
	}
	return filepath.Join(home, ".local", "share", "holdfast", "engines"), nil
}

// Scan looks for engines in the given directories, or in DefaultDir when there
// are none, and on PATH. A directory that does not exist holds nothing. Where two
// have the same name the bundle goes before the one on PATH, and the first
// directory before the next.
func Scan(ctx context.Context, dirs ...string) (*Catalog, error) {
	if len(dirs) == 0 {
		dir, err := DefaultDir()
		if err != nil {
			return nil, err
		}
		dirs = []string{dir}
	}
	c := &Catalog{}
	for _, dir := range dirs {
		if err := c.scanBundles(dir); err != nil {
			return nil, err
		}
	}
	c.scanPath(ctx)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cannot scan for engines: %w", err)
	}
	slices.SortFunc(c.builds, compareBuilds)
	return c, nil
}

func (c *Catalog) scanBundles(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("cannot scan for engines: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot scan for engines: %w", err)
	}
	for _, e := range entries {
		// Names with a dot in front are installations under way.
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		b, err := readBundle(filepath.Join(dir, e.Name()))
		if errors.Is(err, errNoBundle) {
			continue
		}
		c.add(b, err)
	}
	return nil
}

// add keeps a build that is new and the error of one that cannot be used.
func (c *Catalog) add(b Build, err error) {
	if err != nil {
		c.problems = append(c.problems, err)
		return
	}
	if _, known := c.Build(b.Name); !known {
		c.builds = append(c.builds, b)
	}
}

// manifest is what scripts/engines writes into a bundle; more stands in it.
type manifest struct {
	Format       int    `json:"format"`
	Engine       string `json:"engine"`
	Version      string `json:"version"`
	Distribution string `json:"distribution"`
	Suite        string `json:"suite"`
	Server       string `json:"server"`
	CLI          string `json:"cli"`
}

const manifestFormat = 1

var errNoBundle = errors.New("no bundle")

// readBundle returns errNoBundle for a directory without a manifest.
func readBundle(dir string) (Build, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
		return Build{}, errNoBundle
	}
	if err != nil {
		return Build{}, fmt.Errorf("cannot read the engine in %s: %w", dir, err)
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return Build{}, fmt.Errorf("cannot read %s/manifest.json: %w", dir, err)
	}
	if err := m.check(); err != nil {
		return Build{}, fmt.Errorf("cannot use the engine in %s: %w", dir, err)
	}
	b := Build{
		Name: m.Engine + "-" + m.Version, Engine: m.Engine, Version: m.Version, Suite: m.Suite, Dir: dir,
		Server: filepath.Join(dir, m.Server), Abilities: abilitiesOf(m.Engine, m.Version),
	}
	if m.CLI != "" {
		b.CLI = filepath.Join(dir, m.CLI)
	}
	if err := executable(b.Server); err != nil {
		return Build{}, fmt.Errorf("cannot use the engine in %s: %w", dir, err)
	}
	return b, nil
}

func (m manifest) check() error {
	switch {
	case m.Format != manifestFormat:
		return fmt.Errorf("its manifest has format %d, this program knows %d", m.Format, manifestFormat)
	case m.Engine != Redis && m.Engine != Valkey && m.Engine != Memcached:
		return fmt.Errorf("its manifest names the engine %q", m.Engine)
	case !plainVersion(m.Version):
		return fmt.Errorf("its manifest names the version %q", m.Version)
	case !filepath.IsLocal(m.Server), m.CLI != "" && !filepath.IsLocal(m.CLI):
		return errors.New("its manifest names a program outside of it")
	}
	return nil
}

// plainVersion: numbers with dots between them, two at least.
func plainVersion(v string) bool {
	return strings.Contains(v, ".") && !slices.ContainsFunc(strings.Split(v, "."), func(part string) bool {
		return part == "" || len(part) > 6 || strings.Trim(part, "0123456789") != ""
	})
}

// Builds are all that can be used, by engine and then by version, oldest first.
func (c *Catalog) Builds() []Build { return slices.Clone(c.builds) }

// Build finds an installed engine by its name, as records of nodes keep it.
func (c *Catalog) Build(name string) (Build, bool) {
	i := slices.IndexFunc(c.builds, func(b Build) bool { return b.Name == name })
	if i < 0 {
		return Build{}, false
	}
	return c.builds[i], true
}

// Problems are the errors of what was found and cannot be used.
func (c *Catalog) Problems() []error { return slices.Clone(c.problems) }
