package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// logEvery is how often a long step says how far it is where there is no terminal.
const logEvery = 5 * time.Second

// progressGroup shows several things that go on at the same time: bars on a
// terminal, elsewhere a line for each every few seconds.
type progressGroup struct {
	bars *mpb.Progress // nil where there is no terminal
	log  *slog.Logger
}

func newProgressGroup(w io.Writer) *progressGroup {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		return &progressGroup{bars: mpb.New(mpb.WithOutput(w), mpb.WithWidth(40), mpb.WithRefreshRate(100*time.Millisecond))}
	}
	return &progressGroup{log: slog.New(slog.NewTextHandler(w, nil))}
}

// wait returns when all its bars, which must be done, have been drawn for the last time.
func (g *progressGroup) wait() {
	if g.bars != nil {
		g.bars.Wait()
	}
}

// progress counts the keys of one long step.
type progress struct {
	group *progressGroup
	alone bool
	label string
	keys  atomic.Int64
	total atomic.Int64
	dirty atomic.Int64
	bytes atomic.Int64
	begun time.Time
	bar   *mpb.Bar
	once  sync.Once
	stop  chan struct{}
	wg    sync.WaitGroup
}

// newProgress begins to show a step of total keys, 0 if that is not known. It
// must be ended by Done.
func newProgress(w io.Writer, label string, total int64) *progress {
	p := newProgressGroup(w).start(label, total)
	p.alone = true
	return p
}

func (g *progressGroup) start(label string, total int64) *progress {
	p := &progress{group: g, label: label, begun: time.Now(), stop: make(chan struct{})}
	p.total.Store(total)
	if g.bars != nil {
		rate := mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.state() }, decor.WC{W: 18}))
		name := decor.Name(label, decor.WCSyncSpaceR)
		if total > 0 {
			// Begun without a total, a bar takes other totals later, and does not end by itself.
			p.bar = g.bars.AddBar(0, mpb.PrependDecorators(name, decor.CountersNoUnit("%d / %d", decor.WCSyncSpace)), rate)
			p.bar.SetTotal(total, false)
		} else {
			p.bar = g.bars.AddSpinner(0, mpb.PrependDecorators(name, decor.CurrentNoUnit("%d", decor.WCSyncSpace)), rate)
		}
		return p
	}
	p.wg.Go(p.logLines)
	return p
}

// Add counts n more keys.
func (p *progress) Add(n int64) { p.show(p.keys.Add(n)) }

// Set says how many keys there are now.
func (p *progress) Set(n int64) {
	p.keys.Store(n)
	p.show(n)
}

// SetTotal says how many there will be, once that is known better.
func (p *progress) SetTotal(n int64) {
	p.total.Store(n)
	if p.bar != nil {
		p.bar.SetTotal(n, false)
	}
}

// SetDirty says how many keys have to be read again.
func (p *progress) SetDirty(n int64) { p.dirty.Store(n) }

// SetBytes says how many bytes the keys so far had.
func (p *progress) SetBytes(n int64) { p.bytes.Store(n) }

func (p *progress) show(n int64) {
	if p.bar == nil {
		return
	}
	if t := p.total.Load(); t > 0 && n > t {
		p.bar.SetTotal(n, false) // the total was an estimate
	}
	p.bar.SetCurrent(n)
}

// Done ends the showing. It may be called twice.
func (p *progress) Done() {
	p.once.Do(func() {
		close(p.stop)
		p.wg.Wait()
		if p.bar != nil {
			p.end()
		}
		if p.alone {
			p.group.wait()
		}
	})
}

// end leaves the bar as it is: full, or where the step stopped.
func (p *progress) end() {
	if p.keys.Load() < p.total.Load() {
		p.bar.Abort(false)
		return
	}
	p.bar.SetTotal(-1, true)
}

// left is how long the rest takes at the mean speed, 0 where that is not known.
func (p *progress) left() time.Duration {
	keys, rest := p.keys.Load(), p.total.Load()-p.keys.Load()
	if keys == 0 || rest <= 0 {
		return 0
	}
	return time.Duration(float64(time.Since(p.begun)) / float64(keys) * float64(rest)).Round(time.Second)
}

// rate is the mean speed so far.
func (p *progress) rate() string {
	s := time.Since(p.begun).Seconds()
	if s < 0.1 {
		return ""
	}
	return thousands(int64(float64(p.keys.Load())/s)) + " keys/s"
}

// state is the speed, and what there is to do.
func (p *progress) state() string {
	s := p.rate()
	if n := p.bytes.Load(); n > 0 {
		s += fmt.Sprintf(", %.1f MB", float64(n)/1e6)
	}
	if d := p.dirty.Load(); d > 0 {
		s += ", " + thousands(d) + " dirty"
	}
	if d := p.left(); d > 0 {
		s += ", " + d.String() + " left"
	}
	return s
}

// logLines tells how far it is until Done.
func (p *progress) logLines() {
	tick := time.NewTicker(logEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		args := []any{"keys", p.keys.Load(), "rate", p.rate()}
		if t := p.total.Load(); t > 0 {
			args = append(args, "of", t)
		}
		if d := p.left(); d > 0 {
			args = append(args, "left", d.String())
		}
		if n := p.bytes.Load(); n > 0 {
			args = append(args, "bytes", n)
		}
		if d := p.dirty.Load(); d > 0 {
			args = append(args, "dirty", d)
		}
		p.group.log.Info(p.label, args...)
	}
}
