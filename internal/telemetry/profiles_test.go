package telemetry

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestProfilesAreServedToThisMachine(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	p := NewProfiles(Config{ProfileListen: "127.0.0.1:0"}, log)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	resp, err := http.Get("http://" + p.Address() + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(text), "goroutine profile") {
		t.Errorf("%s: %.80s, %v", resp.Status, text, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	second := NewProfiles(Config{ProfileListen: p.Address()}, log)
	if err := second.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "telemetry.profile_listen") {
		t.Errorf("a port that is taken: %v", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	none := NewProfiles(DefaultConfig(), log)
	if err := none.Start(t.Context()); err != nil || none.Address() != "" || none.Stop(t.Context()) != nil {
		t.Errorf("without an address: %v, at %q", err, none.Address())
	}
}
