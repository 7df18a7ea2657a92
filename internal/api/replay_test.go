package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.dev/internal/api/query"
)

func okReply(text string) query.Reply { return query.Reply{Status: http.StatusOK, Body: []byte(text)} }

func TestReplayIsGivenForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newReplays(time.Now)
		runs := 0
		call := func(key replayKey) string {
			return string(s.do(t.Context(), key, func() query.Reply {
				runs++
				return okReply(fmt.Sprint(runs))
			}).Body)
		}
		key := replayKey{accessKey: "a", invocation: "i", action: "CreateX", body: "b"}
		for range 2 {
			if got := call(key); got != "1" {
				t.Errorf("the reply of call %s", got)
			}
		}
		for _, other := range []replayKey{
			{accessKey: "z", invocation: "i", action: "CreateX", body: "b"},
			{accessKey: "a", invocation: "z", action: "CreateX", body: "b"},
			{accessKey: "a", invocation: "i", action: "DeleteX", body: "b"},
			{accessKey: "a", invocation: "i", action: "CreateX", body: "z"},
		} {
			before := runs
			if call(other); runs != before+1 {
				t.Errorf("%+v was given another call's reply", other)
			}
		}
		time.Sleep(replayFor - time.Second)
		if call(key) != "1" {
			t.Error("the reply was forgotten too early")
		}
		time.Sleep(time.Second)
		if call(key) == "1" {
			t.Error("the reply was kept too long")
		}
	})
}

func TestFailuresAreNotKept(t *testing.T) {
	s := newReplays(time.Now)
	for i, status := range []int{400, 500, 200, 200} {
		r := s.do(t.Context(), replayKey{invocation: "i"}, func() query.Reply {
			if i == 3 {
				t.Error("the success was not kept")
			}
			return query.Reply{Status: status}
		})
		if r.Status != status {
			t.Errorf("call %d: status %d", i, r.Status)
		}
	}
}

// TestDuplicatesWait: retries that come while the first call runs get its reply;
// when it fails by our fault, exactly one of them runs next.
func TestDuplicatesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newReplays(time.Now)
		var mu sync.Mutex
		runs := 0
		do := func() query.Reply {
			return s.do(t.Context(), replayKey{invocation: "i"}, func() query.Reply {
				mu.Lock()
				runs++
				n := runs
				mu.Unlock()
				time.Sleep(time.Second) // of the bubble's own clock
				if n == 1 {
					return query.Reply{Status: 500}
				}
				return okReply("done")
			})
		}
		var wg sync.WaitGroup
		statuses := make([]int, 20)
		for i := range statuses {
			wg.Go(func() { statuses[i] = do().Status })
		}
		wg.Wait()
		failed := 0
		for _, status := range statuses {
			if status == 500 {
				failed++
			}
		}
		if runs != 2 || failed != 1 {
			t.Errorf("%d runs, %d failures; want 2 and 1", runs, failed)
		}
	})
}

func TestWaitingEndsWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newReplays(time.Now)
		release := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			s.do(t.Context(), replayKey{}, func() query.Reply { <-release; return okReply("") })
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if r := s.do(ctx, replayKey{}, func() query.Reply { t.Error("ran"); return query.Reply{} }); r.Status != 500 {
			t.Errorf("status %d", r.Status)
		}
		close(release)
		wg.Wait()
	})
}

func TestReplaysAreBounded(t *testing.T) {
	s := newReplays(time.Now)
	body := make([]byte, maxReplayBytes/100)
	for i := range 2 * maxReplays {
		s.do(t.Context(), replayKey{invocation: fmt.Sprint(i)}, func() query.Reply {
			if i%2 == 0 {
				return okReply("")
			}
			return query.Reply{Status: 200, Body: body}
		})
		if len(s.calls) > maxReplays || s.bytes > maxReplayBytes || len(s.kept) != len(s.calls) {
			t.Fatalf("%d kept, %d in the list, %d bytes", len(s.calls), len(s.kept), s.bytes)
		}
	}
	if len(s.calls) < 50 {
		t.Errorf("only %d kept", len(s.calls))
	}
	s.do(t.Context(), replayKey{invocation: "panics"}, func() query.Reply { return query.Reply{Status: 400} })
	func() {
		defer func() { _ = recover() }()
		s.do(t.Context(), replayKey{invocation: "panics"}, func() query.Reply { panic("x") })
	}()
	if r := s.do(t.Context(), replayKey{invocation: "panics"}, func() query.Reply { return okReply("") }); r.Status != 200 {
		t.Error("a call that panicked blocks its key")
	}
}

// TestKeysOfRepliesKeepNothingThatWasSaid: two that say the same are the same, and what they
// said cannot be read there.
func TestKeysOfRepliesKeepNothingThatWasSaid(t *testing.T) {
	const hash, said = "e3b0c442", "Action=CreateUser&Passwords.member.1=a-password-of-the-shop"
	key := sayingOf(hash, said)
	if len(key) != 32 || strings.Contains(key, "password") {
		t.Errorf("a key is %q", key)
	}
	if key != sayingOf(hash, said) || key == sayingOf(hash, said+"x") || key == sayingOf("e3b0c443", said) {
		t.Error("keys do not tell requests apart")
	}
}
