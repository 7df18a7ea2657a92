package sink

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/testkit"
)

// rawFile is a file of the sample as a server would write it, and how many keys are in
// each database.
func rawFile(t *testing.T, version int) ([]byte, map[int]int64) {
	t.Helper()
	var out bytes.Buffer
	w, err := rdb.NewTargetWriter(&out, rdb.Target{Version: version})
	if err != nil {
		t.Fatal(err)
	}
	keys := map[int]int64{}
	for _, e := range flowtest.Sample() {
		r := rdb.Entry{DB: e.DB, Key: e.Key, Type: e.Type, Version: e.Version, Value: e.Value, ExpireAt: e.ExpireAt, Idle: -1, Freq: -1}
		if err := w.Write(&r); err != nil {
			t.Fatal(err)
		}
		keys[e.DB]++
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), keys
}

// A file that is handed on as it is arrives, in whatever pieces, and however long the
// server had to wait for it.
func TestPrimaryAsItIs(t *testing.T) {
	for _, name := range []string{"redis-6.0", "redis-7.0", "valkey-8.1", "valkey-9.1"} {
		t.Run(name, func(t *testing.T) {
			s := testkit.StartServer(t, testkit.Engine(t, name))
			p := openPrimary(t, at(s), PrimaryOptions{})
			if err := errors.Join(p.CallAsIs(t.Context()), p.Write(t.Context(), nil)); !errors.Is(err, errRaw) {
				t.Fatalf("a batch was taken too: %v", err)
			}
			p = openPrimary(t, at(s), PrimaryOptions{})
			p.period = time.Millisecond
			if err := p.CallAsIs(t.Context()); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			testkit.Wait(t, 60*time.Second, func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.out.at.After(begun)
			}, "a sign of life before the first byte")
			file, keys := rawFile(t, p.tr.Target().Version)
			for at := 0; at < len(file); at += 7 {
				if err := p.Pass(t.Context(), file[at:min(at+7, len(file))]); err != nil {
					t.Fatal(err)
				}
			}
			p.Passed(keys)
			if err := p.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			flowtest.Same(t, contents(t, s, 0, 3), flowtest.SampleContent(t))
			untouched(t, s, "")
		})
	}
}

// A file that is missing or not what was counted is an error; one that is broken off leaves
// nothing behind. The server is a primary again each time.
func TestPrimaryAsItIsNotWhole(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	file, keys := rawFile(t, 11)
	more := map[int]int64{0: keys[0] + 1, 3: keys[3]}
	for name, tc := range map[string]struct {
		file   []byte
		keys   map[int]int64
		commit bool
		want   string
		held   bool
	}{
		"cut":        {file[:len(file)/2], nil, false, "", false},
		"nothing":    {nil, nil, true, "nothing was handed on", false},
		"miscounted": {file, more, true, "was sent", true},
	} {
		t.Run(name, func(t *testing.T) {
			s.Must("FLUSHALL")
			p := openPrimary(t, at(s), PrimaryOptions{})
			err := p.CallAsIs(t.Context())
			if err == nil && tc.file != nil {
				err = p.Pass(t.Context(), tc.file)
			}
			p.Passed(tc.keys)
			if tc.commit && err == nil {
				err = p.Commit(t.Context())
			}
			if tc.commit != (err != nil) || tc.commit && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("it ended with %v", err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if n := s.Must("DBSIZE").(int64); (n > 0) != tc.held {
				t.Errorf("it holds %d keys", n)
			}
			untouched(t, s, "")
		})
	}
}
