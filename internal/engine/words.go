package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"holdfast.dev/internal/cache"
)

// How much of a log is looked at, and how much of that is told.
const (
	tailBytes = 64 << 10
	tellLines = 6
)

// finality tells when a line of the log means that trying again cannot help.
type finality int

const (
	ifSeeded  finality = iota // the file that was given is at fault
	ifReplica                 // the engines do not understand each other
	ifBoth
	anyway
)

// fatal are the engines' own words for what stops them.
var fatal = []struct {
	words string
	when  finality
}{
	{"FATAL CONFIG FILE ERROR", anyway},
	{"Critical error while loading ACLs", anyway},
	{"Can't handle RDB format version", ifBoth},
	{"Can't handle RDB key type", ifBoth},
	{"Can't handle foreign RDB format version", ifBoth},
	{"Wrong signature trying to load DB from file", ifSeeded},
	{"Short read or OOM loading DB", ifSeeded},
	{"Internal error in RDB reading", ifSeeded},
	{"Wrong RDB checksum", ifSeeded},
	{"Terminating server after rdb file reading failure", ifSeeded},
	{"Fatal error loading the DB", ifSeeded},
	{"Bad file format reading the append only file", anyway},
	{"Unexpected end of file reading the append only file", anyway},
}

// words are the last lines that the present run of the node wrote to its log.
type words []string

// said reads them.
func (n *node) said() (words, error) {
	n.mu.Lock()
	from := n.logFrom
	n.mu.Unlock()
	f, err := os.Open(n.log())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the node's log: %w", err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("cannot read the node's log: %w", err)
	}
	if from > size {
		from = 0 // it has been rotated since
	}
	b := make([]byte, min(size-max(from, 0), tailBytes))
	if _, err := f.ReadAt(b, size-int64(len(b))); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("cannot read the node's log: %w", err)
	}
	text := string(b)
	if from < 0 {
		// Where the run began was not seen; every run says so itself.
		if i := strings.LastIndex(text, " is starting oO0o"); i >= 0 {
			text = text[i:]
		}
	}
	return strings.Split(strings.TrimRight(text, "\n"), "\n"), nil
}

// turnPage makes what is in the log so far a thing of the past.
func (n *node) turnPage() error {
	fi, err := os.Stat(n.log())
	if err != nil {
		return fmt.Errorf("cannot look at the node's log: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.logFrom = fi.Size()
	return nil
}

// final finds the first line that says that another attempt cannot help.
func (w words) final(spec cache.NodeSpec) bool {
	for _, line := range w {
		for _, f := range fatal {
			if !strings.Contains(line, f.words) {
				continue
			}
			seeded, replica := spec.Seeded, !spec.Primary.IsZero()
			switch f.when {
			case anyway:
				return true
			case ifSeeded:
				return seeded
			case ifReplica:
				return replica
			case ifBoth:
				return seeded || replica
			}
		}
	}
	return false
}

// loaded tells whether the engine says that it has read its data.
func (w words) loaded() bool {
	for _, line := range w {
		if strings.Contains(line, "Ready to accept connections") {
			return true
		}
	}
	return false
}

// hashes are those of passwords, as rules have them.
var hashes = regexp.MustCompile(`#[0-9a-fA-F]{64}`)

// quoted are the lines worth repeating in an error: the last warnings and what
// has no date, as the checker of RDB files and the configuration parser print.
func (w words) quoted(secret string) string {
	var telling []string
	for _, line := range w {
		if text := plain(line); text != "" {
			telling = append(telling, text)
		}
	}
	if len(telling) > tellLines {
		telling = telling[len(telling)-tellLines:]
	}
	text := strings.Join(telling, " / ")
	if secret != "" {
		text = strings.ReplaceAll(text, secret, "***")
	}
	text = hashes.ReplaceAllString(text, "#***") // an engine repeats the line that it cannot read
	if text == "" {
		return "it said nothing"
	}
	return "it said: " + text
}

// noise are pieces of lines that explain nothing.
var noise = []string{
	"oO0Oo", "WARNING", "just started", "Configuration loaded", "Server initialized", "[info] ",
	"RDB ERROR DETECTED", "Checking RDB file", "Check RDB returned", "AUX FIELD", "Selecting DB ID",
}

// plain takes the process, role and date off a line, and drops lines that are
// notices or decoration.
func plain(line string) string {
	line = strings.TrimSpace(line)
	for _, level := range []string{" # ", " * ", " - ", " . "} {
		head, text, ok := strings.Cut(line, level)
		if !ok || !strings.Contains(head, ":") {
			continue
		}
		if level != " # " {
			return ""
		}
		line = text
		break
	}
	for _, n := range noise {
		if strings.Contains(line, n) {
			return ""
		}
	}
	if strings.Trim(line, "-=*# ") == "" {
		return ""
	}
	return strings.TrimPrefix(line, "[additional info] ")
}

// addressTaken tells whether the engine ended because it could not listen.
func addressTaken(w words) bool {
	for _, line := range w {
		if strings.Contains(line, "Address already in use") || strings.Contains(line, "assign requested address") {
			return true
		}
	}
	return false
}
