package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// guarded is a buffer that may be written to while it is read.
type guarded struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (g *guarded) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.Write(p)
}

func (g *guarded) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.String()
}

func (g *guarded) lines() []string { return strings.Split(strings.TrimSpace(g.String()), "\n") }

// Where there is no terminal, a line comes every few seconds and none after Done.
func TestProgressLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out guarded
		p := newProgress(&out, "fill", 1000)
		p.Add(100)
		p.SetBytes(5000)
		time.Sleep(logEvery + time.Second) // fake time
		p.Set(600)
		p.SetTotal(1200)
		time.Sleep(logEvery)
		p.Done()
		p.Done()
		time.Sleep(10 * logEvery)
		l := out.lines()
		if len(l) != 2 || !strings.Contains(l[0], "msg=fill keys=100") || !strings.Contains(l[0], `rate="20 keys/s" of=1000 left=45s bytes=5000`) ||
			!strings.Contains(l[1], "keys=600") || !strings.Contains(l[1], "of=1200") {
			t.Errorf("%q", l)
		}
	})
}
