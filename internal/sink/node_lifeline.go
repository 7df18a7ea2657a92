package sink

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"holdfast.dev/internal/resp"
)

// lifeline tells a connection from its successor, and a server from one that was
// started again at its address. Zero where we may not ask.
type lifeline struct {
	client int64
	run    string
}

// lifelineOf asks a server for both.
func lifelineOf(ctx context.Context, c *resp.Conn) (lifeline, error) {
	var l lifeline
	r, err := c.Do(ctx, "CLIENT", "ID")
	if err == nil {
		l.client = r.Int
	} else if !resp.IsServerError(err) {
		return l, err
	}
	r, err = c.Do(ctx, "INFO", "server")
	if err != nil {
		if resp.IsServerError(err) {
			return l, nil
		}
		return l, err
	}
	for name, value := range resp.InfoFields(r.Bytes) {
		if name == "run_id" {
			l.run = value
		}
	}
	return l, nil
}

// What became of the former connection of a node.
type former int

const (
	formerNone    former = iota // there was none
	formerGone                  // nothing of what was sent over it will be carried out any more
	formerUnknown               // that cannot be told
	formerRestart               // its server has ended; what it confirmed may be gone too
)

// succeed makes sure that the server will carry out nothing more of what it got
// over a former connection: it may have received commands that it has not looked
// at yet, and these must not come after newer ones.
func succeed(ctx context.Context, c *resp.Conn, old, now lifeline) (former, error) {
	switch {
	case old == lifeline{}:
		return formerUnknown, nil
	case old.run != "" && now.run != "" && old.run != now.run:
		return formerRestart, nil
	case old.client == 0 || old.run == "" || now.run == "":
		return formerUnknown, nil // another client may have that number after a restart
	}
	_, err := c.Do(ctx, "CLIENT", "KILL", "ID", strconv.FormatInt(old.client, 10))
	var said *resp.ServerError
	switch {
	case err == nil, errors.As(err, &said) && strings.Contains(said.Text, "No such client"):
		return formerGone, nil
	case said != nil:
		return formerUnknown, nil
	}
	return formerUnknown, fmt.Errorf("cannot end the former connection: %w", err)
}
