package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
	servingv1 "marquee/serving/v1"
)

// answering is a service over HTTP/1.1 and HTTP/2 without TLS, as the measured one is.
func answering(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func answer(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPeakCountsAnswersOverEightConnections(t *testing.T) {
	good := answer(t, &servingv1.RecommendResponse{Titles: []*servingv1.Recommendation{{TitleId: "t"}}, BundleId: "b"})
	var served atomic.Int64
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != "ask" || r.ProtoMajor != 1 {
			t.Errorf("%s of HTTP/%d, %v", body, r.ProtoMajor, err)
		}
		_, _ = w.Write(good)
	})
	k := kind{"/x", func(int64) []byte { return []byte("ask") }, checkRecommend}
	o, err := peak(t.Context(), newCallers(url, oneAtATime), k, 50*time.Millisecond)
	if err != nil || len(o.latencies) == 0 || int64(len(o.latencies)) != served.Load() || o.rate() <= 0 {
		t.Errorf("%d of %d answers at %v/s, %v", len(o.latencies), served.Load(), o.rate(), err)
	}
}

func TestPacedMeasuresFromWhenARequestWasDue(t *testing.T) {
	const stall = 100 * time.Millisecond
	var n atomic.Int64
	url := answering(t, func(_ http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 1 {
			time.Sleep(stall)
		}
	})
	k := kind{"/x", func(int64) []byte { return nil }, func([]byte) error { return nil }}
	o, err := paced(t.Context(), newCallers(url, multiplexed), k, 200, 200*time.Millisecond, 0)
	if err != nil || len(o.latencies) != 40 {
		t.Fatalf("%d answers, %v", len(o.latencies), err)
	}
	if most := slices.Max(o.latencies); most < stall {
		t.Errorf("the slowest took %s, less than the service slept", most)
	}
}

func TestWhatIsShedOrLateIsNoAnswer(t *testing.T) {
	url := answering(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
	k := kind{"/x", func(int64) []byte { return nil }, func([]byte) error { return errors.New("was judged") }}
	o, err := paced(t.Context(), newCallers(url, multiplexed), k, 1000, 50*time.Millisecond, time.Second)
	if err != nil || o.shed == 0 || len(o.latencies) != 0 {
		t.Errorf("%d shed, %d answers, %v", o.shed, len(o.latencies), err)
	}
	slow := answering(t, func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) })
	k.check = func([]byte) error { return nil }
	if o, err = paced(t.Context(), newCallers(slow, multiplexed), k, 100, 50*time.Millisecond, time.Millisecond); err != nil || o.late == 0 || len(o.latencies) != 0 {
		t.Errorf("%d late, %d answers, %v", o.late, len(o.latencies), err)
	}
}

func TestAFailureEndsAPhase(t *testing.T) {
	url := answering(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "broken", http.StatusInternalServerError) })
	k := kind{"/x", func(int64) []byte { return nil }, func([]byte) error { return nil }}
	if _, err := peak(t.Context(), newCallers(url, oneAtATime), k, time.Minute); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("peak: %v", err)
	}
	if _, err := paced(t.Context(), newCallers(url, multiplexed), k, 100, time.Minute, 0); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("paced: %v", err)
	}
}

func TestDegradedAnswersAreRefused(t *testing.T) {
	title := []*servingv1.Recommendation{{TitleId: "t"}}
	for name, m := range map[string]*servingv1.RecommendResponse{
		"empty": {BundleId: "b"}, "no release": {Titles: title}, "degraded": {Titles: title, BundleId: "b", Degraded: []string{"state_stale"}},
	} {
		if checkRecommend(answer(t, m)) == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if err := checkHome(answer(t, &servingv1.HomePageResponse{BundleId: "b", Rows: []*servingv1.Row{{}}})); err == nil {
		t.Error("a page of one row was taken")
	}
	if err := checkHome(answer(t, &servingv1.HomePageResponse{BundleId: "b", Rows: []*servingv1.Row{{}, {}}})); err != nil {
		t.Error(err)
	}
	if checkRecommend([]byte{0xff}) == nil {
		t.Error("what is no message was taken")
	}
}

func TestRequestsAreOfDistinctProfilesAndThreeInTenFiltered(t *testing.T) {
	m, err := newMeasurement(t.Context(), &run{}, &service{address: "http://127.0.0.1:1"}, worldSize{titles: 10, viewers: 200})
	if err != nil {
		t.Fatal(err)
	}
	recommend, _ := m.kinds()
	seen, filtered := map[string]bool{}, 0
	for n := range int64(200) {
		var r servingv1.RecommendRequest
		if err := proto.Unmarshal(recommend.body(n), &r); err != nil {
			t.Fatal(err)
		}
		seen[r.Viewer.ProfileId] = true
		if r.Filter != "" {
			filtered++
		}
	}
	if len(seen) != 200 || filtered != 60 {
		t.Errorf("%d profiles, %d filtered", len(seen), filtered)
	}
}

func TestPlaysAreValidEvents(t *testing.T) {
	e, err := finished("p", "t")
	if err != nil {
		t.Fatal(err)
	}
	if v := watchevent.Validate(e); v != nil || e.Type != ingestv1.EventType_EVENT_TYPE_PLAY_END {
		t.Errorf("%v: %s", e, watchevent.Describe(v))
	}
}

func TestProcessFigures(t *testing.T) {
	if got := statusField("Name:\tx\nVmHWM:\t     100 kB\nVmRSS:\t      50 kB\n", "VmRSS:"); got != 50<<10 {
		t.Errorf("VmRSS %d", got)
	}
	if got := statusField("VmRSS: many", "VmRSS:"); got != 0 {
		t.Errorf("nonsense: %d", got)
	}
	if processorTime(os.Getpid()) < 0 || processorTime(-1) != 0 {
		t.Error("processor time")
	}
}

func TestOptionsAndTable(t *testing.T) {
	o, err := parse([]string{"-overload", "1s"}, func(string) string { return "1" })
	if err != nil || !o.quick || o.length != 5*time.Second || o.overload != time.Second {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := parse([]string{"more"}, func(string) string { return "" }); err == nil {
		t.Error("an argument was taken")
	}
	var out bytes.Buffer
	r := result{figures: figures{RecommendRPS: 100, Overload: &overload{Goodput: 90}}, Large: &figures{}}
	if err := r.table(&out); err != nil || !strings.Contains(out.String(), "Recommend") || !strings.Contains(out.String(), "shed") {
		t.Errorf("%s, %v", out.String(), err)
	}
}

func TestAWorldThatIsReadyIsNotMadeAgain(t *testing.T) {
	dir := t.TempDir()
	r := &run{options: options{binary: "/nonexistent/marquee"}, began: time.Now()}
	if err := r.prepare(context.Background(), dir+"/w", small()); err == nil {
		t.Error("a world was made without a binary")
	}
	if err := os.WriteFile(dir+"/ready", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.prepare(context.Background(), dir, small()); err != nil {
		t.Error(err)
	}
}
