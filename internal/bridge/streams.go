package bridge

import (
	"context"
	"errors"
	"strconv"

	"holdfast.dev/internal/resp"
)

// A source does not tell its replicas everything about the groups of its streams: a
// consumer that was given nothing is not told, nor when one was last seen. So while
// writes are held all streams with groups are read again. They are looked for before, with
// writes going on, and what becomes a stream meanwhile is noted.

// findStreams begins to note new streams, and returns those with groups that there are.
func (b *Bridge) findStreams(ctx context.Context) (_ []keyID, err error) {
	err = b.do(ctx, nil, func(f *following) { f.w.streams, f.w.swaps = map[keyID]bool{}, nil })
	if err != nil {
		return nil, err
	}
	conn, err := resp.Dial(ctx, b.opt.Source.WithDB(0))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	dbs, err := conn.Keyspaces(ctx)
	if err != nil {
		return nil, err
	}
	var out []keyID
	for _, db := range dbs {
		if _, err := conn.Do(ctx, "SELECT", strconv.Itoa(db.DB)); err != nil {
			return nil, err
		}
		if out, err = streamsOf(ctx, conn, db.DB, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// streamsOf appends the streams of the database that the connection is in.
func streamsOf(ctx context.Context, conn *resp.Conn, db int, out []keyID) ([]keyID, error) {
	for cursor := "0"; ; {
		r, err := conn.Do(ctx, "SCAN", cursor, "TYPE", "stream", "COUNT", "1000")
		if err != nil {
			return nil, err
		}
		if len(r.Elems) != 2 {
			return nil, errors.New("SCAN answers something else")
		}
		cursor = string(r.Elems[0].Bytes)
		var keys []string
		for i := range r.Elems[1].Elems {
			keys = append(keys, string(r.Elems[1].Elems[i].Bytes))
		}
		if out, err = withGroups(ctx, conn, db, keys, out); err != nil {
			return nil, err
		}
		if cursor == "0" {
			return out, nil
		}
	}
}

// withGroups appends those that have groups.
func withGroups(ctx context.Context, conn *resp.Conn, db int, keys []string, out []keyID) ([]keyID, error) {
	if len(keys) == 0 {
		return out, nil
	}
	defer conn.Guard(ctx)()
	var cmds []byte
	for _, k := range keys {
		cmds = resp.AppendCommand(cmds, "XINFO", "GROUPS", k)
	}
	if err := conn.Send(cmds); err != nil {
		return nil, err
	}
	for _, k := range keys {
		r, err := conn.Receive()
		if err != nil {
			return nil, err
		}
		// An error is that of a key that is gone, or is something else by now.
		if r.Err() == nil && len(r.Elems) > 0 {
			out = append(out, keyID{db, k})
		}
	}
	return out, nil
}

// soilStreams has the streams read again, wherever they are by now.
func (f *following) soilStreams(found []keyID) {
	w := f.w
	all := map[keyID]bool{}
	for _, k := range found {
		all[k] = true
	}
	for k := range w.streams {
		all[k] = true
	}
	for _, swap := range w.swaps {
		for k := range all {
			switch k.DB {
			case swap[0]:
				all[keyID{swap[1], k.Key}] = true
			case swap[1]:
				all[keyID{swap[0], k.Key}] = true
			}
		}
	}
	for k := range all {
		w.soil(k)
	}
	w.streams, w.swaps = nil, nil
}
