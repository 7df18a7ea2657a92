package sink

import (
	"context"
	"errors"
	"io"
)

var errRaw = errors.New("a file is either written here or handed on as it is")

// Call has the server call now, and not at the first Write: before anything else has
// been asked to wait for it. ErrNoReplicaOf says that it cannot be done.
func (p *Primary) Call(ctx context.Context) error {
	return p.do(ctx, func() error { return nil })
}

// CallAsIs is Call for a file that is there already as the server shall load it: Pass hands
// that on, and nothing is decoded or written anew for the server.
//
// The server has to read files of that version and dialect, with every module whose
// data are in it: it ends itself over what it does not know.
func (p *Primary) CallAsIs(ctx context.Context) error {
	p.raw = true
	return p.Call(ctx)
}

// Pass hands on the next bytes of the file.
func (p *Primary) Pass(ctx context.Context, b []byte) error {
	return p.do(ctx, func() error {
		if !p.raw {
			return errRaw
		}
		if !p.framed {
			if err := p.announce(); err != nil {
				return err
			}
		}
		_, err := p.out.Write(b)
		return err
	})
}

// Passed says how many keys of each database were in the file, by which Commit knows
// whether the server has loaded it. It comes when everything was passed.
func (p *Primary) Passed(keys map[int]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// endFile ends the file that is written here. One that was handed on has its own end.
func (p *Primary) endFile() error {
	switch {
	case !p.raw:
		return p.w.Close()
	case !p.framed:
		return errors.New("nothing was handed on")
	}
	return nil
}

// alive shows the server that we live: by a field of the file or, before a file that
// is handed on has begun, as a primary does that still prepares it. Into the midst of such
// a file nothing can be put; its source is a server that is sending.
func (p *Primary) alive(filler string) (err error) {
	switch {
	case !p.raw:
		err = p.w.Aux("alive", filler)
	case !p.framed:
		_, err = io.WriteString(p.out, "\n")
	}
	return err
}
