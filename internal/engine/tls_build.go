package engine

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"time"
)

// tlsLook bounds asking a build whether it has TLS. It ends by itself at once.
const tlsLook = 20 * time.Second

// SpeaksTLS tells whether an installed build was compiled with TLS. It is asked once: one
// that was refuses to start without a certificate, and one that was not knows no such directive.
func (e *Engines) SpeaksTLS(build string) bool {
	b, ok := e.cfg.Catalog.Build(build)
	if !ok {
		return false
	}
	e.asking.Lock()
	defer e.asking.Unlock()
	if speaks, known := e.speaks[b.Server]; known {
		return speaks
	}
	ctx, cancel := context.WithTimeout(context.Background(), tlsLook)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.Server, "-")
	cmd.Env, cmd.Dir = append(os.Environ(), b.Env...), os.TempDir()
	cmd.Stdin = strings.NewReader("port 0\ntls-port 1\n")
	said, err := cmd.CombinedOutput()
	speaks := bytes.Contains(said, []byte("tls-cert-file"))
	if ctx.Err() != nil || err == nil {
		return speaks // it has not said what it was asked for, and is asked again
	}
	e.speaks[b.Server] = speaks
	return speaks
}
