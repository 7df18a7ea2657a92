package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/store"
)

// lossyService registers imports, and answers as it is told to.
type lossyService struct {
	dir     dataDir
	ctl     *control.Control
	answers []string // "lost": before the answer; "error"; "refused": nothing is registered; "away": neither
	asked   int
}

func newLossyService(t *testing.T, answers ...string) *lossyService {
	t.Helper()
	dir := dataDir(t.TempDir())
	db, err := store.Open(t.Context(), dir.database())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &lossyService{dir: dir, ctl: &control.Control{Config: control.Config{DB: db, Now: time.Now}}, answers: answers}
	front := httptest.NewServer(s)
	t.Cleanup(front.Close)
	if _, err := dir.rootKey(); err != nil {
		t.Fatal(err)
	}
	if err := writeJSON(dir.service(), serviceInfo{Listen: strings.TrimPrefix(front.URL, "http://"), PID: os.Getpid()}); err != nil {
		t.Fatal(err)
	}
	return s
}

// ServeHTTP is asked one after the other.
func (s *lossyService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := s.answers[min(s.asked, len(s.answers)-1)]
	s.asked++
	var in control.NewImport
	err := json.Unmarshal([]byte(r.FormValue("Document")), &in)
	if err == nil && answer != "refused" && answer != "away" {
		_, err = s.ctl.ImportSnapshot(r.Context(), "r", in)
	}
	var fault *cache.Fault
	switch {
	case answer == "lost" || answer == "away":
		panic(http.ErrAbortHandler)
	case answer == "error":
		w.WriteHeader(http.StatusInternalServerError)
	case answer == "refused":
		fault = &cache.Fault{Code: "InvalidParameterValue", Message: "no"}
	case err != nil && !errors.As(err, &fault):
		fault = &cache.Fault{Code: "InternalFailure", Message: err.Error()}
	}
	if fault != nil {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte("<ErrorResponse><Error><Code>" + fault.Code + "</Code><Message>" + fault.Message + "</Message></Error></ErrorResponse>"))
	}
}

// TestALostAnswerDoesNotLoseAnImport that was registered: it is asked for again, and
// the files are taken away only where nothing can have been registered.
func TestALostAnswerDoesNotLoseAnImport(t *testing.T) {
	for name, c := range map[string]struct {
		answers    []string
		done, kept bool
	}{
		"none is lost":                   {answers: []string{"ok"}, done: true, kept: true},
		"one is lost":                    {answers: []string{"lost", "ok"}, done: true, kept: true},
		"two are lost":                   {answers: []string{"lost", "error", "ok"}, done: true, kept: true},
		"the request is lost":            {answers: []string{"away", "ok"}, done: true, kept: true},
		"one is lost, then it refuses":   {answers: []string{"lost", "refused"}, kept: true},
		"it refuses":                     {answers: []string{"refused"}},
		"the name is taken by another":   {answers: []string{"taken"}},
		"and that is told with an error": {answers: []string{"error", "refused"}, kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLossyService(t, c.answers...)
			if c.answers[0] == "taken" {
				if _, err := s.ctl.ImportSnapshot(t.Context(), "r", anImport("import-other")); err != nil {
					t.Fatal(err)
				}
			}
			i := &importing{dir: s.dir, region: "r", name: "s"}
			staged, err := i.stage()
			if err != nil {
				t.Fatal(err)
			}
			in := anImport(filepath.Base(staged.path))
			_, err = i.hand(t.Context(), staged, &in)
			if err := staged.close(); err != nil {
				t.Error(err)
			}
			if (err == nil) != c.done {
				t.Errorf("asked %d times: %v", s.asked, err)
			}
			if _, gone := os.Stat(staged.path); (gone == nil) != c.kept {
				t.Errorf("the files: %v, after %v", gone, err)
			}
		})
	}
}

func anImport(staged string) control.NewImport {
	return control.NewImport{Name: "s", Engine: cache.Valkey, Version: "8.1.0", Import: cache.Import{
		Staged: staged, Files: []cache.ImportFile{{Name: "0001.rdb", NodeGroupID: "0001", Fingerprint: "f"}},
	}}
}
