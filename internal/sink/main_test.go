package sink

import (
	"bytes"
	"testing"

	"go.uber.org/goleak"

	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"

	"holdfast.dev/internal/flow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func at(s *testkit.Server) resp.Options { return resp.Options{Addr: s.Addr()} }

// contents reads a server by KEYS, DUMP and PTTL: slowly, and by other code than
// what is tested.
func contents(t testing.TB, s *testkit.Server, dbs ...int) flowtest.Content {
	t.Helper()
	c := flowtest.Content{}
	for _, db := range dbs {
		s.Must("SELECT", db)
		for _, k := range s.Must("KEYS", "*").([]any) {
			key := []byte(k.(string))
			d, err := rdb.ParseDump([]byte(s.Must("DUMP", key).(string)))
			if err != nil {
				t.Fatal(err)
			}
			e := flow.Entry{DB: db, Key: key, Type: d.Type, Value: d.Value, Version: d.Version}
			if ttl := s.Must("PTTL", key).(int64); ttl >= 0 {
				e.ExpireAt = expiryOf(s, key, ttl)
			}
			if _, err := c.Put(&e); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Must("SELECT", 0)
	return c
}

// expiryOf asks for the exact expiry by PEXPIRETIME, or on an older server by
// finding the one expiry of the sample that is as far away.
func expiryOf(s *testkit.Server, key []byte, ttl int64) int64 {
	if at, ok := s.Do("PEXPIRETIME", key).(int64); ok {
		return at
	}
	for _, e := range flowtest.Sample() {
		if bytes.Equal(e.Key, key) && e.ExpireAt != 0 {
			return e.ExpireAt
		}
	}
	return ttl
}

// parse reads an RDB file.
func parse(t testing.TB, b []byte) flowtest.Content {
	t.Helper()
	r := rdb.NewReader(bytes.NewReader(b))
	h, err := r.Header()
	if err != nil {
		t.Fatal(err)
	}
	c := flowtest.Content{}
	for re, err := range r.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		e := flow.Entry{DB: re.DB, Key: re.Key, Type: re.Type, Value: re.Value, ExpireAt: re.ExpireAt, Version: h.Version}
		if _, err := c.Put(&e); err != nil {
			t.Fatal(err)
		}
	}
	return c
}
