package resp

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Claims are what a node says of itself, not of others: the slots that it takes
// for its own, and those on their way.
type Claims struct {
	ID string
	// Epoch rises when the node takes slots from another one.
	Epoch int64
	// Primary: only a primary's claims count.
	Primary bool
	Slots   []SlotRange
	// Leaving and Arriving are slots that are being moved, with the other node's id.
	Leaving, Arriving map[int]string
}

// Claims asks the server what it holds. Other nodes' words on it may be late; its own are not.
func (c *Conn) Claims(ctx context.Context) (*Claims, error) {
	r, err := c.Do(ctx, "CLUSTER", "NODES")
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s for its slots: %w", c.opt, err)
	}
	for line := range strings.Lines(string(r.Bytes)) {
		f := strings.Fields(line)
		if len(f) < 8 || !strings.Contains(","+f[2]+",", ",myself,") {
			continue
		}
		claims, err := parseClaims(f)
		if err != nil {
			return nil, fmt.Errorf("cannot read CLUSTER NODES of %s: %w", c.opt, err)
		}
		return claims, nil
	}
	return nil, fmt.Errorf("cannot read CLUSTER NODES of %s: it does not name itself", c.opt)
}

// parseClaims reads a line: id, address, flags, primary, ping, pong, epoch, link,
// then the slots, and those on their way as [slot->-id] and [slot-<-id].
func parseClaims(f []string) (*Claims, error) {
	c := &Claims{
		ID: f[0], Primary: strings.Contains(","+f[2]+",", ",master,"),
		Leaving: map[int]string{}, Arriving: map[int]string{},
	}
	var err error
	if c.Epoch, err = strconv.ParseInt(f[6], 10, 64); err != nil {
		return nil, fmt.Errorf("its epoch: %w", err)
	}
	for _, word := range f[8:] {
		if err := c.add(word); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Claims) add(word string) error {
	if open, ok := strings.CutPrefix(word, "["); ok {
		open = strings.TrimSuffix(open, "]")
		if slot, to, ok := strings.Cut(open, "->-"); ok {
			return note(c.Leaving, slot, to)
		}
		if slot, from, ok := strings.Cut(open, "-<-"); ok {
			return note(c.Arriving, slot, from)
		}
		return fmt.Errorf("%q is no slot", word)
	}
	first, last, isRange := strings.Cut(word, "-")
	if !isRange {
		last = first
	}
	a, err := slotNumber(first)
	if err != nil {
		return err
	}
	b, err := slotNumber(last)
	if err != nil {
		return err
	}
	c.Slots = append(c.Slots, SlotRange{a, b})
	return nil
}

func note(m map[int]string, slot, id string) error {
	n, err := slotNumber(slot)
	if err != nil {
		return err
	}
	m[n] = id
	return nil
}

func slotNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n >= Slots {
		return 0, fmt.Errorf("%q is no slot", s)
	}
	return n, nil
}
