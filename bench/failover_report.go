package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// failoverRow is a distribution of how long no write was accepted.
type failoverRow struct {
	Who     string `json:"who"`
	Ours    bool   `json:"ours"`
	Cluster bool   `json:"cluster_mode"`
	// Rate is how many writes a second there were meant to be, and Real the median of
	// how many there were.
	Rate  int    `json:"writes_per_second"`
	Rates series `json:"real_writes_per_second"`
	Busy  bool   `json:"busy"`
	Hung  bool   `json:"hung"`

	Took series `json:"seconds"`
	// Silent counts losses after which no write was accepted at all within a minute.
	Silent int `json:"silent,omitempty"`

	// Asked acknowledged writes were looked for; Lost are gone, and LostHeld are those
	// of them that a replica was known to have.
	Asked    int64 `json:"asked"`
	Lost     int64 `json:"lost"`
	LostHeld int64 `json:"lost_held"`

	// Peer is whom it is compared with, and Speed how many times as fast it is, by the median.
	Peer  string  `json:"peer,omitempty"`
	Speed float64 `json:"speed_of_peer,omitempty"`
}

func (f *failoverRow) add(r loss) {
	f.Rates = append(f.Rates, r.rate)
	if r.silent {
		f.Silent++
		return
	}
	f.Took = append(f.Took, r.took.Seconds())
	f.Asked += r.asked
	f.Lost += r.lost
	f.LostHeld += r.lostHeld
}

func (r *report) failover(f failoverRow) {
	r.data.Failovers = append(r.data.Failovers, f)
	fmt.Fprintf(os.Stderr, "  %s, %s: %s, p99 %s; %s\n", f.Who, f.event(), f.Took, short(f.Took.quantile(0.99)), f.losses())
}

// besidePeers finds for each row of ours the peer that was under the same.
func (r *report) besidePeers() {
	all := r.data.Failovers
	for i := range all {
		f := &all[i]
		peer := slices.IndexFunc(all, func(p failoverRow) bool {
			return f.Ours && !p.Ours && p.Cluster == f.Cluster && p.Rate == f.Rate && p.Busy == f.Busy && p.Hung == f.Hung
		})
		if peer >= 0 && len(all[peer].Took) > 0 && len(f.Took) > 0 {
			f.Peer, f.Speed = all[peer].Who, all[peer].Took.median()/f.Took.median()
		}
	}
}

// failovers prints the table, as Markdown, which a terminal shows too.
func (r *report) failovers() {
	if len(r.data.Failovers) == 0 {
		return
	}
	fmt.Println("\n| who keeps the primary | lost by | losses | least | p50 | p90 | p99 | most | acknowledged writes lost | of those a replica had | the peer's p50 of ours |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
	for _, f := range r.data.Failovers {
		fmt.Printf("| %s | %s | %s | %s | %s | %s |\n", f.title(), f.event(), f.times(), f.spread(), f.losses(), speedText(row{Speed: f.Speed}))
	}
}

// spread are the columns of the distribution.
func (f failoverRow) spread() string {
	if len(f.Took) == 0 {
		return "– | – | – | – | –"
	}
	var out []string
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 1} {
		out = append(out, short(f.Took.quantile(q)))
	}
	return strings.Join(out, " | ")
}

func (f failoverRow) title() string {
	if f.Cluster && f.Ours {
		return f.Who + ", cluster mode"
	}
	return f.Who
}

func (f failoverRow) times() string {
	n := strconv.Itoa(len(f.Took))
	if f.Silent > 0 {
		n += fmt.Sprintf(", and %d without an end", f.Silent)
	}
	return n
}

// event says what happened, and under which circumstances.
func (f failoverRow) event() string {
	text := "`kill -9`"
	if f.Hung {
		text = "`SIGSTOP`"
	}
	if f.Rate > 0 {
		text += fmt.Sprintf(", %d k writes/s (%.1f k)", f.Rate/1000, f.Rates.median()/1000)
	}
	if f.Busy {
		text += ", busy"
	}
	return text
}

func (f failoverRow) losses() string {
	if f.Rate == 0 {
		return "– | –"
	}
	held := "0"
	if f.LostHeld > 0 {
		held = fmt.Sprintf("**%d**", f.LostHeld) // that must not be
	}
	return fmt.Sprintf("%d of %d | %s", f.Lost, f.Asked, held)
}
