package engine_test

import (
	"slices"
	"strings"
	"testing"

	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
)

// What customers must not do, from which version on the command exists ("" for all).
var forbidden = []struct{ command, redis, valkey string }{
	{"ACL SETUSER x on", "", ""},
	{"ACL DELUSER x", "", ""},
	{"ACL LOAD", "", ""},
	{"ACL SAVE", "", ""},
	{"BGREWRITEAOF", "", ""},
	{"BGSAVE", "", ""},
	{"BGSAVE SCHEDULE", "", ""},
	{"SAVE", "", ""},
	{"CLUSTER ADDSLOTS 1", "", ""},
	{"CLUSTER ADDSLOTSRANGE 1 2", "7.0", ""},
	{"CLUSTER BUMPEPOCH", "", ""},
	{"CLUSTER DELSLOTS 1", "", ""},
	{"CLUSTER DELSLOTSRANGE 1 2", "7.0", ""},
	{"CLUSTER FAILOVER", "", ""},
	{"CLUSTER FLUSHSLOTS", "", ""},
	{"CLUSTER FORGET x", "", ""},
	{"CLUSTER LINKS", "7.0", ""},
	{"CLUSTER MEET 127.0.0.1 1", "", ""},
	{"CLUSTER REPLICATE x", "", ""},
	{"CLUSTER RESET", "", ""},
	{"CLUSTER SAVECONFIG", "", ""},
	{"CLUSTER SET-CONFIG-EPOCH 1", "", ""},
	{"CLUSTER SETSLOT 1 STABLE", "", ""},
	{"CLUSTER MIGRATESLOTS SLOTSRANGE 1 2 NODE x", "never", "9.0"},
	{"CLUSTER CANCELSLOTMIGRATIONS", "never", "9.0"},
	{"CONFIG GET maxmemory", "", ""},
	{"CONFIG SET maxmemory 1", "", ""},
	{"CONFIG REWRITE", "", ""},
	{"CONFIG RESETSTAT", "", ""},
	{"DEBUG SLEEP 0", "", ""},
	{"DEBUG OBJECT k", "", ""},
	{"FAILOVER", "6.2", ""},
	{"MIGRATE 127.0.0.1 1 k 0 1", "", ""},
	{"MODULE LOAD /x", "", ""},
	{"MODULE LOADEX /x", "7.0", ""},
	{"MODULE UNLOAD x", "", ""},
	{"PSYNC ? -1", "", ""},
	{"SYNC", "", ""},
	{"REPLICAOF NO ONE", "", ""},
	{"SLAVEOF NO ONE", "", ""},
	{"SHUTDOWN", "", ""},
	{"SHUTDOWN NOSAVE", "", ""},
	{"EVAL return(redis.call('config','get','*')) 0", "", ""},
	{"EVAL return(redis.call('replicaof','no','one')) 0", "", ""},
}

// What they may do, and would miss.
var granted = []struct{ command, redis, valkey string }{
	{"ACL WHOAMI", "", ""},
	{"ACL LIST", "", ""},
	{"ACL USERS", "", ""},
	{"ACL CAT", "", ""},
	{"ACL LOG", "", ""},
	{"ACL GENPASS", "", ""},
	{"ACL GETUSER default", "", ""},
	{"ACL HELP", "", ""},
	{"CLUSTER KEYSLOT k", "cluster", "cluster"},
	{"CLUSTER INFO", "cluster", "cluster"},
	{"CLUSTER SLOTS", "cluster", "cluster"},
	{"CLUSTER NODES", "cluster", "cluster"},
	{"CLUSTER MYID", "cluster", "cluster"},
	{"CLUSTER SHARDS", "7.0cluster", "cluster"},
	{"CLUSTER HELP", "cluster", "cluster"},
	{"CLIENT LIST", "", ""},
	{"CLIENT ID", "", ""},
	{"CLIENT SETNAME x", "", ""},
	{"CLIENT GETNAME", "", ""},
	{"CLIENT KILL ID 999999", "", ""},
	{"CLIENT PAUSE 0", "", ""},
	{"CLIENT TRACKING OFF", "", ""},
	{"INFO", "", ""},
	{"INFO ALL", "", ""},
	{"MEMORY USAGE k", "", ""},
	{"MEMORY STATS", "", ""},
	{"MEMORY DOCTOR", "", ""},
	{"LATENCY LATEST", "", ""},
	{"LATENCY DOCTOR", "", ""},
	{"SLOWLOG GET", "", ""},
	{"SLOWLOG RESET", "", ""},
	{"COMMANDLOG GET 1 slow", "never", "8.1"},
	{"OBJECT ENCODING k", "", ""},
	{"OBJECT HELP", "", ""},
	{"COMMAND COUNT", "", ""},
	{"DBSIZE", "", ""},
	{"LASTSAVE", "", ""},
	{"ROLE", "", ""},
	{"TIME", "", ""},
	{"MODULE LIST", "", ""},
	{"SCRIPT LOAD return(1)", "", ""},
	{"SCRIPT EXISTS x", "", ""},
	{"FUNCTION LIST", "7.0", ""},
	{"EVAL return(1) 0", "", ""},
	{"SELECT 1", "", ""},
	{"SELECT 0", "", ""},
	{"SWAPDB 0 1", "", ""},
	{"SWAPDB 0 1", "", ""},
	{"SET k v", "", ""},
	{"GET k", "", ""},
	{"SCAN 0", "", ""},
	{"KEYS *", "", ""},
	{"DUMP k", "", ""},
	{"WAIT 0 1", "", ""},
	{"PUBLISH c m", "", ""},
	{"PUBSUB CHANNELS", "", ""},
	{"FLUSHDB", "", ""},
	{"FLUSHALL", "", ""},
	{"HELLO 3", "", ""},
	{"ECHO x", "", ""},
	{"XADD s * f v", "", ""},
	{"GEOADD g 1 1 x", "", ""},
	{"PFADD h 1", "", ""},
	{"SETBIT b 1 1", "", ""},
}

func TestWithheldCommands(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		b.up(spec)
		c := b.client(spec.Address.Host, spec.Address.Port)
		for _, f := range forbidden {
			if !exists(build, f.redis, f.valkey) {
				continue
			}
			_, err := c.Do(b.context(), strings.Fields(f.command)...)
			// Where DEBUG and MODULE are off altogether, that is said first.
			off := resp.IsServerError(err) && strings.Contains(err.Error(), "command not allowed")
			if !noPermission(err) && !off {
				t.Errorf("%s: %v", f.command, err)
			}
		}
		for _, g := range granted {
			clustered := strings.Contains(g.redis, "cluster")
			if !exists(build, strings.TrimSuffix(g.redis, "cluster"), strings.TrimSuffix(g.valkey, "cluster")) {
				continue
			}
			_, err := c.Do(b.context(), strings.Fields(g.command)...)
			if clustered && err != nil && strings.Contains(err.Error(), "cluster support disabled") {
				continue // got past the permission
			}
			if err != nil {
				t.Errorf("%s: %v", g.command, err)
			}
		}
		users := b.do(c, "ACL", "WHOAMI")
		r, err := c.Do(b.context(), "ACL", "LIST")
		if err != nil || users != "default" {
			t.Fatalf("%s, %v", users, err)
		}
		for i := range r.Elems {
			if line := string(r.Elems[i].Bytes); strings.Contains(line, secret) {
				t.Errorf("ACL LIST shows the password: %s", line)
			}
		}
		if _, err := resp.Dial(b.context(), resp.Options{Addr: addrOf(spec.Address), Username: engine.AdminUser, Password: "guess"}); err == nil {
			t.Error("any password will do for the administrator")
		}
	})
}

// noPermission: a script wraps the refusal in its own error.
func noPermission(err error) bool {
	return resp.IsServerError(err, "NOPERM") ||
		resp.IsServerError(err) && (strings.Contains(err.Error(), "NOPERM") || strings.Contains(err.Error(), "can't run this command") ||
			strings.Contains(err.Error(), "not allowed from script"))
}

func exists(build catalog.Build, redis, valkey string) bool {
	from := redis
	if build.Engine == catalog.Valkey {
		from = valkey
	}
	// Versions of one digit each compare as text.
	return from != "never" && build.Version >= from
}

// Every administrative or dangerous command of every engine has been thought of:
// it is withheld, or stands here because customers have it.
func TestNoCommandIsOverlooked(t *testing.T) {
	had := strings.Fields(`acl acl|cat acl|dryrun acl|genpass acl|getuser acl|help acl|list acl|log acl|users acl|whoami
		client client|caching client|capa client|getname client|getredir client|help client|id client|import-source client|info client|kill client|list client|no-evict
		client|no-touch client|pause client|reply client|setinfo client|setname client|tracking client|trackinginfo client|unblock client|unpause
		cluster cluster|count-failure-reports cluster|countkeysinslot cluster|getkeysinslot cluster|getslotmigrations cluster|help cluster|info cluster|keyslot
		cluster|myid cluster|myshardid cluster|nodes cluster|replicas cluster|shards cluster|slaves cluster|slot-stats cluster|slots cluster|flushslot
		command command|count command|docs command|getkeys command|getkeysandflags command|help command|info command|list
		commandlog commandlog|get commandlog|help commandlog|len commandlog|reset
		flushall flushdb function function|delete function|dump function|flush function|help function|kill function|list function|load function|restore function|stats
		info keys lastsave latency latency|doctor latency|graph latency|help latency|histogram latency|history latency|latest latency|reset
		module module|help module|list monitor object pfdebug pfselftest replconf restore restore-asking role
		script script|debug script|exists script|flush script|help script|kill script|load script|show
		slowlog slowlog|get slowlog|help slowlog|len slowlog|reset sort sort_ro swapdb memory`)
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		b.up(spec)
		admin := b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret)
		c := b.client(spec.Address.Host, spec.Address.Port)
		var names []string
		for _, cat := range []string{"admin", "dangerous"} {
			r, err := admin.Do(b.context(), "ACL", "CAT", cat)
			if err != nil {
				t.Fatal(err)
			}
			for i := range r.Elems {
				names = append(names, string(r.Elems[i].Bytes))
			}
		}
		if len(names) < 50 {
			t.Fatalf("only %d commands were looked at", len(names))
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			if slices.Contains(had, name) {
				continue
			}
			if b.allowed(admin, c, name) {
				t.Errorf("%s is neither withheld nor known to be harmless", name)
			}
		}
	})
}

// allowed tells whether the default user may run a command.
func (b *bench) allowed(admin, c *resp.Conn, name string) bool {
	args := strings.Split(name, "|")
	r, err := admin.Do(b.context(), append([]string{"ACL", "DRYRUN", "default"}, args...)...)
	if err == nil {
		return string(r.Bytes) == "OK"
	}
	if strings.Contains(err.Error(), "wrong number of arguments") {
		for n := 1; n < 8 && strings.Contains(err.Error(), "wrong number of arguments"); n++ {
			r, err = admin.Do(b.context(), append(append([]string{"ACL", "DRYRUN", "default"}, args...), strings.Fields(strings.Repeat("1 ", n))...)...)
			if err == nil {
				return string(r.Bytes) == "OK"
			}
		}
	}
	// Before 7.0 there is no DRYRUN, but the arity is checked first there too: try all.
	for n := range 8 {
		_, err = c.Do(b.context(), append(slices.Clone(args), strings.Fields(strings.Repeat("1 ", n))...)...)
		if resp.IsServerError(err, "NOPERM") {
			return false
		}
	}
	return true
}
