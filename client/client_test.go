package client_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"

	"marquee/client"
	ingestv1 "marquee/ingest/v1"
	servingv1 "marquee/serving/v1"
)

func started(t *testing.T, cfg client.Config) (*service, *client.Client) {
	t.Helper()
	s, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	cfg.Address = s.url
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return s, c
}

// TestASessionReadsItsOwnWrites: twelve plays one after the other, each out of the very next answer.
func TestASessionReadsItsOwnWrites(t *testing.T) {
	s, c := started(t, client.Config{Token: "secret"})
	viewer := c.Session(&servingv1.Viewer{ProfileId: "p"})
	left := 12
	for left > 0 {
		list, err := viewer.Recommend(t.Context(), &servingv1.RecommendRequest{Count: 20})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Titles) != left || slices.Contains(list.Degraded, "state_stale") {
			t.Fatalf("%d titles, want %d: %v", len(list.Titles), left, list.Degraded)
		}
		play, err := list.Led(0, ingestv1.EventType_EVENT_TYPE_PLAY_END)
		if err != nil {
			t.Fatal(err)
		}
		play.PlayId, play.WatchedMs, play.DurationMs = play.TitleId, 6_000_000, 6_000_000
		if err := viewer.Record(t.Context(), play); err != nil {
			t.Fatal(err)
		}
		left--
	}
	connections := map[string]bool{}
	for _, call := range s.seen() {
		connections[call.connection] = true
		if call.token != "Bearer secret" {
			t.Fatalf("%s was called with %q", call.path, call.token)
		}
	}
	if len(connections) != 1 {
		t.Errorf("%d connections for one call after the other", len(connections))
	}
}

// TestRefusedCallsAreMadeAgain: as often, and as late, as the service says.
func TestRefusedCallsAreMadeAgain(t *testing.T) {
	for name, c := range map[string]struct {
		refused []int
		bare    bool
		cfg     client.Config
		timeout time.Duration
		calls   int
		code    connect.Code // 0: it is answered
		least   time.Duration
	}{
		"unavailable for a moment": {refused: []int{503, 503}, bare: true, calls: 3},
		"shed":                     {refused: []int{429}, calls: 2, least: time.Second},
		"too large":                {refused: []int{429, 429}, bare: true, calls: 1, code: connect.CodeResourceExhausted},
		"forbidden":                {refused: []int{403}, calls: 1, code: connect.CodePermissionDenied},
		"always unavailable":       {refused: []int{503, 503, 503, 503, 503}, bare: true, calls: 3, cfg: client.Config{Attempts: 3}, code: connect.CodeUnavailable},
		"no time to come back":     {refused: []int{503}, timeout: 900 * time.Millisecond, calls: 1, code: connect.CodeUnavailable},
		"never again":              {refused: []int{503}, bare: true, calls: 1, cfg: client.Config{Attempts: 1}, code: connect.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s, cl := started(t, c.cfg)
			s.close(c.bare, c.refused...)
			ctx := t.Context()
			if c.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, c.timeout)
				defer cancel()
			}
			began := time.Now()
			_, err := cl.Session(&servingv1.Viewer{ProfileId: "p"}).Recommend(ctx, nil)
			if took := time.Since(began); took < c.least {
				t.Errorf("it came back after %s, asked to stay away for %s", took, c.least)
			}
			if c.code == 0 && err != nil || c.code != 0 && connect.CodeOf(err) != c.code {
				t.Errorf("got %v, want %s", err, c.code)
			}
			if got := len(s.seen()); got != c.calls {
				t.Errorf("%d calls, want %d", got, c.calls)
			}
		})
	}
}

// TestARepeatedEventIsTheSame: a call made again has the event_id of the first.
func TestARepeatedEventIsTheSame(t *testing.T) {
	s, c := started(t, client.Config{Attempts: 1})
	viewer := c.Session(&servingv1.Viewer{ProfileId: "p", Country: "NO"})
	e := &ingestv1.WatchEvent{Type: ingestv1.EventType_EVENT_TYPE_LIKE, TitleId: "film-1"}
	s.close(true, http.StatusServiceUnavailable)
	if err := viewer.Record(t.Context(), e); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Fatalf("got %v", err)
	}
	id, at := e.EventId, e.OccurredAt
	if err := viewer.Record(t.Context(), e); err != nil || e.EventId != id || id == "" || e.OccurredAt != at {
		t.Errorf("%v: event %s at %d, at first %s at %d", err, e.EventId, e.OccurredAt, id, at)
	}
	if e.Country != "NO" || e.SessionId == "" || e.ProfileId != "p" {
		t.Errorf("it was filled to %v", e)
	}
	if err := viewer.Record(t.Context(), &ingestv1.WatchEvent{ProfileId: "other"}); err == nil {
		t.Error("another profile's event was recorded")
	}
}

func TestPlacesThatAnAnswerDoesNotHave(t *testing.T) {
	_, c := started(t, client.Config{})
	viewer := c.Session(&servingv1.Viewer{ProfileId: "p"})
	list, err := viewer.Recommend(t.Context(), &servingv1.RecommendRequest{Count: 3})
	if err != nil {
		t.Fatal(err)
	}
	page, err := viewer.HomePage(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := list.Seen(1, 4); err == nil {
		t.Error("more were seen than answered")
	}
	if _, err := list.Led(3, ingestv1.EventType_EVENT_TYPE_CLICK); err == nil {
		t.Error("a click led from nowhere")
	}
	if _, err := page.Seen(len(page.Rows), 0, 1); err == nil {
		t.Error("a row was seen that is not there")
	}
	e, err := page.Seen(0, 1, 3)
	if err != nil || len(e.SeenTitleIds) != 2 || e.SeenTitleIds[0] != page.Rows[0].Titles[1].TitleId || e.RequestId != page.RequestId {
		t.Errorf("%v: %v", err, e)
	}
}

func TestConfigsThatCannotBeRight(t *testing.T) {
	for _, cfg := range []client.Config{{}, {Address: "localhost:8080"}, {Address: "ftp://x"}, {Address: "http://x", Attempts: -1}} {
		if _, err := client.New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}
