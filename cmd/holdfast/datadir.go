package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

const (
	defaultListen = "127.0.0.1:4510"
	defaultRegion = "us-east-1"
)

// dataDir is everything that an installation keeps, and where in it what stands:
//
//	holdfast.db       the records
//	credentials.json  the root access key, and the one before it until its rotation is finished
//	iam.key           what the secrets of users' access keys are sealed with
//	service.json      where the service listens, or last listened
//	nodes/            one directory per node: configuration, log, files
//	snapshots/        one directory per snapshot: RDB files and manifests
//	incoming/         what was backed up elsewhere and waits to become a snapshot
//	keys/             one directory per region: what snapshots are sealed with
//	s3/               one directory per region, and in it one per bucket
type dataDir string

func (d dataDir) database() string    { return filepath.Join(string(d), "holdfast.db") }
func (d dataDir) credentials() string { return filepath.Join(string(d), "credentials.json") }
func (d dataDir) service() string     { return filepath.Join(string(d), "service.json") }
func (d dataDir) snapshots() string   { return filepath.Join(string(d), "snapshots") }
func (d dataDir) incoming() string    { return filepath.Join(string(d), "incoming") }
func (d dataDir) keys() string        { return filepath.Join(string(d), "keys") }
func (d dataDir) buckets() string     { return filepath.Join(string(d), "s3") }

// defaultDataDir is the user's state directory.
func defaultDataDir() string {
	if state := os.Getenv("XDG_STATE_HOME"); state != "" {
		return filepath.Join(state, "holdfast")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "holdfast-data"
	}
	return filepath.Join(home, ".local", "state", "holdfast")
}

// make creates the directory, readable by its owner alone, and makes its name
// absolute, since nodes outlive the process whose working directory this is.
func (d dataDir) make() (dataDir, error) {
	abs, err := filepath.Abs(string(d))
	if err != nil {
		return "", fmt.Errorf("cannot find the data directory %s: %w", d, err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return "", fmt.Errorf("cannot create the data directory: %w", err)
	}
	if err := os.Chmod(abs, 0o700); err != nil {
		return "", fmt.Errorf("cannot close the data directory to others: %w", err)
	}
	return dataDir(abs), nil
}

// exists tells whether a service has ever used this directory.
func (d dataDir) exists() bool {
	_, err := os.Stat(d.database())
	return err == nil
}

// serviceInfo says where the service of a data directory answers.
type serviceInfo struct {
	Listen string
	PID    int
}

func (d dataDir) serviceInfo() (serviceInfo, error) {
	var s serviceInfo
	err := readJSON(d.service(), &s)
	return s, err
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces a file as a whole, readable by its owner alone.
func writeJSON(path string, from any) (err error) {
	b, err := json.MarshalIndent(from, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*") // mode 0600
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the first error is the one to tell
			err = fmt.Errorf("cannot write %s: %w", path, err)
		}
	}()
	if _, err = f.Write(append(b, '\n')); err != nil {
		_ = f.Close()
		return err
	}
	if err = f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
