// Command gen writes ../zz_generated.go from the sources of the AWS SDK for Go v2.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const (
	sdk    = "github.com/aws/aws-sdk-go-v2/service/"
	output = "zz_generated.go"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot generate the tables:", err)
		os.Exit(1)
	}
}

// run is started in the package's directory, as go generate does.
func run() error {
	var models []*model
	for _, svc := range services {
		dir, err := moduleDir(sdk + svc.name)
		if err != nil {
			return err
		}
		m, err := read(svc, dir)
		if err != nil {
			return fmt.Errorf("service %s: %w", svc.name, err)
		}
		models = append(models, m)
	}
	src, err := render(models)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(output); err == nil && bytes.Equal(old, src) {
		return nil
	}
	return os.WriteFile(output, src, 0o644)
}

// moduleDir finds where the module's sources are.
func moduleDir(module string) (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("cannot find module %s: %w", module, err)
	}
	dir := strings.TrimSpace(string(out))
	if dir == "" {
		return "", fmt.Errorf("the sources of module %s are not here, run: go mod download", module)
	}
	return dir, nil
}
