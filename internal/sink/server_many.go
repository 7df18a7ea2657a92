package sink

import (
	"bytes"
	"strconv"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

// Plain strings that never expire go many at a time, by MSET: a server needs two thirds of the
// time of as many SETs for them. In a cluster they would have to be of one slot.
const (
	// manyKeys and manyBytes bound one MSET, for nobody else is served meanwhile. More
	// keys gain nothing.
	manyKeys  = 32
	manyBytes = 16 << 10
)

// many puts the plain strings that a batch begins with on their way, if there are several,
// and tells how many they were.
func (s *Server) many(batch []flow.Entry) (keys, size int) {
	if s.one == nil || s.one.conn == nil || s.single || s.unsure != nil || s.opt.KeepExisting {
		return 0, 0
	}
	for keys < min(len(batch), manyKeys) {
		e := &batch[keys]
		if !manyable(e) || e.DB != batch[0].DB || size+e.Size() > manyBytes {
			break
		}
		size += e.Size()
		keys++
	}
	return keys, size
}

// manyable tells whether an entry is a string that SET would make of its name and content alone.
func manyable(e *flow.Entry) bool {
	if e.Deleted || e.Body != nil || e.ExpireAt != 0 || e.Idle >= 0 || e.Freq >= 0 {
		return false
	}
	_, ok := plainString(e)
	return ok
}

// setFrame is about what each key of an MSET takes besides its name and value.
const setFrame = 32

// appendMany appends the command that makes several plain strings.
func appendMany(dst []byte, batch []flow.Entry) []byte {
	dst = resp.AppendArray(dst, 1+2*len(batch))
	dst = append(dst, "$4\r\nMSET\r\n"...)
	for i := range batch {
		text, _ := plainString(&batch[i]) // it is one
		dst = resp.AppendBulk(dst, batch[i].Key)
		dst = resp.AppendBulk(dst, text)
	}
	return dst
}

// apart is what has to be sent again of a command that failed, or was not answered: of
// several keys, each by itself, so that a key has its own error and its own order.
func apart(f *flying, p pending) []pending {
	if f.keys < 2 {
		p.cmd = f.bytes()
		p.key = flow.Key{DB: f.db, Name: string(keyOf(p.cmd))}
		return []pending{p}
	}
	out := make([]pending, 0, f.keys)
	args := argsOf(f.bytes())
	for i := 1; i+1 < len(args); i += 2 {
		one := p
		e := flow.Entry{Key: args[i]}
		one.cmd, one.key = appendSet(nil, &e, args[i+1]), flow.Key{DB: f.db, Name: string(args[i])}
		one.seq = p.seq - uint64((len(args)-2-i)/2)
		out = append(out, one)
	}
	return out
}

// keysOf calls visit with each key of a command.
func keysOf(f *flying, visit func(flow.Key)) {
	if f.keys < 2 {
		visit(flow.Key{DB: f.db, Name: string(keyOf(f.bytes()))})
		return
	}
	args := argsOf(f.bytes())
	for i := 1; i < len(args); i += 2 {
		visit(flow.Key{DB: f.db, Name: string(args[i])})
	}
}

// argsOf are the arguments of a command that we encoded, its name first.
func argsOf(cmd []byte) (args [][]byte) {
	_, cmd, _ = bytes.Cut(cmd, []byte("\r\n"))
	for len(cmd) > 0 {
		head, rest, _ := bytes.Cut(cmd, []byte("\r\n"))
		n, err := strconv.Atoi(string(head[1:]))
		if err != nil {
			return args // we encoded it
		}
		args = append(args, rest[:n])
		cmd = rest[n+2:]
	}
	return args
}
