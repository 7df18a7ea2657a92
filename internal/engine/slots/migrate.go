package slots

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/resp"
)

// mostKeys go with one MIGRATE.
const mostKeys = 256

// mostFailures in a row of a connection between the two are borne.
const mostFailures = 20

// admit makes a user at the end to which keys go, by which the other end logs in there.
// The commands of older engines can be watched by any client (MONITOR, SLOWLOG), so that
// no password but one that is thrown away, of a user who may do nothing else, is named in them.
func (m *mover) admit(ctx context.Context) error {
	m.user = "holdfast-mover-" + m.from.ID[:min(8, len(m.from.ID))]
	m.password = rand.Text()
	sum := sha256.Sum256([]byte(m.password))
	err := m.to.do(ctx, "ACL", "SETUSER", m.user, "reset", "on", "#"+hex.EncodeToString(sum[:]),
		"~*", "-@all", "+restore", "+restore-asking", "+select")
	if err != nil {
		return fmt.Errorf("%s admits nobody: %w", m.to.At.Addr, err)
	}
	for i, p := range []*peer{m.to, m.from} {
		if m.copies[i], err = p.hasReplica(ctx); err != nil {
			return err
		}
	}
	return nil
}

// dismiss removes the user again, even when the moving was cut short.
func (m *mover) dismiss(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return m.to.do(ctx, "ACL", "DELUSER", m.user)
}

// hasReplica tells whether a replica is fed.
func (p *peer) hasReplica(ctx context.Context) (bool, error) {
	reply, err := p.c.Do(ctx, "INFO", "replication")
	if err != nil {
		return false, err
	}
	return strings.Contains(string(reply.Bytes), "state=online"), nil
}

// parcel is one MIGRATE: keys of one slot.
type parcel struct {
	slot  int
	keys  []string
	bytes int64
}

func parcels(items []item) []parcel {
	var out []parcel
	for _, it := range items {
		if n := len(out); n == 0 || out[n-1].slot != it.slot || len(out[n-1].keys) == mostKeys {
			out = append(out, parcel{slot: it.slot})
		}
		last := &out[len(out)-1]
		last.keys = append(last.keys, it.key)
		last.bytes += it.bytes
	}
	return out
}

// command is the MIGRATE of a parcel.
func (m *mover) command(p parcel) []string {
	// Milliseconds without a byte from the other end, during which no client is served. A
	// large item keeps the other end busy; after a failure it gets more time.
	wait := (1000 + p.bytes/(10<<10)) << min(m.failed, 4)
	cmd := []string{"MIGRATE", m.to.host, m.to.port, "", "0", strconv.FormatInt(wait, 10)}
	if m.replace[p.slot] {
		cmd = append(cmd, "REPLACE")
	}
	cmd = append(cmd, "AUTH2", m.user, m.password, "KEYS")
	return append(cmd, p.keys...)
}

// burst moves items by MIGRATE commands that the source gets at once.
func (m *mover) burst(ctx context.Context, items []item) error {
	all := parcels(items)
	cmds := make([][]string, len(all))
	for i, p := range all {
		cmds[i] = m.command(p)
	}
	var busy []int
	var cut error
	err := m.from.each(ctx, cmds, func(i int, reply *resp.Reply) error {
		err := reply.Err()
		switch kind := judge(err); {
		case err == nil:
			m.failed = 0
			if string(reply.Bytes) != "NOKEY" && m.from == m.src {
				m.progress.Keys += int64(len(all[i].keys))
				m.progress.Bytes += all[i].bytes
			}
			return nil
		case kind == copyThere:
			busy = append(busy, all[i].slot)
			return nil
		case kind == linkLost:
			cut = err
			return nil
		case kind == noRoom:
			return fmt.Errorf("cannot move keys of slot %d to %s: %w: %w", all[i].slot, m.to.At.Addr, ErrNoRoom, err)
		}
		return fmt.Errorf("%s cannot move keys of slot %d to %s: %w", m.from.At.Addr, all[i].slot, m.to.At.Addr, err)
	})
	if err != nil {
		return m.withoutSecret(err)
	}
	if cut != nil {
		return m.again(ctx, cut)
	}
	return m.mayReplace(ctx, busy)
}

// withoutSecret is an error without the password, should an engine ever repeat it.
func (m *mover) withoutSecret(err error) error {
	if strings.Contains(err.Error(), m.password) {
		return errors.New(strings.ReplaceAll(err.Error(), m.password, "***"))
	}
	return err
}

// What an error of MIGRATE means.
type meaning int

const (
	fatal meaning = iota
	copyThere
	linkLost
	noRoom
)

func judge(err error) meaning {
	switch {
	case err == nil:
		return fatal
	case resp.IsServerError(err, "IOERR"):
		return linkLost
	case !resp.IsServerError(err):
		return fatal
	case strings.Contains(err.Error(), "replied with error: BUSYKEY"):
		return copyThere
	case strings.Contains(err.Error(), "replied with error: OOM"):
		return noRoom
	}
	return fatal
}

// again decides after a lost connection whether to go on: which keys arrived is seen
// from what the source still has. The other end has to be there, as a primary.
func (m *mover) again(ctx context.Context, why error) error {
	m.failed++
	if m.failed > mostFailures {
		return fmt.Errorf("%s does not reach %s: %w", m.from.At.Addr, m.to.At.Addr, why)
	}
	if _, err := m.primaryView(ctx, m.to); err != nil {
		return fmt.Errorf("%s does not take keys (%w): %w", m.to.At.Addr, why, err)
	}
	if _, err := m.primaryView(ctx, m.from); err != nil {
		return fmt.Errorf("%s does not give keys (%w): %w", m.from.At.Addr, why, err)
	}
	return pause(ctx, slowTick)
}

// mayReplace looks whether copies that are in the way are those of this move: the slot
// is open, from the one to the other, by the word of both. Only then the owner's are sure to
// be the newer ones.
func (m *mover) mayReplace(ctx context.Context, slots []int) error {
	slices.Sort(slots)
	slots = slices.Compact(slots)
	if len(slots) == 0 {
		return nil
	}
	from, err := m.primaryView(ctx, m.from)
	if err != nil {
		return err
	}
	to, err := m.primaryView(ctx, m.to)
	if err != nil {
		return err
	}
	for _, n := range slots {
		if m.replace[n] || from.to[n] != m.to.ID || to.from[n] != m.from.ID || !from.owns(n) || to.owns(n) {
			return fmt.Errorf("cannot move slot %d: both %s and %s have keys of the same name in it, and it is not known whose count",
				n, m.from.At.Addr, m.to.At.Addr)
		}
		m.replace[n] = true
	}
	return nil
}
