package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"holdfast.dev/internal/resp"
)

// lastingPause is for how long writes wait where they cannot be refused: ten years.
const lastingPause = 10 * 365 * 24 * time.Hour

// Fence makes a hold final: the server takes no writes from now on, not those that
// waited either, until UndoHold is called with what Fence returns. Where we may not
// configure it to refuse them, a pause without end makes them wait, and all clients are
// hung up on, so that none waits that would be carried out one day. If it fails
// the hold is as it was. It takes the place of Release.
func (h *Hold) Fence(ctx context.Context) (HoldUndo, error) {
	if h.means == HoldPause {
		u, err := refuseWrites(ctx, h.opt)
		if resp.IsServerError(err) {
			u, err = pauseForGood(ctx, h.opt, err)
		}
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
	if h.means == HoldPause && !h.undo.Paused {
		err = errors.Join(err, h.letGo(ctx)) // what waited is looked at again, and refused
	}
	return h.undo, err
}

// pauseForGood has writes wait for good; why is what speaks against refusing them.
func pauseForGood(ctx context.Context, opt resp.Options, why error) (HoldUndo, error) {
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return HoldUndo{}, errors.Join(why, err)
	}
	_, err = conn.Do(ctx, "CLIENT", "PAUSE", strconv.FormatInt(lastingPause.Milliseconds(), 10), "WRITE")
	if err = errors.Join(err, conn.Close()); err != nil {
		return HoldUndo{}, errors.Join(why, err)
	}
	if err := hangUp(ctx, opt); err != nil { // those that wait go on waiting, and are to be told of
		return HoldUndo{Paused: true, Waiting: true}, nil
	}
	return HoldUndo{Paused: true}, nil
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
