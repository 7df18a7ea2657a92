package sink

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// texts are plain strings, some keys more than once, with others between them.
func texts(n int) (batch []flow.Entry, want map[string]string) {
	want = map[string]string{}
	for i := range n {
		key, value := fmt.Sprintf("k\r\n%d", i%(n*3/4)), strings.Repeat(fmt.Sprintf("$%d\r\n", i), i%200)
		e := flow.Entry{Key: []byte(key), Type: rdb.TypeString, Version: 9, Idle: -1, Freq: -1}
		switch {
		case i%97 == 5:
			e.Deleted = true
			delete(want, key)
		case i%61 == 3:
			e.Type, e.Value = rdb.TypeList, rdb.AppendList(nil, [][]byte{[]byte("a")})
			want[key] = "a list"
		default:
			e.Value = rdb.AppendString(nil, []byte(value))
			want[key] = value
		}
		batch = append(batch, e)
	}
	return batch, want
}

func wantTexts(t *testing.T, s *testkit.Server, want map[string]string) {
	t.Helper()
	for key, value := range want {
		got := s.Do("GET", key)
		if _, wrong := got.(testkit.ReplyError); wrong {
			got = "a list"
		}
		if got != value {
			t.Errorf("%q is %.40q, not %.40q", key, got, value)
		}
	}
	if n := s.Must("DBSIZE"); n != int64(len(want)) {
		t.Errorf("%d keys, not %d", n, len(want))
	}
}

func called(s *testkit.Server, command string) bool {
	return strings.Contains(s.Must("INFO", "commandstats").(string), "cmdstat_"+command+":")
}

// Strings go many at a time, and each key is in the end what was written last.
func TestServerWritesManyAtATime(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		for i := range 20 { // what is replaced loses its expiry
			s.Must("SET", fmt.Sprintf("k\r\n%d", i), "old", "EX", 1000)
		}
		dst := open(t, at(s), ServerOptions{})
		batch, want := texts(2000)
		if err := errors.Join(dst.Write(t.Context(), batch), dst.Commit(t.Context())); err != nil {
			t.Fatal(err)
		}
		wantTexts(t, s, want)
		if n := s.Must("PTTL", "k\r\n1"); n != int64(-1) {
			t.Errorf("it expires in %d ms", n)
		}
		if !called(s, "mset") {
			t.Error("no MSET was sent")
		}
		if n := dst.Events().Confirmed; n != 2000 {
			t.Errorf("%d were confirmed", n)
		}
	})
}

// A user without the right to MSET writes them one by one.
func TestServerWithoutManyAtATime(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	s.Must("ACL", "SETUSER", "some", "on", ">secret", "~*", "&*", "+@all", "-mset")
	dst := open(t, resp.Options{Addr: s.Addr(), Username: "some", Password: "secret"}, ServerOptions{})
	batch, want := texts(3000)
	if err := errors.Join(dst.Write(t.Context(), batch), dst.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	wantTexts(t, s, want)
}

// An error of many at a time names the key that it is about.
func TestServerManyNamesTheKey(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	s.Must("ACL", "SETUSER", "some", "on", ">secret", "~k*", "&*", "+@all")
	dst := open(t, resp.Options{Addr: s.Addr(), Username: "some", Password: "secret"}, ServerOptions{})
	var batch []flow.Entry
	for i := range 20 {
		key := fmt.Appendf(nil, "k%d", i)
		if i == 7 {
			key = []byte("forbidden")
		}
		batch = append(batch, flow.Entry{Key: key, Type: rdb.TypeString, Value: rdb.AppendString(nil, []byte("v")), Version: 9, Idle: -1, Freq: -1})
	}
	err := errors.Join(dst.Write(t.Context(), batch), dst.Commit(t.Context()))
	if !resp.IsServerError(err, "NOPERM") || !strings.Contains(err.Error(), `"forbidden"`) {
		t.Errorf("%v", err)
	}
	full := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), testkit.Config("maxmemory 3mb"))
	dst = open(t, at(full), ServerOptions{})
	for i := 0; ; i++ {
		for j := range batch {
			batch[j].Key, batch[j].Value = fmt.Appendf(nil, "full:%d.%d", i, j), rdb.AppendString(nil, bytes.Repeat([]byte("x"), 500))
		}
		err := errors.Join(dst.Write(t.Context(), batch), dst.Commit(t.Context()))
		if err == nil && i < 1000 {
			continue
		}
		if !resp.IsServerError(err, "OOM") || !strings.Contains(err.Error(), `"full:`) {
			t.Errorf("%v", err)
		}
		return
	}
}

// What was confirmed of a command for many keys, and what is sent again of it, are all
// of its keys: else an older value of one could come after it.
func TestManyIsTakenApart(t *testing.T) {
	var batch []flow.Entry
	var want []flow.Key
	for i := range 5 {
		key := fmt.Appendf(nil, "\r\n$%d", i)
		batch = append(batch, flow.Entry{Key: key, Type: rdb.TypeString, Value: rdb.AppendString(nil, bytes.Repeat([]byte("*1\r\n"), i))})
		want = append(want, flow.Key{DB: 3, Name: string(key)})
	}
	cmd := appendMany(nil, batch)
	f := flying{chunk: &chunk{buf: cmd}, to: len(cmd), db: 3, seq: 9, keys: len(batch)}
	var got []flow.Key
	keysOf(&f, func(k flow.Key) { got = append(got, k) })
	again := apart(&f, pending{seq: f.seq})
	if !slices.Equal(got, want) || len(again) != len(want) {
		t.Fatalf("%v, and %d again", got, len(again))
	}
	for i, p := range again {
		text, _ := plainString(&batch[i])
		if p.key != want[i] || p.seq != uint64(5+i) || !bytes.Equal(p.cmd, appendSet(nil, &batch[i], text)) {
			t.Errorf("%+v %q", p, p.cmd)
		}
	}
}

// Of two versions of a key in one command only the later is sent again: were the
// earlier refused once more, it would come after it.
func TestManyWithAKeyTwice(t *testing.T) {
	value := func(v string) []byte { return rdb.AppendString(nil, []byte(v)) }
	cmd := appendMany(nil, []flow.Entry{
		{Key: []byte("k"), Type: rdb.TypeString, Value: value("old")},
		{Key: []byte("other"), Type: rdb.TypeString, Value: value("any")},
		{Key: []byte("k"), Type: rdb.TypeString, Value: value("new")},
	})
	r := &repairing{latest: map[flow.Key]uint64{}}
	r.failAll(apart(&flying{chunk: &chunk{buf: cmd}, to: len(cmd), seq: 7, keys: 3}, pending{seq: 7}))
	r.supersede()
	if len(r.failed) != 2 || r.failed[0].key.Name != "other" || !bytes.Contains(r.failed[1].cmd, []byte("new")) {
		t.Errorf("sent again: %+v", r.failed)
	}
}
