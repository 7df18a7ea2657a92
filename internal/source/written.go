package source

import (
	"context"
	"fmt"
	"strconv"

	"holdfast.dev/internal/resp"
)

// Written tells how much was written to the server at opt, by its run id and the
// count of its commands that write: as long as it says the same, nothing was.
// Empty if the user may not ask.
func Written(ctx context.Context, opt resp.Options) (string, error) {
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // only questions went over it
	s, err := heldNow(ctx, conn)
	if err != nil || !s.counted {
		return "", err
	}
	return fmt.Sprintf("%s:%d", s.id, s.writes), nil
}

// Evicted counts the keys that the server at opt has deleted for want of memory
// since it was started; 0 if the user may not ask.
func Evicted(ctx context.Context, opt resp.Options) (n int64, err error) {
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // only a question went over it
	r, err := conn.Do(ctx, "INFO", "stats")
	if resp.IsServerError(err, "NOPERM") {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for name, value := range resp.InfoFields(r.Bytes) {
		if name == "evicted_keys" {
			if n, err = strconv.ParseInt(value, 10, 64); err != nil {
				return 0, fmt.Errorf("cannot read INFO stats: %w", err)
			}
		}
	}
	return n, nil
}
