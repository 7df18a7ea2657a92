package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// Grant makes the users of a running node those of its spec, and makes sure of it.
// Users who are gone lose their connections with it, and so do those of ended: names
// that belong to somebody else by now, and who watches and may not any more. Everyone else
// stays connected, under the new rules.
//
// Everything is sent before anything is asked: a node that hangs has it before it
// serves the next command of anybody. A user whose rules the engine
// refuses is turned off, and is what the error tells.
func (e *Engines) Grant(ctx context.Context, spec cache.NodeSpec, ended []string) error {
	if err := e.grant(ctx, spec, ended); err != nil {
		return fmt.Errorf("cannot tell %s who may log in: %w", spec.Key, err)
	}
	return nil
}

func (e *Engines) grant(ctx context.Context, spec cache.NodeSpec, ended []string) error {
	_, d, err := e.build(spec)
	if err != nil {
		return err
	}
	if err := checkAccess(d, spec.Access); err != nil {
		return err
	}
	n, err := e.node(spec)
	if err != nil {
		return err
	}
	// Without the node's turn: nothing else that is told to it touches its users, and who
	// waits for a node that hangs must not be in the way of whoever ends it.
	g := granting{n: n, d: d, users: accounts(d, spec), ended: ended}
	if err := n.link.use(ctx, spec, func(c *resp.Conn) error { return g.all(ctx, c) }); err != nil {
		return err
	}
	unlock, err := n.turn.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return n.writeConf(configuration(d, n.dir, spec)) // no file keeps what was revoked
}

// granting is one Grant.
type granting struct {
	n     *node
	d     dialect
	users []account
	ended []string
}

func (g granting) all(ctx context.Context, c *resp.Conn) error {
	cmds := [][]string{{"INFO", "server"}, {"MULTI"}}
	for _, u := range g.users {
		cmds = append(cmds, append([]string{"ACL", "SETUSER", u.name, "reset"}, u.rules...))
	}
	cmds = append(cmds, g.endings()...)
	replies, err := converse(ctx, c, append(cmds, []string{"EXEC"}))
	if err != nil {
		return err
	}
	in := info{}
	in.read(string(replies[0].Bytes))
	if err := errors.Join(firstError(replies), g.n.isOurs(in)); err != nil {
		return err
	}
	if err := g.refused(ctx, c, replies[len(replies)-1].Elems); err != nil {
		return err
	}
	if err := g.settle(ctx, c); err != nil {
		return err
	}
	return g.unwatch(ctx, c)
}

// endings end connections: by deleting their user, or as those of a user who stays.
func (g granting) endings() [][]string {
	var cmds [][]string
	for _, name := range g.ended {
		switch {
		case name == AdminUser:
		case g.has(name):
			cmds = append(cmds, []string{"CLIENT", "KILL", "USER", name, "SKIPME", "yes"})
		default:
			cmds = append(cmds, []string{"ACL", "DELUSER", name})
		}
	}
	return cmds
}

func (g granting) has(name string) bool {
	return slices.ContainsFunc(g.users, func(u account) bool { return u.name == name })
}

// refused turns users off whose rules the engine did not take: what they had before may
// be more than they are to have.
func (g granting) refused(ctx context.Context, c *resp.Conn, done []resp.Reply) error {
	var off [][]string
	var first error
	for i := range done {
		err := done[i].Err()
		if err == nil {
			continue
		}
		if i < len(g.users) {
			off = append(off, []string{"ACL", "SETUSER", g.users[i].name, "reset"})
			err = fmt.Errorf("%w: the engine refuses the rules of the user %s, who is turned off: %w", cache.ErrPermanent, g.users[i].name, err)
		}
		first = errors.Join(first, err)
	}
	if len(off) > 0 {
		replies, err := converse(ctx, c, off)
		if err = errors.Join(err, firstError(replies)); err != nil {
			return err
		}
	}
	return first
}

// settle deletes users whom nobody told about, and compares those that there are with
// those that there are to be.
func (g granting) settle(ctx context.Context, c *resp.Conn) error {
	all, err := c.Do(ctx, "ACL", "USERS")
	if err != nil {
		return err
	}
	var cmds [][]string
	for i := range all.Elems {
		name := string(all.Elems[i].Bytes)
		if name != AdminUser && !g.has(name) {
			cmds = append(cmds, []string{"ACL", "DELUSER", name})
		}
	}
	for _, u := range g.users {
		cmds = append(cmds, []string{"ACL", "GETUSER", u.name})
	}
	replies, err := converse(ctx, c, cmds)
	if err = errors.Join(err, firstError(replies)); err != nil {
		return err
	}
	for i, u := range g.users {
		if r := &replies[len(replies)-len(g.users)+i]; !u.is(r) {
			return fmt.Errorf("%w: the user %s is not what the engine was told", cache.ErrAmbiguous, u.name)
		}
	}
	return nil
}

// is compares how a user may log in with what ACL GETUSER says. What he may do then the engine
// took whole with the rest or not at all, and prints in words of its own.
func (a account) is(r *resp.Reply) bool {
	on, open, hashes := a.login()
	var isOn, isOpen bool
	has := map[string]bool{}
	for i := 0; i+1 < len(r.Elems); i += 2 {
		for j := range r.Elems[i+1].Elems {
			word := string(r.Elems[i+1].Elems[j].Bytes)
			switch string(r.Elems[i].Bytes) {
			case "flags":
				isOn, isOpen = isOn || word == "on", isOpen || word == "nopass"
			case "passwords":
				has[strings.TrimPrefix(word, "#")] = true
			}
		}
	}
	return on == isOn && open == isOpen && maps.Equal(hashes, has)
}

// login is how a user may log in after his rules: whether at all, whether without a
// password, and with which.
func (a account) login() (on, open bool, hashes map[string]bool) {
	hashes = map[string]bool{}
	for _, r := range a.rules {
		switch low := strings.ToLower(r); {
		case low == "on":
			on = true
		case low == "off":
			on = false
		case low == "nopass":
			open, hashes = true, map[string]bool{}
		case low == "resetpass":
			open, hashes = false, map[string]bool{}
		case r[0] == '#':
			open, hashes[r[1:]] = false, true
		case r[0] == '!':
			delete(hashes, r[1:])
		}
	}
	return on, open, hashes
}

// converse sends commands in one write and returns the reply to each.
func converse(ctx context.Context, c *resp.Conn, cmds [][]string) ([]resp.Reply, error) {
	release := c.Guard(ctx)
	defer release()
	var b []byte
	for _, cmd := range cmds {
		b = resp.AppendCommand(b, cmd...)
	}
	if err := c.Send(b); err != nil {
		return nil, err
	}
	out := make([]resp.Reply, 0, len(cmds))
	for range cmds {
		r, err := c.Receive()
		if err != nil {
			return nil, err
		}
		out = append(out, kept(r))
	}
	return out, nil
}

// kept is a reply that stays valid when the next one is read.
func kept(r *resp.Reply) resp.Reply {
	out := resp.Reply{Kind: r.Kind, Int: r.Int, Bytes: bytes.Clone(r.Bytes)}
	for i := range r.Elems {
		out.Elems = append(out.Elems, kept(&r.Elems[i]))
	}
	return out
}

// firstError is the first error among replies, those inside EXEC's not included.
func firstError(replies []resp.Reply) error {
	for i := range replies {
		if err := replies[i].Err(); err != nil {
			return err
		}
	}
	return nil
}
