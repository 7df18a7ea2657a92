package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"holdfast.dev/internal/resp"
)

// barePipe copies database 0 of one server into another by SCAN, DUMP and RESTORE, and
// does nothing else: it looks at no size and no expiry, keeps nothing for the case that it
// has to be sent again, and is not right where anybody writes. It is what two servers and
// anything between them can do at best by these commands, on the same processors.
type barePipe struct {
	blaster
	to      net.Conn
	names   [][]byte
	restore []byte
}

// pipeAcross copies and fails unless it found that many keys.
func pipeAcross(ctx context.Context, from, to string, keys int64) (err error) {
	var d net.Dialer
	src, err := d.DialContext(ctx, "tcp", from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return err
	}
	defer dst.Close()
	defer context.AfterFunc(ctx, func() { _, _ = src.Close(), dst.Close() })()
	p := &barePipe{blaster: blaster{c: src, r: bufio.NewReaderSize(src, 256<<10)}, to: dst}
	done := make(chan error, 1)
	go func() { done <- accepted(dst) }()
	if err = p.copy(); err == nil {
		_, err = dst.Write(resp.AppendCommand(nil, "PING"))
	}
	if err != nil {
		_ = dst.Close() // the replies are waited for in vain
	}
	err = errors.Join(err, <-done)
	if p.keys < keys { // SCAN may give a key twice
		return errors.Join(err, counted(p.keys, keys))
	}
	return err
}

// accepted reads replies until that of the PING which comes last.
func accepted(c net.Conn) error {
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch string(line) {
		case "+OK\r\n":
		case "+PONG\r\n":
			return nil
		default:
			return fmt.Errorf("the target answered %q", line)
		}
	}
}

// copy keeps a SCAN and the DUMPs of the keys before it in flight, like blaster.
func (p *barePipe) copy() error {
	if _, err := p.c.Write(resp.AppendCommand(nil, "SCAN", "0", "COUNT", "1000")); err != nil {
		return err
	}
	var before [][]byte
	for {
		p.names = nil
		if err := p.names1000(); err != nil {
			return err
		}
		last := p.cursor == "0"
		cmds := p.out
		if !last {
			cmds = append(resp.AppendCommand(p.scan[:0], "SCAN", p.cursor, "COUNT", "1000"), cmds...)
		}
		if _, err := p.c.Write(cmds); err != nil {
			return err
		}
		p.scan = cmds[:0]
		if err := p.pass(before); err != nil {
			return err
		}
		if before = p.names; last {
			return p.pass(before)
		}
	}
}

// names1000 reads the reply of SCAN, keeps the names, and prepares their DUMPs.
func (p *barePipe) names1000() error {
	if n, err := p.head('*'); err != nil || n != 2 {
		return errors.Join(err, fmt.Errorf("SCAN answered %d elements", n))
	}
	cursor, err := p.bulk()
	if err != nil {
		return err
	}
	p.cursor, p.out = string(cursor), nil
	n, err := p.head('*')
	if err != nil {
		return err
	}
	memory := make([]byte, 0, 32*n)
	for range n {
		key, err := p.bulk()
		if err != nil {
			return err
		}
		at := len(memory)
		memory = append(memory, key...)
		p.names = append(p.names, memory[at:len(memory):len(memory)])
		p.out = resp.AppendBulk(append(p.out, "*2\r\n$4\r\nDUMP\r\n"...), key)
	}
	p.keys += int64(n)
	return nil
}

// pass makes RESTOREs of the replies that are due for these keys.
func (p *barePipe) pass(names [][]byte) error {
	p.restore = p.restore[:0]
	for _, key := range names {
		n, err := p.head('$')
		if err != nil {
			return err
		}
		b := append(p.restore, "*5\r\n$7\r\nRESTORE\r\n"...)
		b = append(resp.AppendBulk(b, key), "$1\r\n0\r\n"...)
		b = resp.AppendBulkHead(b, n)
		at := len(b)
		b = append(b, make([]byte, n+2)...)
		if _, err := io.ReadFull(p.r, b[at:]); err != nil {
			return err
		}
		if p.restore = append(b, "$7\r\nREPLACE\r\n"...); len(p.restore) >= 64<<10 {
			if _, err := p.to.Write(p.restore); err != nil {
				return err
			}
			p.restore = p.restore[:0]
		}
	}
	_, err := p.to.Write(p.restore)
	return err
}
