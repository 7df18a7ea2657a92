package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// info is what INFO said, by field.
type info map[string]string

// sections of INFO that are asked for: the whole of it is five times as much
// work for both sides.
var sections = []string{"server", "memory", "persistence", "replication", "keyspace"}

// askInfo sends all sections in one write.
func askInfo(ctx context.Context, c *resp.Conn) (info, error) {
	release := c.Guard(ctx)
	defer release()
	var cmd []byte
	for _, s := range sections {
		cmd = resp.AppendCommand(cmd, "INFO", s)
	}
	if err := c.Send(cmd); err != nil {
		return nil, err
	}
	in := make(info, 128)
	var refused error
	for range sections {
		r, err := c.Receive()
		if err != nil {
			return nil, err
		}
		if err := r.Err(); err != nil {
			refused = err // the other replies are on their way and have to be read
			continue
		}
		in.read(string(r.Bytes))
	}
	return in, refused
}

func (in info) read(text string) {
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if ok && !strings.HasPrefix(line, "#") {
			in[name] = value
		}
	}
}

// number reads a field that has to be there.
func (in info) number(name string) (int64, error) {
	n, err := strconv.ParseInt(in[name], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: INFO says %s:%q", errReply, name, in[name])
	}
	return n, nil
}

// fields splits "a=1,b=2".
func fields(s string) info {
	out := info{}
	for part := range strings.SplitSeq(s, ",") {
		if name, value, ok := strings.Cut(part, "="); ok {
			out[name] = value
		}
	}
	return out
}

// health makes sense of it.
func (in info) health() (cache.Health, error) {
	h := cache.Health{Role: cache.RolePrimary, Loading: in["loading"] == "1", Version: in["valkey_version"], RunID: in["run_id"]}
	if h.Version == "" {
		h.Version = in["redis_version"]
	}
	offset := "master_repl_offset"
	switch in["role"] {
	case "master":
	case "slave":
		h.Role = cache.RoleReplica
		h.LinkUp = in["master_link_status"] == "up" && in["master_sync_in_progress"] == "0"
		h.LinkDown = in.linkDown()
		if _, ok := in["slave_repl_offset"]; ok {
			offset = "slave_repl_offset"
		}
	default:
		return h, fmt.Errorf("%w: INFO says role:%q", errReply, in["role"])
	}
	var err error
	if h.Offset, err = in.number(offset); err != nil {
		return h, err
	}
	if h.UsedMemory, err = in.number("used_memory"); err != nil {
		return h, err
	}
	if h.MaxMemory, err = in.number("maxmemory"); err != nil {
		return h, err
	}
	if h.Changes, err = in.number("rdb_changes_since_last_save"); err != nil {
		return h, err
	}
	if h.Saving = in["rdb_bgsave_in_progress"] == "1"; h.Saving && in["current_cow_size"] != "" {
		if h.Copied, err = in.number("current_cow_size"); err != nil {
			return h, err
		}
	}
	for name, value := range in {
		if rest, ok := strings.CutPrefix(name, "db"); ok && isDigits(rest) {
			keys, err := fields(value).number("keys")
			if err != nil {
				return h, err
			}
			h.Keys += keys
		}
	}
	return h, in.lag(&h)
}

// linkDown is for how long a replica has been without its primary.
func (in info) linkDown() time.Duration {
	if in["master_link_status"] == "up" {
		return 0
	}
	seconds, err := in.number("master_link_down_since_seconds")
	if err != nil || seconds < 0 {
		return cache.NeverLinked
	}
	return min(time.Duration(seconds)*time.Second, cache.NeverLinked)
}

// lag fills in how far each replica is behind a primary.
func (in info) lag(h *cache.Health) error {
	if h.Role != cache.RolePrimary {
		return nil
	}
	for name, value := range in {
		rest, ok := strings.CutPrefix(name, "slave")
		if !ok || !isDigits(rest) {
			continue
		}
		f := fields(value)
		acked, err := f.number("offset")
		if err != nil {
			return err
		}
		if h.ReplicaLag == nil {
			h.ReplicaLag = map[string]int64{}
		}
		h.ReplicaLag[f["ip"]+":"+f["port"]] = max(h.Offset-acked, 0)
	}
	return nil
}

// feeds tells whether a primary sends its writes to the replica at an address.
func (in info) feeds(replica cache.Address) bool {
	for name, value := range in {
		rest, ok := strings.CutPrefix(name, "slave")
		if !ok || !isDigits(rest) {
			continue
		}
		f := fields(value)
		if f["ip"] == replica.Host && f["port"] == strconv.Itoa(replica.Port) {
			return f["state"] == "online"
		}
	}
	return false
}

// follows is the primary that INFO names; zero for a primary.
func (in info) follows() cache.Address {
	if in["role"] != "slave" {
		return cache.Address{}
	}
	port, err := strconv.Atoi(in["master_port"])
	if err != nil {
		port = 0
	}
	return cache.Address{Host: in["master_host"], Port: port}
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
