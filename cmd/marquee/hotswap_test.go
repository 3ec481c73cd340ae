package main

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// hammer asks one service over and over from several clients until it is stopped.
type hammer struct {
	stop  chan struct{}
	done  sync.WaitGroup
	asked atomic.Int64
	// bundles counts answers by the release they came from.
	mu      sync.Mutex
	bundles map[string]int
	failed  []string
}

// startHammer begins with the three questions that clients ask.
func startHammer(s *server, profiles int) *hammer {
	h := &hammer{stop: make(chan struct{}), bundles: map[string]int{}}
	for worker := range 3 {
		h.done.Go(func() {
			for n := worker; ; n++ {
				select {
				case <-h.stop:
					return
				default:
					h.ask(s, n, fmt.Sprintf(`{"viewer":{"profileId":"mllatest:%d"}}`, 1+n%profiles))
				}
			}
		})
	}
	return h
}

func (h *hammer) ask(s *server, n int, viewer string) {
	method, body := "Recommend", viewer
	switch n % 3 {
	case 1:
		method = "HomePage"
	case 2:
		method, body = "SimilarTitles", fmt.Sprintf(`{"titleId":"mllatest:%d"}`, 1+n%smallFilms)
	}
	var r struct {
		Titles, Rows []any
		Degraded     []string
		BundleID     string
	}
	code, err := ask(s.url+servingService+method, body, &r)
	h.asked.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bundles[r.BundleID]++
	if err != nil || code != http.StatusOK || len(r.Titles)+len(r.Rows) == 0 || len(r.Degraded) > 0 {
		h.failed = append(h.failed, fmt.Sprintf("%s %s: %d %v %+v", method, body, code, err, r))
	}
}

// more waits for so many more answers.
func (h *hammer) more(s *server, n int64) {
	s.t.Helper()
	from := h.asked.Load()
	s.until("answers", func() bool { return h.asked.Load() >= from+n })
}

// end stops asking; not one request may have failed.
func (h *hammer) end(t *testing.T) {
	t.Helper()
	close(h.stop)
	h.done.Wait()
	for i, f := range h.failed {
		if i < 5 {
			t.Error(f)
		}
	}
	t.Logf("%d requests, %d failed, by release: %v", h.asked.Load(), len(h.failed), h.bundles)
}

// hotSwap changes the release in use, by hand and by a night, while requests run.
func hotSwap(t *testing.T, f *trained) {
	in := f.install(t)
	// On a busy machine sources are late, which is not what this is about.
	s := in.serve("--set", "serving.source_timeout=1s")
	h := startHammer(s, f.set.users)
	h.more(s, 50)
	var second struct{ ID string }
	in.run("train", "als", "--json", "--set", "training.als.dim=8").ok().json(&second)
	if second.ID == "" || second.ID == f.release {
		t.Fatalf("trained %q beside %q", second.ID, f.release)
	}
	in.run("models", "promote", second.ID).ok("in use: " + second.ID)
	serves := func(id string) func() bool {
		return func() bool { return s.recommend("mllatest:1", "").BundleID == id }
	}
	s.until("the promoted release", serves(second.ID))
	h.more(s, 50)
	in.run("models", "rollback").ok("in use: " + f.release)
	s.until("the release before", serves(f.release))
	// What was watched meanwhile makes the night another one.
	s.record(event("mllatest:1", "mllatest:7", "EVENT_TYPE_PLAY_END"), event("mllatest:2", "mllatest:8", "EVENT_TYPE_PLAY_END"))
	var n night
	in.run("nightly", "--json").ok().json(&n)
	if !n.Promoted || n.Bundle == f.release {
		t.Fatalf("the night: %+v", n)
	}
	s.until("the night's release", serves(n.Bundle))
	h.more(s, 50)
	h.end(t)
	for _, id := range []string{f.release, second.ID, n.Bundle} {
		if h.bundles[id] == 0 {
			t.Errorf("no answer came from release %s: %v", id, h.bundles)
		}
	}
	s.terminate()
}
