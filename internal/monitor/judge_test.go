package monitor

import (
	"testing"
	"time"
)

const ms = time.Millisecond

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name string
		e    Evidence
		want Kind
	}{
		{"it answers", Evidence{State: asleep, Last: Pong}, Fine},
		{"it answers, whatever its process looks like", Evidence{State: stopped, Last: Pong}, Fine},
		{"its process has ended", Evidence{State: gone, Last: Pong, Owed: ms}, Dead},
		{"it waits to be reaped", Evidence{State: zombie, Last: Pong}, Dead},
		{"the process table cannot be read", Evidence{State: gone, Unseen: true, Last: Pong}, Fine},
		{"nor does it answer", Evidence{State: gone, Unseen: true, Last: Pong, Owed: time.Minute}, Unsure},
		{"nor do its replicas hear of it", Evidence{State: gone, Unseen: true, Last: Pong, Owed: time.Second, Replicas: LinkDown}, Hung},

		{"stopped a moment ago", Evidence{State: stopped, Last: Pong, Owed: 50 * ms, Idle: 50 * ms}, Unsure},
		{"stopped for as long as it takes to look at a process", Evidence{State: stopped, Last: Pong, Owed: 190 * ms, Idle: 190 * ms}, Unsure},
		{"stopped", Evidence{State: stopped, Last: Pong, Owed: 200 * ms, Idle: 150 * ms}, Hung},
		{"stopped, and this process came late", Evidence{Void: true, State: stopped, Last: Pong, Owed: time.Second}, Fine},
		{"stopped, and its replicas heard from it meanwhile", Evidence{State: stopped, Last: Pong, Owed: 300 * ms, Replicas: LinkMoves}, Unsure},
		{"held by a debugger", Evidence{State: traced, Last: Pong, Owed: time.Hour, Idle: time.Hour}, Unsure},
		{"held by a debugger, and its replicas gave up", Evidence{State: traced, Last: Pong, Owed: time.Hour, Replicas: LinkDown}, Unsure},

		{"a script runs and answers are held back", Evidence{State: running, Last: Pong, Owed: time.Minute}, Busy},
		{"a script runs and the machine is full", Evidence{State: running, Last: Pong, Owed: time.Minute, Idle: time.Minute}, Busy},
		{"it works between two looks", Evidence{State: asleep, Last: Pong, Owed: time.Minute}, Busy},
		{"a busy one whose replicas gave up", Evidence{State: running, Last: Pong, Owed: time.Minute, Replicas: LinkDown}, Busy},
		{"a script says so", Evidence{State: running, Last: BusyReply}, Busy},
		{"it reads its data", Evidence{State: running, Last: LoadingReply}, Busy},

		{"it sleeps", Evidence{State: asleep, Last: Pong, Owed: 500 * ms, Idle: 500 * ms}, Unsure},
		{"it sleeps and its replicas notice nothing", Evidence{State: asleep, Last: Pong, Owed: 5 * time.Second, Idle: 5 * time.Second, Replicas: LinkStill}, Unsure},
		{"it sleeps and its replicas have lost it", Evidence{State: asleep, Last: Pong, Owed: 500 * ms, Idle: 500 * ms, Replicas: LinkDown}, Hung},
		{"they lost it this very moment", Evidence{State: asleep, Last: Pong, Owed: 100 * ms, Idle: 100 * ms, Replicas: LinkDown}, Unsure},
		{"it sleeps on and on", Evidence{State: asleep, Last: Pong, Owed: 16 * time.Second, Idle: 15 * time.Second}, Hung},
		{"it sleeps on and on and its replicas hear from it", Evidence{State: asleep, Last: Pong, Owed: time.Minute, Idle: time.Minute, Replicas: LinkMoves}, Unsure},
		{"it waits for the disk", Evidence{State: blocked, Last: Pong, Owed: 2 * time.Second, Idle: 2 * time.Second}, Unsure},
		{"it waits for the disk, and gets something now and then", Evidence{State: blocked, Last: Pong, Owed: time.Minute}, Busy},
		{"it waits for the disk and will not come back", Evidence{State: blocked, Last: Pong, Owed: time.Minute, Idle: time.Minute}, Hung},
		{"it waits for the disk and its replicas have lost it", Evidence{State: blocked, Last: Pong, Owed: time.Second, Idle: time.Second, Replicas: LinkDown}, Hung},

		{"it takes no connections", Evidence{State: asleep, Last: Pong, Refused: true, Owed: time.Second, Idle: time.Second}, Unsure},
		{"nor do its replicas hear of it", Evidence{State: asleep, Last: Pong, Refused: true, Owed: time.Second, Idle: time.Second, Replicas: LinkDown}, Hung},
		{"never heard, and young", Evidence{State: stopped, Owed: time.Second, Idle: time.Second}, Fine},
		{"never heard, and stopped for long", Evidence{State: stopped, Owed: 6 * time.Second, Idle: 6 * time.Second}, Hung},
		{"never heard, and at work", Evidence{State: running, Owed: time.Minute}, Busy},
	} {
		if got := Judge(c.e); got.Kind != c.want {
			t.Errorf("%s: %+v is judged %v (%s), want %v", c.name, c.e, got.Kind, got.Why, c.want)
		}
	}
}

// No single witness is enough, whatever else is not known.
func TestNobodyIsEndedOnOneWitness(t *testing.T) {
	for _, state := range []byte{running, asleep, blocked, stopped, traced} {
		for _, replicas := range []View{NotAsked, LinkStill, LinkMoves, LinkDown} {
			for _, idle := range []time.Duration{0, time.Second, time.Hour} {
				e := Evidence{State: state, Last: Pong, Idle: idle, Replicas: replicas}
				if v := Judge(e); v.Kind == Hung {
					t.Errorf("one that answers is ended: %+v", e)
				}
				e.Owed = time.Hour
				against := 1 // the probe
				if replicas == LinkDown {
					against++
				}
				if state == stopped || idle >= idleAfter && state != running && state != traced {
					against++
				}
				if v := Judge(e); v.Kind == Hung && against < 2 {
					t.Errorf("%+v is ended with %d witnesses", e, against)
				}
			}
		}
	}
}
