package sink_test

import (
	"testing"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/testkit"
)

// A hash of no fields, which Valkey 9 has for a moment, is as good as gone.
func TestServerTakesEmptyHashAsGone(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-8.0"))
	for _, keep := range []bool{false, true} {
		s.Must("DEL", "h")
		if !keep {
			s.Must("HSET", "h", "an", "older version")
		}
		to, err := sink.NewServer(t.Context(), resp.Options{Addr: s.Addr()}, sink.ServerOptions{KeepExisting: keep})
		if err != nil {
			t.Fatal(err)
		}
		e := flow.Entry{Key: []byte("h"), Type: rdb.TypeHash, Value: []byte{0}, Version: 80, Idle: -1, Freq: -1}
		if err := to.Write(t.Context(), []flow.Entry{e}); err != nil {
			t.Error(err)
		}
		if err := to.Commit(t.Context()); err != nil {
			t.Error(err)
		}
		if err := to.Close(); err != nil {
			t.Error(err)
		}
		if s.Must("EXISTS", "h") != int64(0) {
			t.Error("it is there")
		}
	}
}
