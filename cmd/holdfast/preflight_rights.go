package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"holdfast.dev/internal/resp"
)

// probe is a command that writes nothing and yet passes every check that a server
// makes before it writes.
type probe struct {
	args []string
	// fails: the server must answer with an error of its arguments.
	fails bool
	// lacking is what cannot be done without it; where it is empty, nothing can.
	lacking string
}

// probes are the commands by which servers are filled.
func probes() []probe {
	key := "holdfast:preflight:" + rand.Text() // nobody has such a key
	return []probe{
		{args: []string{"RESTORE", key, "-1", "", "REPLACE"}, fails: true},
		{args: []string{"SET", key, "", "PX", "-1"}, fails: true},
		{args: []string{"UNLINK", key}, lacking: "keys that the source deletes while it is followed, and values so large that they are written in pieces"},
	}
}

// mayWrite sees whether the user may send what is needed.
func (p *preflight) mayWrite(ctx context.Context) error {
	for _, pr := range probes() {
		_, err := p.conn.Do(ctx, pr.args...)
		if err == nil && pr.fails {
			return fmt.Errorf("cannot look at %s: it accepts %s with an expiry of -1", p.opt, pr.args[0])
		}
		if err := p.refusedProbe(&pr, err); err != nil {
			return err
		}
	}
	return nil
}

// refusedProbe finds what a server's answer to a probe tells.
func (p *preflight) refusedProbe(pr *probe, err error) error {
	name := pr.args[0]
	report := p.refuse
	without := ""
	if pr.lacking != "" {
		report, without = p.warn, "; without it these cannot be brought over: "+pr.lacking
	}
	var said *resp.ServerError
	switch {
	case err == nil:
	case !errors.As(err, &said):
		return err
	case resp.UnknownCommand(err):
		report("rights", "%s does not exist there: it was renamed or disabled, or what answers is no Redis or Valkey server; give it back its name%s", name, without)
	case said.Code() == "NOPERM" && strings.Contains(said.Text, "key"):
		if pr.fails {
			p.warn("rights", "the user may write some keys only: %s", said.Text)
		}
	case said.Code() == "MOVED", said.Code() == "ASK": // another shard has the key's slot; the user may send it
	case said.Code() == "READONLY" && p.info["role"] == "slave": // said already
	case said.Code() == "NOPERM":
		report("writing", "%s is refused: %s; give a user who may send it (ACL SETUSER … +%s)%s", name, said.Text, strings.ToLower(name), without)
	case said.Code() != "ERR":
		report("writing", "%s is refused: %s%s", name, said.Text, without)
	}
	return nil
}

// leastBulk is the least that proto-max-bulk-len can be set to, mostBulk what it
// is where nobody set it.
const (
	leastBulk = 1 << 20
	mostBulk  = 512 << 20
)

// size sees whether the server takes the largest entry.
func (p *preflight) size(ctx context.Context, largest int64) error {
	if largest < leastBulk {
		return nil
	}
	limit, err := p.bulkLimit(ctx)
	if err != nil {
		return err
	}
	if largest > limit {
		p.refuse("size", "the largest key and value have %s bytes, and the server takes %s; CONFIG SET proto-max-bulk-len there, or leave the key out (--exclude)",
			thousands(largest), thousands(limit))
	}
	return nil
}

func (p *preflight) bulkLimit(ctx context.Context) (int64, error) {
	r, err := p.conn.Do(ctx, "CONFIG", "GET", "proto-max-bulk-len")
	if resp.IsServerError(err) || err == nil && len(r.Elems) != 2 {
		return mostBulk, nil
	}
	if err != nil {
		return 0, err
	}
	return r.Elems[1].Number()
}

// moduleOf are the modules that bring types, by the names that their authors gave
// both.
var moduleOf = map[string][]string{
	"ReJSON-RL": {"ReJSON", "json"},
	"MBbloom--": {"bf"}, "MBbloomCF": {"bf"}, "CMSk-TYPE": {"bf"}, "TopK-TYPE": {"bf"}, "TDIS-TYPE": {"bf"},
	"bloomfltr": {"bf"},
	"TSDB-TYPE": {"timeseries"},
	"graphdata": {"graph"},
	"vectorset": {"vectorset"},
}

// modules sees whether the server has those of the values, keys by type.
func (p *preflight) modules(ctx context.Context, keys map[string]int64) error {
	if len(keys) == 0 {
		return nil
	}
	loaded, err := loadedModules(ctx, p.conn)
	if err != nil && !resp.IsServerError(err) {
		return err
	}
	for _, typ := range slices.Sorted(maps.Keys(keys)) {
		needs, known := moduleOf[typ]
		has := slices.ContainsFunc(loaded, func(name string) bool { return slices.Contains(needs, name) })
		switch {
		case has:
		case err != nil:
			p.warn("modules", "%s keys have the module type %s, and which modules the server has cannot be told: %v", thousands(keys[typ]), typ, err)
		case known || len(loaded) == 0:
			p.refuse("modules", "%s keys have the module type %s, and the server has no module for it (MODULE LIST); load it there, or --without-types %s leaves them out", thousands(keys[typ]), typ, typ)
		default:
			p.warn("modules", "%s keys have the module type %s: whether one of the server's modules (%s) has it shows when they are written",
				thousands(keys[typ]), typ, strings.Join(loaded, ", "))
		}
	}
	return nil
}

// loadedModules are the names of a server's modules.
func loadedModules(ctx context.Context, c *resp.Conn) ([]string, error) {
	r, err := c.Do(ctx, "MODULE", "LIST")
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range r.Elems {
		fields := r.Elems[i].Elems
		for j := 0; j+1 < len(fields); j += 2 {
			if string(fields[j].Bytes) == "name" {
				out = append(out, string(fields[j+1].Bytes))
			}
		}
	}
	return out, nil
}
