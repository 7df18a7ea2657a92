package source

import (
	"context"
	"errors"
	"fmt"

	"holdfast.dev/internal/resp"
)

// Fence makes a hold final: the server refuses writes from now on, those that
// waited too, until UndoHold is called with what Fence returns. If it fails the
// hold is as it was. It takes the place of Release.
func (h *Hold) Fence(ctx context.Context) (HoldUndo, error) {
	if h.means == HoldPause {
		u, err := refuseWrites(ctx, h.opt)
		if err != nil {
			return HoldUndo{}, errors.Join(err, hangUp(ctx, h.opt))
		}
		h.undo = u
	}
	h.mu.Lock()
	h.released = true
	h.mu.Unlock()
	h.stop()
	h.wg.Wait()
	var err error
	if h.conn != nil {
		err = h.conn.Close()
	}
	if h.means == HoldPause {
		err = errors.Join(err, h.letGo(ctx)) // what waited is looked at again, and refused
	}
	return h.undo, err
}

// refuseWrites has writes refused over a connection of its own.
func refuseWrites(ctx context.Context, opt resp.Options) (HoldUndo, error) {
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return HoldUndo{}, err
	}
	f := &Hold{opt: opt, conn: conn}
	if err = f.refuse(ctx, nil); err != nil {
		err = errors.Join(err, f.takeBack(ctx))
	}
	return f.undo, errors.Join(err, conn.Close())
}

// hangUp ends the connections of all clients, which drops the commands that wait.
func hangUp(ctx context.Context, opt resp.Options) error {
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return err
	}
	if _, err = conn.Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"); err != nil {
		err = fmt.Errorf("nor can clients that wait be hung up on: %w", err)
	}
	return errors.Join(err, conn.Close())
}
