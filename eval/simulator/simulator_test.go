package simulator

import (
	"math"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
)

func config() Config {
	end := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	return Config{Seed: 7, Titles: 300, Viewers: 200, SessionsPerViewer: 12, Start: end.AddDate(0, 0, -28), End: end}
}

func world(t testing.TB, c Config) *World {
	t.Helper()
	w, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestEverythingMadeIsValid(t *testing.T) {
	w := world(t, config())
	for _, title := range w.Titles() {
		if err := protovalidate.Validate(title); err != nil {
			t.Fatalf("title %s: %v", title.GetTitleId(), err)
		}
		if !strings.HasPrefix(title.GetName(), "Simulated: ") {
			t.Fatalf("name %q does not say that it is simulated", title.GetName())
		}
	}
	ids, events := map[string]bool{}, 0
	for v := range w.Viewers() {
		var last int64
		for e := range w.History(v) {
			if err := protovalidate.Validate(e); err != nil {
				t.Fatalf("event %v: %v", e, err)
			}
			if ids[e.GetEventId()] {
				t.Fatalf("event_id %s twice", e.GetEventId())
			}
			ids[e.GetEventId()] = true
			if e.GetOccurredAt() < last {
				t.Fatalf("viewer %d: event at %d after one at %d", v, e.GetOccurredAt(), last)
			}
			last = e.GetOccurredAt()
			events++
		}
	}
	if events < w.Viewers()*10 {
		t.Errorf("%d events for %d viewers", events, w.Viewers())
	}
}

func TestSameSeedSameWorld(t *testing.T) {
	a, b := world(t, config()), world(t, config())
	for i := range a.Titles() {
		if !proto.Equal(a.Titles()[i], b.Titles()[i]) {
			t.Fatalf("title %d differs", i)
		}
	}
	collect := func(w *World) []*ingestv1.WatchEvent {
		var out []*ingestv1.WatchEvent
		for e := range w.History(3) {
			out = append(out, e)
		}
		return out
	}
	x, y := collect(a), collect(b)
	if len(x) == 0 || len(x) != len(y) {
		t.Fatalf("%d and %d events", len(x), len(y))
	}
	for i := range x {
		if !proto.Equal(x[i], y[i]) {
			t.Fatalf("event %d differs", i)
		}
	}
	c := config()
	c.Seed++
	if proto.Equal(a.Titles()[0], world(t, c).Titles()[0]) {
		t.Error("another seed made the same title")
	}
}

// What is watched to the end must say something of the taste, or no model could learn it; and it must not say all.
func TestFinishedPlaysRevealTaste(t *testing.T) {
	w := world(t, config())
	var finished, abandoned, nf, na float64
	for v := range w.Viewers() {
		for e := range w.History(v) {
			if e.GetType() != ingestv1.EventType_EVENT_TYPE_PLAY_END {
				continue
			}
			var title int
			for i := range w.Titles() {
				if TitleID(i) == e.GetTitleId() {
					title = i
				}
			}
			if float64(e.GetWatchedMs()) >= 0.9*float64(e.GetDurationMs()) {
				finished += w.Affinity(v, title)
				nf++
			} else {
				abandoned += w.Affinity(v, title)
				na++
			}
		}
	}
	if nf < 100 || na < 100 {
		t.Fatalf("%v finished and %v abandoned plays", nf, na)
	}
	if gap := finished/nf - abandoned/na; gap < 0.5 || math.IsNaN(gap) {
		t.Errorf("mean affinity of finished plays is %.2f above that of abandoned ones", gap)
	}
}

func TestLovesAndHitRate(t *testing.T) {
	w := world(t, config())
	loves := w.Loves(0, 0.1)
	if len(loves) != 30 {
		t.Fatalf("%d loved titles of 300", len(loves))
	}
	least, most := math.Inf(1), math.Inf(-1)
	for i := range w.Titles() {
		if a := w.Affinity(0, i); loves[TitleID(i)] {
			least = min(least, a)
		} else {
			most = max(most, a)
		}
	}
	if least < most {
		t.Errorf("a loved title has affinity %v, one not loved %v", least, most)
	}
	if got := HitRate(map[string]bool{"a": true}, []string{"a", "b", "c", "a"}); got != 0.5 {
		t.Errorf("HitRate = %v", got)
	}
	if HitRate(loves, nil) != 0 {
		t.Error("an empty list hits")
	}
}

func TestViewerOfProfile(t *testing.T) {
	w := world(t, config())
	if v, err := w.Viewer(ProfileID(42)); err != nil || v != 42 {
		t.Errorf("Viewer = %d, %v", v, err)
	}
	if n, err := w.Title(TitleID(42)); err != nil || n != 42 {
		t.Errorf("Title = %d, %v", n, err)
	}
	for _, id := range []string{"sim:v999999", "ml1m:1", "sim:v-1", ""} {
		if _, err := w.Viewer(id); err == nil {
			t.Errorf("no error for %q", id)
		}
		if _, err := w.Title(id); err == nil {
			t.Errorf("no error for the title %q", id)
		}
	}
}

func TestBadConfig(t *testing.T) {
	for name, mend := range map[string]func(*Config){
		"titles":   func(c *Config) { c.Titles = 3 },
		"viewers":  func(c *Config) { c.Viewers = 0 },
		"sessions": func(c *Config) { c.SessionsPerViewer = math.NaN() },
		"end":      func(c *Config) { c.End = c.Start },
	} {
		c := config()
		mend(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkHistory(b *testing.B) {
	c := config()
	c.Titles, c.Viewers = 2000, 1000
	w := world(b, c)
	events := 0
	for b.Loop() {
		for v := range w.Viewers() {
			for range w.History(v) {
				events++
			}
		}
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}
