package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/command"
	"holdfast.dev/internal/resp"
)

const (
	replicasSetting = "min-replicas-to-write"
	slavesSetting   = "min-slaves-to-write" // its name before Redis 5.0
	lagSetting      = "min-replicas-max-lag"
	slavesLag       = "min-slaves-max-lag"
	// heldReplicas is more than there can be, and a number that nobody else sets.
	heldReplicas = "1000000007"
	// heldLag: with a lag of 0 the server would not count replicas at all.
	heldLag = "10"
)

// HoldUndo is what a hold by refusal changed on a server. It can be stored as JSON.
type HoldUndo struct {
	// Setting and Lag are the names of the two settings, each with the value that it had.
	Setting  string `json:"setting"`
	Value    string `json:"value"`
	Lag      string `json:"lag"`
	LagValue string `json:"lagValue"`
	// Paused: writes wait for good, instead (Fence). Waiting: some that waited before could
	// not be dropped, and would be carried out.
	Paused  bool `json:"paused,omitempty"`
	Waiting bool `json:"waiting,omitempty"`
}

// Any tells whether there is anything to put back.
func (u HoldUndo) Any() bool { return u.Setting != "" || u.Paused }

// errHeldBefore: somebody died holding.
var errHeldBefore = errors.New("the server refuses writes already, since " + replicasSetting + " is " + heldReplicas +
	": a run that held its writes back did not end. Put it back with what that run stored, or by CONFIG SET " + replicasSetting + " 0 if it was not set before")

// refuse has writes refused.
func (h *Hold) refuse(ctx context.Context, save func(HoldUndo) error) error {
	u := HoldUndo{Setting: replicasSetting, Lag: lagSetting}
	var ok bool
	var err error
	if u.Value, ok, err = setting(ctx, h.conn, u.Setting); err == nil && !ok {
		u.Setting, u.Lag = slavesSetting, slavesLag
		u.Value, _, err = setting(ctx, h.conn, u.Setting)
	}
	if err == nil {
		u.LagValue, _, err = setting(ctx, h.conn, u.Lag)
	}
	if err != nil {
		return err
	}
	if u.Value == heldReplicas {
		return errHeldBefore
	}
	if u.Value == "" || u.LagValue == "" {
		return &resp.ServerError{Text: "the server has no such setting"}
	}
	if save != nil {
		if err := save(u); err != nil {
			return fmt.Errorf("cannot note what has to be put back: %w", err)
		}
	}
	h.means, h.undo, h.begun = HoldRefuse, u, true
	err = h.setRefusal(ctx, u)
	if resp.IsServerError(err) {
		h.begun = u.LagValue == "0" // the rest is as it was
	}
	return err
}

// setRefusal changes the settings.
func (h *Hold) setRefusal(ctx context.Context, u HoldUndo) error {
	if u.LagValue == "0" {
		if _, err := h.conn.Do(ctx, "CONFIG", "SET", u.Lag, heldLag); err != nil {
			return err
		}
	}
	_, err := h.conn.Do(ctx, "CONFIG", "SET", u.Setting, heldReplicas)
	return err
}

// Undo is what Release puts back; false where a pause ends by itself.
func (h *Hold) Undo() (HoldUndo, bool) { return h.undo, h.means == HoldRefuse }

// UndoHold puts back what a hold by refusal changed; a run that was killed
// holding left it so. Doing it twice does no harm.
func UndoHold(ctx context.Context, opt resp.Options, u HoldUndo) error {
	if !u.Any() {
		return nil
	}
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err == nil {
		err = errors.Join(u.putBack(ctx, conn), conn.Close())
	}
	if err != nil {
		return &stillHeld{fmt.Errorf("%s still refuses writes; put it back by %s: %w", opt, u, err)}
	}
	return nil
}

func (u HoldUndo) putBack(ctx context.Context, conn *resp.Conn) error {
	if u.Paused {
		_, err := conn.Do(ctx, "CLIENT", "UNPAUSE")
		return err
	}
	_, err := conn.Do(ctx, "CONFIG", "SET", u.Setting, u.Value)
	if err == nil && u.LagValue == "0" {
		_, err = conn.Do(ctx, "CONFIG", "SET", u.Lag, u.LagValue)
	}
	return err
}

// String is the commands that put it back.
func (u HoldUndo) String() string {
	if u.Paused {
		s := "CLIENT UNPAUSE; until then, or until it is restarted, writes wait without an answer, for it may not be configured to refuse them"
		if u.Waiting {
			s += ". CLIENT KILL TYPE normal before that, or writes that wait there now are carried out"
		}
		return s
	}
	s := fmt.Sprintf("CONFIG SET %s %s", u.Setting, u.Value)
	if u.LagValue == "0" {
		s += fmt.Sprintf(" and CONFIG SET %s 0", u.Lag)
	}
	return s
}

// setting asks for one setting; false if the server has none of that name.
func setting(ctx context.Context, conn *resp.Conn, name string) (string, bool, error) {
	r, err := conn.Do(ctx, "CONFIG", "GET", name)
	if err != nil {
		return "", false, err
	}
	for i := 0; i+1 < len(r.Elems); i += 2 {
		if string(r.Elems[i].Bytes) == name {
			return string(r.Elems[i+1].Bytes), true, nil
		}
	}
	return "", false, nil
}

// heldServer is what must not change while a server is held. Users who may not
// call INFO know nothing of it.
type heldServer struct {
	id, role string
	// writes counts the commands that may have written, those of scripts included,
	// and those that were refused or wait not.
	writes int64
	// counted: the server told its counters.
	counted bool
	// paused is 1 or 0 where the server tells whether it holds writes back, -1 where it does not.
	paused int
}

// heldNow asks the server.
func heldNow(ctx context.Context, conn *resp.Conn) (heldServer, error) {
	s := heldServer{paused: -1}
	for _, section := range []string{"server", "replication", "clients", "commandstats"} {
		r, err := conn.Do(ctx, "INFO", section)
		if resp.IsServerError(err, "NOPERM") {
			return s, nil
		}
		if err != nil {
			return s, err
		}
		for name, value := range resp.InfoFields(r.Bytes) {
			switch name {
			case "run_id":
				s.id = value
			case "role":
				s.role = value
			case "paused_actions":
				s.paused = 0
				if value == "write" || value == "all" {
					s.paused = 1
				}
			default:
				n, err := writeCalls(name, value)
				if err != nil {
					return s, err
				}
				s.writes += n
			}
		}
	}
	s.counted = true
	return s, nil
}

// writeCalls is how often a command was called, if that means a write, by its line
// of INFO commandstats. SORT and GEORADIUS seldom do, and are not counted; what
// the server itself counts as changes is of no use, for before Redis 7.0 a transaction
// that only reads counts too.
func writeCalls(name, value string) (int64, error) {
	name, ok := strings.CutPrefix(name, "cmdstat_")
	if !ok {
		return 0, nil
	}
	name, _, _ = strings.Cut(name, "|")
	if !command.Writes(name) || name == "sort" || strings.HasPrefix(name, "georadius") {
		return 0, nil
	}
	num, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
	calls, err := strconv.ParseInt(num, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot read INFO commandstats %q: %w", value, err)
	}
	return calls, nil
}

// check compares it with what the server says later.
func (s heldServer) check(now heldServer, means HoldMeans) error {
	switch {
	case s.id != now.id:
		return &brokenHold{"the server was restarted, or another one answers at its address"}
	case s.role != now.role:
		return &brokenHold{fmt.Sprintf("the server was %s and is %s", s.role, now.role)}
	case means == HoldPause && now.paused == 0:
		return &brokenHold{"somebody ended the pause (CLIENT UNPAUSE)"}
	case now.writes > s.writes:
		return &brokenHold{fmt.Sprintf("%d writes got through: of scripts or queued transactions, which servers before Redis 7.0 do not refuse. Stop the writers yourself", now.writes-s.writes)}
	case now.writes < s.writes:
		return &brokenHold{"the server's statistics were reset (CONFIG RESETSTAT), so whether a write got through cannot be known"}
	}
	return nil
}

// holdGrace is what releasing may take when the context has ended already.
const holdGrace = 10 * time.Second

// ReleaseNow is Release for callers whose own context may have ended.
func (h *Hold) ReleaseNow() error {
	ctx, cancel := context.WithTimeout(context.Background(), holdGrace)
	defer cancel()
	return h.Release(ctx)
}
