package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// replay answers a request that it has seen before with the bytes of then: no
// signature, no decoding, no store, no encoding. A new one it passes on.
type replay struct {
	next  http.Handler
	mu    sync.Mutex
	known map[string]reply
}

type reply struct {
	status int
	kind   string
	body   []byte
}

// ServeHTTP implements http.Handler.
func (p *replay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var form strings.Builder
	if _, err := io.Copy(&form, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	a, ok := p.known[form.String()]
	p.mu.Unlock()
	if !ok {
		a = p.ask(r, form.String())
	}
	w.Header().Set("Content-Type", a.kind)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that has left needs no answer
}

func (p *replay) ask(r *http.Request, form string) reply {
	r.Body = io.NopCloser(strings.NewReader(form))
	rec := httptest.NewRecorder()
	p.next.ServeHTTP(rec, r)
	a := reply{status: rec.Code, kind: rec.Header().Get("Content-Type"), body: bytes.Clone(rec.Body.Bytes())}
	if a.status == http.StatusOK {
		p.mu.Lock()
		p.known[form] = a
		p.mu.Unlock()
	}
	return a
}
