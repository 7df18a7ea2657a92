package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"holdfast.dev/internal/resp"
)

// blaster reads a whole server with SCAN and DUMP and throws the replies away:
// the least that anything which reads a server so has to do. A SCAN and the DUMPs
// of the keys before it are always in flight together, so that the server never waits.
type blaster struct {
	c      net.Conn
	r      *bufio.Reader
	expiry bool
	out    []byte // commands that read the keys of one SCAN
	scan   []byte
	keys   int64
	cursor string
}

// blast reads as many databases and fails unless it found that many keys.
func blast(ctx context.Context, addr string, dbs int, expiry bool, keys int64) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	b := &blaster{c: c, r: bufio.NewReaderSize(c, 256<<10), expiry: expiry}
	for db := range dbs {
		if err := b.database(db); err != nil {
			return fmt.Errorf("cannot read database %d: %w", db, err)
		}
	}
	if b.keys < keys { // SCAN may give a key twice
		return counted(b.keys, keys)
	}
	return nil
}

func (b *blaster) database(db int) error {
	b.out = resp.AppendCommand(b.out[:0], "SELECT", strconv.Itoa(db))
	b.out = resp.AppendCommand(b.out, "SCAN", "0", "COUNT", "1000")
	if _, err := b.c.Write(b.out); err != nil {
		return err
	}
	if err := b.skip(1); err != nil {
		return err
	}
	// On the wire: SCAN n+1, the reads of batch n, SCAN n+2, the reads of batch n+1 …
	for before := 0; ; {
		due, err := b.scanned()
		if err != nil {
			return err
		}
		last := b.cursor == "0"
		if !last {
			b.scan = resp.AppendCommand(b.scan[:0], "SCAN", b.cursor, "COUNT", "1000")
			if _, err := b.c.Write(b.scan); err != nil {
				return err
			}
		}
		if _, err := b.c.Write(b.out); err != nil {
			return err
		}
		if err := b.skip(before); err != nil {
			return err
		}
		if before = due; last {
			return b.skip(before)
		}
	}
}

// scanned reads the reply of SCAN and prepares the commands that read its keys.
func (b *blaster) scanned() (due int, err error) {
	b.out = b.out[:0]
	if n, err := b.head('*'); err != nil || n != 2 {
		return 0, errors.Join(err, fmt.Errorf("SCAN answered %d elements", n))
	}
	cursor, err := b.bulk()
	if err != nil {
		return 0, err
	}
	b.cursor = string(cursor)
	n, err := b.head('*')
	if err != nil {
		return 0, err
	}
	for range n {
		key, err := b.bulk()
		if err != nil {
			return 0, err
		}
		b.out = append(b.out, "*2\r\n$4\r\nDUMP\r\n"...)
		b.out = resp.AppendBulk(b.out, key)
		due++
		if b.expiry {
			b.out = append(b.out, "*2\r\n$11\r\nPEXPIRETIME\r\n"...)
			b.out = resp.AppendBulk(b.out, key)
			due++
		}
	}
	b.keys += int64(n)
	return due, nil
}

// head reads the first line of a reply of that kind.
func (b *blaster) head(kind byte) (int, error) {
	line, err := b.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("the server answered %q", line)
	}
	return atoi(line[1 : len(line)-2])
}

func atoi(p []byte) (int, error) {
	n := 0
	for _, c := range p {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%q is no length", p)
		}
		n = 10*n + int(c-'0')
	}
	return n, nil
}

// bulk reads one string, which is valid until the next reading.
func (b *blaster) bulk() ([]byte, error) {
	n, err := b.head('$')
	if err != nil {
		return nil, err
	}
	p, err := b.r.Peek(n + 2)
	if err != nil {
		return nil, err
	}
	_, err = b.r.Discard(n + 2)
	return p[:n], err
}

// skip throws replies away.
func (b *blaster) skip(replies int) error {
	for range replies {
		line, err := b.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch line[0] {
		case '$':
			n, err := atoi(line[1 : len(line)-2])
			if err != nil {
				return err
			}
			if _, err := b.r.Discard(n + 2); err != nil {
				return err
			}
		case '-':
			return fmt.Errorf("the server answered %q", line)
		}
	}
	return nil
}
