package engine

import (
	"context"
	"slices"
	"strings"

	"holdfast.dev/internal/resp"
)

// unwatch cuts off who watches with MONITOR and may not any more: an engine asks for that
// right when somebody begins, and never again.
func (g granting) unwatch(ctx context.Context, c *resp.Conn) error {
	list, err := c.Do(ctx, "CLIENT", "LIST")
	if err != nil {
		return err
	}
	for _, w := range watching(string(list.Bytes)) {
		if may, err := g.mayWatch(ctx, c, w.user); err != nil || may {
			if err != nil {
				return err
			}
			continue
		}
		if _, err := c.Do(ctx, "CLIENT", "KILL", "ID", w.id); err != nil {
			return err
		}
	}
	return nil
}

// mayWatch asks the engine; one before 7.0 cannot be asked.
func (g granting) mayWatch(ctx context.Context, c *resp.Conn, user string) (bool, error) {
	i := slices.IndexFunc(g.users, func(u account) bool { return u.name == user })
	switch {
	case i < 0:
		return false, nil
	case !g.d.has(since70):
		return grantsBefore70(g.users[i].rules, "monitor", ""), nil
	}
	r, err := c.Do(ctx, "ACL", "DRYRUN", user, "MONITOR")
	if err != nil {
		return false, err
	}
	return string(r.Bytes) == "OK", nil
}

// watcher is a connection on which MONITOR runs.
type watcher struct{ id, user string }

// watching finds them in what CLIENT LIST says, where no value has a space in it.
func watching(list string) (out []watcher) {
	for line := range strings.Lines(list) {
		var w watcher
		watches := false
		for _, field := range strings.Fields(line) {
			name, value, _ := strings.Cut(field, "=")
			switch name {
			case "id":
				w.id = value
			case "user":
				w.user = value
			case "flags":
				watches = slices.Contains([]byte(value), 'O')
			}
		}
		if watches && w.user != AdminUser {
			out = append(out, w)
		}
	}
	return out
}
