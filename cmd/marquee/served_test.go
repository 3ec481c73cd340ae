package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// servedRow is a line of the served command.
type servedRow struct {
	RequestID  string            `json:"request_id"`
	Profile    string            `json:"profile_id"`
	Row        int               `json:"row"`
	Rank       int               `json:"rank"`
	Kind       string            `json:"kind"`
	Title      string            `json:"title_id"`
	Propensity float64           `json:"propensity"`
	Policy     string            `json:"policy"`
	Arms       map[string]string `json:"arms"`
	Seen       bool              `json:"seen"`
	Clicked    bool              `json:"clicked"`
	Played     bool              `json:"played"`
}

// TestServed: simulated viewers are answered and say what they saw and clicked; what was served joins it, with its chance; and an
// erasure takes a profile's out.
func TestServed(t *testing.T) {
	t.Parallel()
	in := newInstall(t, filepath.Join(t.TempDir(), "data"))
	s := in.serve("--set", "serving.arrange.exploration=0.3", "--set", `serving.experiments=variety: control 50; varied 50 diversity=0.4`)
	var v visited
	in.run("simulate", "--service", s.url, "--titles", "120", "--viewers", "30", "--sessions", "4", "--json").ok().json(&v)
	read := func(args ...string) []servedRow {
		t.Helper()
		var rows []servedRow
		for line := range strings.Lines(in.run(append([]string{"served"}, args...)...).ok().stdout) {
			var r servedRow
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, r)
		}
		return rows
	}
	var rows []servedRow
	s.until("the answers in the warehouse", func() bool {
		rows = read()
		requests := map[string]bool{}
		clicks := 0
		for _, r := range rows {
			requests[r.RequestID] = true
			if r.Clicked {
				clicks++
			}
		}
		return int64(len(requests)) >= v.Slates && clicks > 0
	})
	arms, drawn := map[string]int{}, 0
	for _, r := range rows {
		if r.Profile == "" || r.Title == "" || !(r.Propensity > 0 && r.Propensity <= 1) || r.Policy != "epsilon_greedy(0.3,200)" {
			t.Fatalf("served %+v", r)
		}
		if arms[r.Arms["variety"]]++; r.Propensity < .1 {
			drawn++
		}
	}
	if arms["control"] == 0 || arms["varied"] == 0 || len(arms) != 2 {
		t.Errorf("arms %v", arms)
	}
	if share := float64(drawn) / float64(len(rows)); share < .2 || share > .4 {
		t.Errorf("%.3f of the titles were drawn by lot, want .3", share)
	}
	one := rows[0].Profile
	if mine := read("--profile", one); len(mine) == 0 || mine[0].Profile != one {
		t.Errorf("served to %s: %v", one, mine)
	}
	in.run("profiles", "export", one).ok(`"what":"served"`)
	in.run("profiles", "erase", one).ok("erased")
	if mine := read("--profile", one); len(mine) != 0 {
		t.Errorf("%d rows of the erased profile", len(mine))
	}
	s.call(http.StatusOK, "/marquee.serving.v1.RecommendationService/Recommend", `{"viewer":{"profileId":"somebody"}}`, nil)
	s.terminate()
	in.run("serve", "--set", "serving.experiments=variety: control 50").fails(exitUsage, "serving.experiments", "has 1 arms")
}
