package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"marquee/internal/datadir"
	"marquee/internal/testkit"
)

// recommended is Recommend's answer, as plain JSON has it.
type recommended struct {
	Titles   []struct{ TitleID, Name, Source string }
	Degraded []string
	BundleID string
}

func (r recommended) ids() []string {
	var out []string
	for _, t := range r.Titles {
		out = append(out, t.TitleID)
	}
	return out
}

// home is HomePage's answer.
type home struct {
	Rows []struct {
		Kind   string
		Titles []struct{ TitleID string }
	}
}

func (h home) row(kind string) (ids []string, there bool) {
	for _, r := range h.Rows {
		if r.Kind == kind {
			there = true
			for _, t := range r.Titles {
				ids = append(ids, t.TitleID)
			}
		}
	}
	return ids, there
}

// recorded is RecordEvents' answer. Positions are handed on as they came.
type recorded struct {
	Results []struct {
		Index      int
		EventID    string
		Accepted   bool
		Violations []struct{ Field, Message string }
	}
	Positions json.RawMessage
}

// event is a watch event of now in JSON.
func event(profile, title, kind string) string {
	return fmt.Sprintf(`{"eventId":%q,"schemaVersion":1,"profileId":%q,"titleId":%q,"playId":%q,"type":%q,"occurredAt":"%d","watchedMs":"5400000","durationMs":"6000000"}`,
		uuid.Must(uuid.NewV7()), profile, title, uuid.NewString(), kind, time.Now().UnixMicro())
}

func batch(events ...string) string { return `{"events":[` + strings.Join(events, ",") + `]}` }

// askService asks one running service for everything a client does over plain HTTP, and then ends it under load.
func askService(t *testing.T, f *trained) {
	in := f.install(t, "MARQUEE_SERVING_MIN_POSITION_WAIT=4s")
	s := in.serve()
	for _, c := range []struct {
		name string
		test func(*testing.T, *install, *server)
	}{
		{"a title that was played is gone", playedIsGone},
		{"a title that is disliked is gone", dislikedIsGone},
		{"events are judged one by one", eventsOneByOne},
		{"requests that cannot be right", badRequests},
		{"a second service on the folder", secondService},
		{"a port that is taken", portTaken},
		{"an unknown profile and title", unknownIDs},
		{"commands find the service by its folder", commandsBeside},
		{"a service asked by its address", askedByAddress},
		{"what README.md says to type into a shell", readmeCalls},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, in.of(t), s.of(t)) })
	}
	drain(t, in.dir, s)
}

func (i *install) of(t *testing.T) *install { return &install{t, i.dir, i.env, i.begin} }

func (s *server) of(t *testing.T) *server {
	p := *s.process
	p.t = t
	return &server{&p, s.url}
}

func (s *server) recommend(profile, more string) (r recommended) {
	s.t.Helper()
	s.call(http.StatusOK, servingService+"Recommend", fmt.Sprintf(`{"viewer":{"profileId":%q},"count":10%s}`, profile, more), &r)
	return r
}

// record records events, all of which must be accepted.
func (s *server) record(events ...string) (r recorded) {
	s.t.Helper()
	s.call(http.StatusOK, ingestService+"RecordEvents", batch(events...), &r)
	for _, x := range r.Results {
		if !x.Accepted {
			s.t.Errorf("event %d was refused: %+v", x.Index, x.Violations)
		}
	}
	if len(r.Results) != len(events) {
		s.t.Errorf("%d events got %d results", len(events), len(r.Results))
	}
	return r
}

func playedIsGone(t *testing.T, _ *install, s *server) {
	const profile = "mllatest:1"
	before := s.recommend(profile, "")
	if len(before.Titles) != 10 || before.Titles[0].Source != "als" || before.BundleID == "" {
		t.Fatalf("before: %+v", before)
	}
	played := before.Titles[0].TitleID
	r := s.record(event(profile, played, "EVENT_TYPE_PLAY_END"))
	after := s.recommend(profile, `,"minPosition":`+string(r.Positions))
	if slices.Contains(after.ids(), played) || len(after.Degraded) > 0 || len(after.Titles) != 10 {
		t.Errorf("after playing %s: %+v", played, after)
	}
	var page home
	s.call(http.StatusOK, servingService+"HomePage", fmt.Sprintf(`{"viewer":{"profileId":%q},"minPosition":%s}`, profile, r.Positions), &page)
	if picks, there := page.row("top_picks"); !there || slices.Contains(picks, played) {
		t.Errorf("top picks after playing %s: %+v", played, page)
	}
	// What one viewer played is nobody else's.
	if other := s.recommend("mllatest:5", ""); slices.Equal(other.ids(), after.ids()) {
		t.Errorf("two viewers are recommended the same: %v", other.ids())
	}
}

func dislikedIsGone(t *testing.T, _ *install, s *server) {
	const profile = "mllatest:2"
	disliked := s.recommend(profile, "").Titles[0].TitleID
	r := s.record(event(profile, disliked, "EVENT_TYPE_DISLIKE"))
	if after := s.recommend(profile, `,"minPosition":`+string(r.Positions)); slices.Contains(after.ids(), disliked) {
		t.Errorf("%s was disliked: %v", disliked, after.ids())
	}
}

func eventsOneByOne(t *testing.T, _ *install, s *server) {
	good := event("mllatest:3", "mllatest:3", "EVENT_TYPE_CLICK")
	broken := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %s in %s", old, good)
		}
		return strings.Replace(event("mllatest:3", "mllatest:3", "EVENT_TYPE_CLICK"), old, new, 1)
	}
	fields := []string{"", "profile_id", "", "occurred_at", "watched_ms", "schema_version", ""}
	var r recorded
	s.call(http.StatusOK, ingestService+"RecordEvents", batch(
		good,
		broken(`"profileId":"mllatest:3"`, `"profileId":""`),
		event("mllatest:4", "mllatest:3", "EVENT_TYPE_CLICK"),
		broken(`"occurredAt":"`, `"occurredAt":"-`),
		broken(`"watchedMs":"5400000"`, `"watchedMs":"99999999999999"`),
		broken(`"schemaVersion":1`, `"schemaVersion":0`),
		good, // The same once more is the same.
	), &r)
	if len(r.Results) != len(fields) {
		t.Fatalf("%d results for %d events: %+v", len(r.Results), len(fields), r)
	}
	for i, x := range r.Results {
		switch {
		case x.Index != i || x.Accepted != (fields[i] == ""):
			t.Errorf("event %d: %+v", i, x)
		case !x.Accepted && (len(x.Violations) != 1 || x.Violations[0].Field != fields[i] || x.Violations[0].Message == ""):
			t.Errorf("event %d should be refused for its %s: %+v", i, fields[i], x)
		}
	}
	if code, text := s.get("/metrics"); code != http.StatusOK || !strings.Contains(text, `marquee_ingest_rejected_events_total{field="occurred_at"} 1`) {
		t.Errorf("metrics count no event refused for its occurred_at: %d %s", code, text)
	}
}

// badRequests are refused as Connect refuses over HTTP: a code that HTTP has, and an error as JSON.
func badRequests(t *testing.T, _ *install, s *server) {
	for _, c := range []struct {
		method, body string
		status       int
		code         string
	}{
		{ingestService + "RecordEvents", `{"events":[]}`, http.StatusBadRequest, "invalid_argument"},
		{ingestService + "RecordEvents", `{"events":`, http.StatusBadRequest, "invalid_argument"},
		{servingService + "Recommend", `{}`, http.StatusBadRequest, "invalid_argument"},
		{servingService + "Recommend", `{"viewer":{"profileId":"p","country":"Germany"}}`, http.StatusBadRequest, "invalid_argument"},
		{servingService + "Recommend", `{"viewer":{"profileId":"p"},"count":100000}`, http.StatusBadRequest, "invalid_argument"},
		{servingService + "SimilarTitles", `{"titleId":"no:such"}`, http.StatusNotFound, "not_found"},
		{catalogService + "GetTitle", `{"titleId":"no:such"}`, http.StatusNotFound, "not_found"},
		{servingService + "Recommend", `{"viewer":{"profileId":"` + strings.Repeat("p", 17<<20) + `"}}`, http.StatusTooManyRequests, "resource_exhausted"},
	} {
		var refused struct{ Code, Message string }
		s.call(c.status, c.method, c.body, &refused)
		if refused.Code != c.code || refused.Message == "" {
			t.Errorf("%s %.80s: %+v, want %s", c.method, c.body, refused, c.code)
		}
	}
	if code, _ := s.get(servingService + "NoSuchMethod"); code != http.StatusNotFound {
		t.Errorf("a method nobody has: %d", code)
	}
}

func secondService(_ *testing.T, in *install, s *server) {
	in.run("serve").fails(exitFailed, `data folder .* is in use by process `+fmt.Sprint(s.cmd.Process.Pid)+` \(marquee serve\)`, s.url, "--data-dir")
}

func portTaken(t *testing.T, _ *install, s *server) {
	other := newInstall(t, t.TempDir())
	other.env = append(other.env, "MARQUEE_RPC_LISTEN="+strings.TrimPrefix(s.url, "http://"))
	other.run("serve").fails(exitFailed, `listen on `+strings.TrimPrefix(s.url, "http://")+`: another process has that port`, "--listen")
	// The refused service leaves its folder to others.
	if _, held, err := datadir.Peek(other.dir); held || err != nil {
		t.Errorf("the folder is held: %v, %v", held, err)
	}
}

func unknownIDs(t *testing.T, in *install, s *server) {
	r := s.recommend("mllatest:nobody", "")
	if len(r.Titles) != 10 || r.Titles[0].Source != "popular" {
		t.Errorf("a profile nobody knows: %+v", r)
	}
	in.run("similar", "--title", "mllatest:none").fails(exitFailed, `mllatest:none`, "not in the catalogue")
}

func commandsBeside(t *testing.T, in *install, s *server) {
	var r answerJSON
	in.run("recommend", "--profile", "mllatest:7", "--count", "3", "--json").ok().json(&r)
	if len(r.Titles) != 3 || r.Titles[0].Source != "als" {
		t.Errorf("recommend: %+v", r)
	}
	in.run("home", "--profile", "mllatest:7").ok("Top picks for you", "Because you watched Film")
	in.run("models", "list").ok("in use")
	in.run("why", "--profile", "mllatest:7", "--title", r.Titles[0].TitleID).ok("is number 1 of 20", "all others")
	in.run("why", "--profile", "mllatest:7", "--title", "nothing").ok("removed by catalog: unknown_title")
	in.run("why", "--profile", "mllatest:7", "--title", r.Titles[0].TitleID, "--filter", `title.id != "`+r.Titles[0].TitleID+`"`).ok("removed by filter: filter")
	in.run("profiles", "show", "mllatest:7").ok("STRENGTH", "watched")
	in.run("profiles", "show", "somebody").ok("nothing is known of somebody")
	// The service serves at its own time.
	in.run("recommend", "--profile", "mllatest:7", "--as-of", "max-event").fails(exitUsage, "--as-of", s.url)
}

func askedByAddress(t *testing.T, _ *install, s *server) {
	elsewhere := newInstall(t, t.TempDir())
	elsewhere.run("similar", "--title", "mllatest:4", "--server", s.url).ok("Film")
	elsewhere.run("similar", "--title", "mllatest:4", "--server", "http://127.0.0.1:1").fails(exitFailed, "similar to mllatest:4", "127.0.0.1:1")
}

// readmeCalls runs README.md's calls by curl as they stand, but for the address.
func readmeCalls(t *testing.T, _ *install, s *server) {
	if _, err := exec.LookPath("curl"); err != nil {
		testkit.LeftOut(t, "curl is not installed", "Debian: curl")
	}
	calls := regexp.MustCompile(`(?m)^curl [^`+"`"+`]*?(?:\n\n|\n`+"```"+`)`).FindAllString(readText(t, "../../README.md"), -1)
	if len(calls) < 3 {
		t.Fatalf("README.md has only %d calls by curl", len(calls))
	}
	for _, call := range calls {
		call = strings.ReplaceAll(strings.TrimSuffix(strings.TrimSpace(call), "```"), "localhost:8080", strings.TrimPrefix(s.url, "http://"))
		out, err := exec.CommandContext(t.Context(), "bash", "-c", call).CombinedOutput()
		if err != nil {
			t.Errorf("%s\n%v: %s", call, err, out)
			continue
		}
		var answer map[string]json.RawMessage
		if err := json.Unmarshal(out, &answer); err != nil || answer["code"] != nil || strings.Contains(string(out), "violations") {
			t.Errorf("%s\nis answered with %s", call, out)
		}
	}
}

// drain tells the service to end while a request is under way: it is answered, new ones are refused with advice, readiness
// goes before liveness, and the process ends well.
func drain(t *testing.T, dir string, s *server) {
	type answer struct {
		recommended
		code int
		err  error
	}
	// The request waits for an event that never comes, until it gives up waiting and answers without.
	before := s.record(event("mllatest:9", "mllatest:9", "EVENT_TYPE_CLICK"))
	var positions []struct {
		Partition int32
		Offset    string
	}
	if err := json.Unmarshal(before.Positions, &positions); err != nil || len(positions) == 0 {
		t.Fatalf("positions %s: %v", before.Positions, err)
	}
	asked := s.requests("Recommend")
	answered := make(chan answer, 1)
	go func() {
		var a answer
		a.code, a.err = ask(s.url+servingService+"Recommend",
			fmt.Sprintf(`{"viewer":{"profileId":"mllatest:9"},"minPosition":[{"partition":%d,"offset":"999999999"}]}`, positions[0].Partition), &a.recommended)
		answered <- a
	}()
	s.until("the request's arrival", func() bool { return s.requests("Recommend") == asked+1 })
	if code, _ := s.get("/readyz"); code != http.StatusOK {
		t.Errorf("not ready before it was told to end: %d", code)
	}
	s.signal(syscall.SIGTERM)
	s.until("unreadiness", func() bool { code, _ := s.get("/readyz"); return code == http.StatusServiceUnavailable })
	if _, text := s.get("/readyz"); !strings.Contains(text, "stopping") {
		t.Errorf("readiness does not say why not: %q", text)
	}
	if code, _ := s.get("/livez"); code != http.StatusOK {
		t.Errorf("a process that drains is alive, /livez says %d", code)
	}
	var refused struct{ Code string }
	s.call(http.StatusServiceUnavailable, servingService+"Recommend", `{"viewer":{"profileId":"mllatest:1"}}`, &refused)
	if refused.Code != "unavailable" {
		t.Errorf("refused as %q", refused.Code)
	}
	if a := <-answered; a.err != nil || a.code != http.StatusOK || len(a.Titles) == 0 || len(a.Degraded) == 0 {
		t.Errorf("the request that was under way: %+v", a)
	}
	s.wait().ok()
	if _, held, err := datadir.Peek(dir); held || err != nil {
		t.Errorf("the folder is held after the end: %v, %v", held, err)
	}
}

// requests counts the requests that arrived, by the service's own metrics.
func (s *server) requests(rpc string) int {
	s.t.Helper()
	_, text := s.get("/metrics")
	for line := range strings.Lines(text) {
		if n, ok := strings.CutPrefix(line, fmt.Sprintf("marquee_serving_requests_total{rpc=%q} ", rpc)); ok {
			var count int
			if _, err := fmt.Sscan(n, &count); err != nil {
				s.t.Fatal(err)
			}
			return count
		}
	}
	return 0
}
