package slots

import (
	"context"
	"fmt"
	"strconv"

	"holdfast.dev/internal/resp"
)

// weigh fills in how much memory items take, and names slots with one that is too
// large. MEMORY USAGE looks at a few elements of each alone.
func (r *run) weigh(ctx context.Context, p *peer, items []item) (why map[int]string, err error) {
	cmds := make([][]string, len(items))
	for i := range items {
		cmds[i] = []string{"MEMORY", "USAGE", items[i].key}
	}
	var large []item
	err = p.each(ctx, cmds, func(i int, reply *resp.Reply) error {
		items[i].bytes = reply.Int // 0 for one that has gone
		if reply.Int > r.ItemLimit {
			large = append(large, items[i])
		}
		if _, moved := p.c.Redirection(reply.Err()); moved {
			return nil // it has gone
		}
		return reply.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("%s cannot weigh keys: %w", p.At.Addr, err)
	}
	why = map[int]string{}
	if p != r.src {
		return why, nil // what comes home has been there before
	}
	for _, it := range large {
		n, err := p.serialized(ctx, it, r.ItemLimit)
		if err != nil {
			return nil, err
		}
		if n > r.ItemLimit {
			why[it.slot] = fmt.Sprintf("item %.64q is of %d bytes or more when serialized, and %d are allowed", it.key, n, r.ItemLimit)
		}
	}
	return why, nil
}

// walks are the commands that read a collection piecewise, and its types.
var walks = map[string]string{"hash": "HSCAN", "set": "SSCAN", "zset": "ZSCAN"}

// serialized is about how long the serialization of an item is, without making it,
// which would stop the node. It ends once it is more than enough. What cannot be read
// piecewise is as large as its memory: that of lists and streams is packed much as when serialized.
func (p *peer) serialized(ctx context.Context, it item, enough int64) (int64, error) {
	n, err := p.measure(ctx, it, enough)
	if _, moved := p.c.Redirection(err); moved || resp.IsServerError(err, "WRONGTYPE") {
		return 0, nil // it has gone, or is another one by now; the next look tells
	}
	return n, err
}

func (p *peer) measure(ctx context.Context, it item, enough int64) (int64, error) {
	reply, err := p.c.Do(ctx, "TYPE", it.key)
	if err != nil {
		return 0, err
	}
	kind := string(reply.Bytes)
	if kind == "none" {
		return 0, nil
	}
	if kind == "string" {
		reply, err := p.c.Do(ctx, "STRLEN", it.key)
		if err != nil {
			return 0, err
		}
		return reply.Int, nil
	}
	walk, ok := walks[kind]
	if !ok {
		return it.bytes, nil
	}
	total := int64(0)
	for cursor := "0"; ; {
		reply, err := p.c.Do(ctx, walk, it.key, cursor, "COUNT", strconv.Itoa(chunk))
		if err != nil {
			return 0, err
		}
		if len(reply.Elems) != 2 {
			return 0, fmt.Errorf("the reply of %s makes no sense", walk)
		}
		for i := range reply.Elems[1].Elems {
			total += int64(len(reply.Elems[1].Elems[i].Bytes)) + 1
		}
		cursor = string(reply.Elems[0].Bytes)
		if cursor == "0" || total > enough {
			return total, nil
		}
	}
}
