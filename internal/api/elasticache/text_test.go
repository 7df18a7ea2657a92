package elasticache

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/sigv4"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/control/controltest"
)

var update = flag.Bool("update", false, "rewrite the expected replies in testdata")

// TestText runs the files in testdata. Each holds orders, one a line, and below
// an order its reply:
//
//	[region] Action Member=value "Member=value with spaces"   a request; reply: status and indented XML
//
// A request that begins with "!" prints no more of a success than "ok", and one
// that ends in |Name,Name only those elements.
//
//	settle              the reconciler makes everything true
//	pass DURATION       time passes
//	fail GROUP REASON   the creation of a group fails
//	status KIND ID STATUS   a group, cluster or snapshot is in this state
//	bucket NAME REGION [none|other|owner|denied]
//	object BUCKET KEY BYTES
//	free BYTES          the machine's free memory
//	machine BYTES       the machine's memory
func TestText(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runText(t, file) })
	}
}

func runText(t *testing.T, file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{t: t, w: controltest.New(t, nil)}
	p.svc = New(p.w.Control)
	if err := p.svc.Err(); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for line := range strings.Lines(string(raw)) {
		switch {
		case strings.HasPrefix(line, "#"), strings.TrimSpace(line) == "":
			got.WriteString(line)
		case strings.HasPrefix(line, "  "): // an earlier reply
		default:
			got.WriteString(line)
			for out := range strings.Lines(p.order(strings.TrimSpace(line))) {
				got.WriteString("  " + out)
			}
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(raw), got.String()); diff != "" {
		t.Errorf("%s: -want +got (rewrite with -update)\n%s", file, diff)
	}
}

type player struct {
	t   *testing.T
	w   *controltest.World
	svc *query.Service
}

func (p *player) order(line string) string {
	words, err := split(line)
	if err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	must := func(err error) {
		if err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
	}
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		must(err)
		return n
	}
	switch words[0] {
	case "settle":
		must(p.w.Settle(p.t.Context()))
	case "pass":
		d, err := time.ParseDuration(words[1])
		must(err)
		p.w.Pass(d)
	case "fail":
		must(p.w.Fail(p.t.Context(), "us-east-1", words[1], words[2]))
	case "status":
		must(p.w.SetStatus(p.t.Context(), "us-east-1", words[1], words[2], cache.Status(words[3])))
	case "bucket":
		faults := map[string]error{
			"": nil, "owner": control.ErrNotOwner, "denied": control.ErrDenied, "broken": errors.New("disk on fire"),
			"noread": control.ErrNoRead, "nowrite": control.ErrNoWrite, "noreadacp": control.ErrNoReadACP,
		}
		p.w.Buckets.Add(words[1], words[2], faults[strings.Join(words[3:], "")])
	case "object":
		p.w.Buckets.Put(words[1], words[2], number(words[3]))
	case "free":
		p.w.Memory.Free = number(words[1])
	case "machine":
		p.w.Memory.All = number(words[1])
	default:
		region := "us-east-1"
		if strings.HasPrefix(words[0], "[") {
			region, words = strings.Trim(words[0], "[]"), words[1:]
		}
		return p.call(region, words)
	}
	return ""
}

// call sends a request past the front door and prints the reply.
func (p *player) call(region string, words []string) string {
	action, brief := strings.CutPrefix(words[0], "!")
	var only []string
	if list, ok := strings.CutPrefix(words[len(words)-1], "|"); ok {
		words, only = words[:len(words)-1], strings.Split(list, ",")
	}
	form := url.Values{"Action": {action}, "Version": {"2015-02-02"}}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		form.Set(k, v)
	}
	body := form.Encode()
	r, err := http.NewRequest(http.MethodPost, "/", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	ctx := query.WithInfo(p.t.Context(), query.Info{
		Service: "elasticache", Region: region, RequestID: "req",
		Identity: sigv4.Identity{Account: cache.Account},
	})
	reply := p.svc.Parse(r, []byte(body)).Do(ctx)
	if reply.Status != http.StatusOK {
		cause := ""
		if reply.Cause != nil {
			cause = " (" + reply.Cause.Error() + ")"
		}
		var e struct {
			Error struct{ Code, Message string }
		}
		if err := xml.Unmarshal(reply.Body, &e); err != nil {
			p.t.Fatal(err)
		}
		return fmt.Sprintf("%d %s: %s%s\n", reply.Status, e.Error.Code, e.Error.Message, cause)
	}
	if brief {
		return "ok\n"
	}
	var out strings.Builder
	for line := range strings.Lines(indent(p.t, reply.Body)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if only == nil || slices.Contains(only, name) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// indent prints the result of a reply, an element a line.
func indent(t *testing.T, body []byte) string {
	d := xml.NewDecoder(bytes.NewReader(body))
	var out strings.Builder
	depth, text, open := 0, "", ""
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		switch k := tok.(type) {
		case xml.StartElement:
			if open != "" {
				fmt.Fprintf(&out, "%s%s\n", strings.Repeat("  ", depth-1), open)
			}
			depth++
			open, text = k.Name.Local, ""
			if open == "ResponseMetadata" {
				return out.String()
			}
		case xml.CharData:
			text = string(k)
		case xml.EndElement:
			if open != "" {
				line := strings.Repeat("  ", depth-1) + open
				if strings.TrimSpace(text) != "" {
					line += " = " + text
				}
				out.WriteString(line + "\n")
			}
			depth--
			open = ""
		}
	}
}

// split takes a line apart at spaces outside quotes.
func split(line string) ([]string, error) {
	var out []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		word := line
		if line[0] == '"' {
			end := strings.IndexByte(line[1:], '"')
			if end < 0 {
				return nil, errors.New("a quote is open")
			}
			word, line = line[1:end+1], line[end+2:]
		} else if i := strings.IndexByte(line, ' '); i >= 0 {
			word, line = line[:i], line[i:]
		} else {
			line = ""
		}
		out = append(out, word)
	}
	return out, nil
}
