package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// versionTimeout bounds one "--version"; a machine that has much to do is slow to begin one.
const versionTimeout = 30 * time.Second

// scanPath looks at every directory of PATH, not only for the first program of a
// name: a machine may well have two versions there.
func (c *Catalog) scanPath(ctx context.Context) {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		// A relative directory means another one for every working directory.
		if !filepath.IsAbs(dir) {
			continue
		}
		for _, name := range []string{"redis-server", "valkey-server", "memcached"} {
			server := filepath.Join(dir, name)
			if executable(server) != nil {
				continue
			}
			c.add(readProgram(ctx, server))
		}
	}
}

// readProgram asks a program for its version. A redis-server may turn out to be
// Valkey: what it says goes, not what it is called.
func readProgram(ctx context.Context, server string) (Build, error) {
	said, err := versionOutput(ctx, server)
	if err != nil {
		return Build{}, fmt.Errorf("cannot use the engine %s: %w", server, err)
	}
	engine, version, ok := parseVersionOutput(said)
	if !ok {
		return Build{}, fmt.Errorf("cannot use the engine %s: it calls itself %q", server, said)
	}
	b := Build{Name: engine + "-" + version, Engine: engine, Version: version, Server: server, Abilities: abilitiesOf(engine, version)}
	for _, cli := range []string{engine + "-cli", "redis-cli"} {
		path := filepath.Join(filepath.Dir(server), cli)
		if engine != Memcached && executable(path) == nil {
			b.CLI = path
			break
		}
	}
	return b, nil
}

// asked keeps what programs said, so that only the first scan of a process starts them.
var asked = struct {
	sync.Mutex
	said map[program]string
}{said: map[program]string{}}

// program is a file as it was when it was asked.
type program struct {
	path     string
	modified time.Time
	size     int64
}

func versionOutput(ctx context.Context, server string) (string, error) {
	info, err := os.Stat(server)
	if err != nil {
		return "", err
	}
	key := program{path: server, modified: info.ModTime(), size: info.Size()}
	asked.Lock()
	defer asked.Unlock()
	if said, ok := asked.said[key]; ok {
		return said, nil
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, server, "--version")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", server, err)
	}
	said := string(out[:min(len(out), 200)])
	asked.said[key] = said
	return said, nil
}

var (
	serverVersion    = regexp.MustCompile(`^(Redis|Valkey) server v=([0-9.]+) `)
	memcachedVersion = regexp.MustCompile(`^memcached ([0-9.]+)`)
)

func parseVersionOutput(said string) (engine, version string, ok bool) {
	if m := serverVersion.FindStringSubmatch(said); m != nil {
		engine, version = map[string]string{"Redis": Redis, "Valkey": Valkey}[m[1]], m[2]
	} else if m := memcachedVersion.FindStringSubmatch(said); m != nil {
		engine, version = Memcached, m[1]
	}
	return engine, version, plainVersion(version)
}

// executable returns nil for a file that can be started.
func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return &fs.PathError{Op: "execute", Path: path, Err: fs.ErrPermission}
	}
	return nil
}

func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }
