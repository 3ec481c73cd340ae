package quality_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"marquee/features/quality"
	"marquee/features/warehouse"
	"marquee/features/warehouse/clustertest"
	"marquee/internal/native"
	"marquee/internal/testkit"
)

// TestMain lets the test binary be the embedded warehouse's child, as main does.
func TestMain(m *testing.M) {
	if warehouse.IsChild() {
		os.Exit(warehouse.ChildMain())
	}
	os.Exit(m.Run())
}

// asOf is a Sunday night: the judged day is a Sunday, the day before a Saturday.
var asOf = time.Date(2026, 11, 22, 23, 59, 59, 999_999_000, time.UTC)

func openWarehouse(t testing.TB) driver.Conn {
	t.Helper()
	if _, err := native.LibraryPath(native.ChDB); err != nil {
		testkit.LeftOut(t, "the embedded warehouse", err.Error())
	}
	w, err := warehouse.Open(t.Context(), warehouse.DefaultConfig(), t.TempDir(), testkit.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec(t, w.Conn(), "INSERT INTO titles_raw (title_id, revision, deleted) SELECT 't:' || toString(number), 1, number = 7 FROM numbers(50)")
	return w.Conn()
}

func exec(t testing.TB, conn driver.Conn, sql string) {
	t.Helper()
	if err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// event is a row of the made-up platform.
type event struct {
	id                                                                                  uuid.UUID
	profile, title, playable, play, typ, session, device, country, surf, query, request string
	at                                                                                  time.Time
	watched, duration                                                                   int64
	seen                                                                                []string
}

// platform is a made-up platform: its days, each with its events.
type platform struct {
	rng    *rand.Rand
	days   int
	events []event
}

// day is how many days before the judged one an event is.
func (e *event) day() int { return int(asOf.Sub(e.at) / (24 * time.Hour)) }

// live makes a platform of the given age. Weekends have twice the events of other days; every day varies by a tenth.
func live(seed uint64, days, perDay int) *platform {
	p := &platform{rng: rand.New(rand.NewPCG(seed, 7)), days: days}
	for day := range days {
		at := asOf.AddDate(0, 0, -day)
		n := float64(perDay) * (1 + 0.1*p.rng.NormFloat64())
		if w := at.Weekday(); w == time.Saturday || w == time.Sunday {
			n *= 2
		}
		for range int(n) {
			p.events = append(p.events, p.event(at))
		}
	}
	return p
}

var types = []string{"play_start", "progress", "progress", "progress", "play_end", "play_end", "click", "click", "slate_seen", "search", "search", "slate_seen", "like"}

func (p *platform) event(until time.Time) event {
	rng := p.rng
	var id uuid.UUID
	for i := range id {
		id[i] = byte(rng.Uint32())
	}
	e := event{
		id: id, profile: fmt.Sprintf("p:%d", rng.IntN(200)), typ: types[rng.IntN(len(types))], session: fmt.Sprint(rng.IntN(1000)),
		device: []string{"tv", "phone", "unspecified"}[rng.IntN(3)], country: "DE", surf: "home", request: fmt.Sprint(rng.IntN(1 << 30)),
		at: until.Add(-time.Duration(rng.Int64N(int64(24*time.Hour - time.Second)))).Truncate(time.Microsecond),
	}
	switch e.typ {
	case "search":
		e.query = "a film"
	case "slate_seen":
		e.seen = []string{"t:1", "t:2"}
	case "click", "like":
		e.title = fmt.Sprintf("t:%d", rng.IntN(50))
	default:
		e.title = fmt.Sprintf("t:%d", rng.IntN(50))
		e.playable, e.play, e.duration, e.watched = e.title, fmt.Sprint(rng.Uint64()), 6_000_000, 1+rng.Int64N(6_000_000)
	}
	return e
}

// judged changes the events of the judged day.
func (p *platform) judged(change func(e *event)) { p.on(0, change) }

func (p *platform) on(day int, change func(e *event)) {
	for i := range p.events {
		if p.events[i].day() == day {
			change(&p.events[i])
		}
	}
}

// keep leaves a share of a day's events.
func (p *platform) keep(day int, share float64) {
	p.events = slices.DeleteFunc(p.events, func(e event) bool { return e.day() == day && p.rng.Float64() >= share })
}

// repeat adds, to the judged day, copies of a share of its events under new ids.
func (p *platform) repeat(share float64) {
	for _, e := range slices.Clone(p.events) {
		if e.day() == 0 && p.rng.Float64() < share {
			e.id[0]++
			e.id[5]++
			p.events = append(p.events, e)
		}
	}
}

// store puts the platform's events into the warehouse in place of what it holds.
func (p *platform) store(t testing.TB, conn driver.Conn) {
	t.Helper()
	exec(t, conn, "TRUNCATE TABLE events_raw")
	insert(t, conn, p.events)
}

// storeJudged puts the events of the judged day in place of those there: they are received later than all others, in a partition
// of their own.
func (p *platform) storeJudged(t testing.TB, conn driver.Conn) {
	t.Helper()
	exec(t, conn, "ALTER TABLE events_raw DROP PARTITION '"+asOf.Add(judgedLate).Format("200601")+"'")
	insert(t, conn, slices.DeleteFunc(slices.Clone(p.events), func(e event) bool { return e.day() != 0 }))
}

// judgedLate is how long after they happened the events of the judged day are received.
const judgedLate = 60 * 24 * time.Hour

func insert(t testing.TB, conn driver.Conn, events []event) {
	t.Helper()
	b, err := conn.PrepareBatch(t.Context(), `INSERT INTO events_raw (event_id, schema_version, profile_id, title_id, playable_id, play_id, type,
		occurred_at, received_at, session_id, device_class, country, surface, watched_ms, duration_ms, query, request_id, seen_title_ids, kafka_offset)`)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		if e.seen == nil {
			e.seen = []string{}
		}
		late := time.Second
		if e.day() == 0 {
			late = judgedLate
		}
		if err := b.Append(e.id, uint16(1), e.profile, e.title, e.playable, e.play, e.typ, e.at, e.at.Add(late), e.session, e.device,
			e.country, e.surf, e.watched, e.duration, e.query, e.request, e.seen, int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Send(); err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, conn driver.Conn, at time.Time) *quality.Report {
	t.Helper()
	r, err := quality.Run(t.Context(), conn, quality.DefaultConfig(), at)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func failed(r *quality.Report) []string {
	var names []string
	for _, c := range r.Failed() {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names
}

// TestEachCheckFails breaks one thing of the judged day at a time, in a real warehouse.
func TestEachCheckFails(t *testing.T) {
	conn := openWarehouse(t)
	clear := func(field func(e *event) *string, share float64) func(p *platform) {
		return func(p *platform) {
			p.judged(func(e *event) {
				if p.rng.Float64() < share {
					*field(e) = ""
				}
			})
		}
	}
	become := func(from, to string) func(p *platform) {
		return func(p *platform) {
			p.judged(func(e *event) {
				if e.typ == from {
					e.typ = to
				}
			})
		}
	}
	live(3, 24, 700).store(t, conn)
	for name, c := range map[string]struct {
		broken func(p *platform)
		want   []string
	}{
		"nothing":              {func(*platform) {}, nil},
		"most events are lost": {func(p *platform) { p.keep(0, 0.3) }, []string{"volume"}},
		"all events are lost":  {func(p *platform) { p.keep(0, 0) }, []string{"volume"}},
		"a flood": {func(p *platform) {
			for range 5000 {
				p.events = append(p.events, p.event(asOf))
			}
		}, []string{"volume"}},
		"a third fewer": {func(p *platform) { p.keep(0, 0.67) }, nil},
		"titles nobody knows": {func(p *platform) {
			p.judged(func(e *event) {
				if e.title != "" && p.rng.Float64() < 0.2 {
					e.title = "x:1"
				}
			})
		}, []string{"unknown_titles"}},
		"sent again, new ids": {func(p *platform) { p.repeat(0.1) }, []string{"duplicates"}},
		"no title": {func(p *platform) {
			p.judged(func(e *event) {
				if p.rng.Float64() < 0.3 {
					e.title = ""
				}
			})
		}, []string{"null:title_id"}},
		"no playable":           {clear(func(e *event) *string { return &e.playable }, 0.3), []string{"null:playable_id"}},
		"no play":               {clear(func(e *event) *string { return &e.play }, 0.3), []string{"null:play_id"}},
		"no length":             {func(p *platform) { p.judged(func(e *event) { e.duration = 0 }) }, []string{"null:duration_ms"}},
		"nothing watched":       {func(p *platform) { p.judged(func(e *event) { e.watched = 0 }) }, []string{"null:watched_ms"}},
		"no search text":        {clear(func(e *event) *string { return &e.query }, 0.5), []string{"null:query"}},
		"empty slates":          {func(p *platform) { p.judged(func(e *event) { e.seen = nil }) }, []string{"null:seen_title_ids"}},
		"no session":            {clear(func(e *event) *string { return &e.session }, 0.3), []string{"null:session_id"}},
		"no country":            {clear(func(e *event) *string { return &e.country }, 0.3), []string{"null:country"}},
		"no surface":            {clear(func(e *event) *string { return &e.surf }, 0.3), []string{"null:surface"}},
		"no request":            {clear(func(e *event) *string { return &e.request }, 0.3), []string{"null:request_id"}},
		"no device":             {func(p *platform) { p.judged(func(e *event) { e.device = "unspecified" }) }, []string{"null:device_class"}},
		"likes become dislikes": {become("like", "dislike"), []string{"type:dislike", "type:like"}},
		"no heartbeats": {func(p *platform) {
			p.events = slices.DeleteFunc(p.events, func(e event) bool { return e.day() == 0 && e.typ == "progress" && p.rng.Float64() < 0.95 })
		}, []string{"type:progress"}},
		// One that is withdrawn is not unknown.
		"a withdrawn title": {func(p *platform) {
			p.judged(func(e *event) {
				if e.title != "" {
					e.title = "t:7"
				}
			})
		}, nil},
		"twenty more percent": {func(p *platform) {
			for range 280 {
				p.events = append(p.events, p.event(asOf))
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := live(3, 24, 700)
			c.broken(p)
			p.storeJudged(t, conn)
			r := run(t, conn, asOf)
			if got := failed(r); !slices.Equal(got, c.want) || r.Passed != (len(c.want) == 0) {
				t.Errorf("failed %v, want %v", got, c.want)
				for _, c := range r.Checks {
					t.Log(c.Status, c)
				}
			}
		})
	}
}

// TestAClusterMeasuresTheSame runs the checks on one server and over Distributed tables.
func TestAClusterMeasuresTheSame(t *testing.T) {
	p := live(3, 12, 120)
	p.judged(func(e *event) { e.country = "" })
	p.repeat(0.2)
	spread := clustertest.Open(t, t.TempDir()).Conn()
	exec(t, spread, "INSERT INTO titles_raw (title_id, revision, deleted) SELECT 't:' || toString(number), 1, number = 7 FROM numbers(50)")
	var reports []*quality.Report
	for _, conn := range []driver.Conn{openWarehouse(t), spread} {
		insert(t, conn, p.events)
		reports = append(reports, run(t, conn, asOf))
	}
	if !reflect.DeepEqual(reports[0], reports[1]) || len(failed(reports[0])) == 0 {
		t.Errorf("one server: %+v\na cluster: %+v", reports[0], reports[1])
	}
}

// TestHistory: what cannot be compared is not, and says so; what needs no history is judged without.
func TestHistory(t *testing.T) {
	conn := openWarehouse(t)
	for name, c := range map[string]struct {
		days    int
		perDay  int
		at      time.Time
		broken  func(p *platform)
		note    string
		volume  quality.Status
		want    []string
		history int
	}{
		"no event":            {days: 0, at: asOf, note: "there is no event up to this instant", volume: quality.NotCompared},
		"before the first":    {days: 3, perDay: 500, at: asOf.AddDate(0, 0, -9), note: "there is no event up to this instant", volume: quality.NotCompared},
		"the first day":       {days: 1, perDay: 500, at: asOf, note: "first run: there is no earlier day with events to compare with", volume: quality.NotCompared},
		"two earlier days":    {days: 4, perDay: 500, at: asOf, volume: quality.NotCompared, history: 2},
		"three earlier days":  {days: 5, perDay: 500, at: asOf, volume: quality.Passed, history: 3},
		"long after":          {days: 10, perDay: 500, at: asOf.AddDate(1, 0, 0), note: "first run: there is no earlier day with events to compare with", volume: quality.NotCompared, history: 35},
		"events have stopped": {days: 10, perDay: 500, at: asOf.AddDate(0, 0, 9), volume: quality.Failed, want: []string{"volume"}, history: 17},
		"unknown from the start": {days: 1, perDay: 900, at: asOf, volume: quality.NotCompared, want: []string{"unknown_titles"},
			note: "first run: there is no earlier day with events to compare with",
			broken: func(p *platform) {
				p.judged(func(e *event) {
					if e.title != "" {
						e.title = "x:" + e.title
					}
				})
			}},
	} {
		t.Run(name, func(t *testing.T) {
			p := live(5, c.days, c.perDay)
			if c.broken != nil {
				c.broken(p)
			}
			p.store(t, conn)
			r := run(t, conn, c.at)
			if got := failed(r); !slices.Equal(got, c.want) {
				t.Errorf("failed %v, want %v", r.Failed(), c.want)
			}
			if r.Note != c.note || r.HistoryDays != c.history || r.Checks[0].Status != c.volume {
				t.Errorf("note %q, %d days, volume %v; want %q, %d, %s", r.Note, r.HistoryDays, r.Checks[0], c.note, c.history, c.volume)
			}
		})
	}
}

// TestAnEmptyCatalogue: events alone can be imported and trained on.
func TestAnEmptyCatalogue(t *testing.T) {
	conn := openWarehouse(t)
	exec(t, conn, "TRUNCATE TABLE titles_raw")
	live(5, 10, 500).store(t, conn)
	r := run(t, conn, asOf)
	i := slices.IndexFunc(r.Checks, func(c quality.Check) bool { return c.Name == "unknown_titles" })
	if c := r.Checks[i]; !r.Passed || c.Status != quality.NotCompared || c.Note != "the catalogue is empty" || c.Measured != 1 {
		t.Errorf("%+v", c)
	}
}

// TestTheReport: measured, usual and allowed are what the events say, and names are those that can be accepted.
func TestTheReport(t *testing.T) {
	conn := openWarehouse(t)
	p := live(3, 24, 700)
	p.keep(0, 0.1)
	p.store(t, conn)
	r := run(t, conn, asOf)
	perDay := map[int]int{}
	for _, e := range p.events {
		perDay[e.day()]++
	}
	c := r.Checks[0]
	// Three weeks of history: the weekday's median and the days' departures.
	if c.Measured != float64(perDay[0]) || math.Abs(c.Usual-float64(perDay[7]+perDay[14])/2) > 0.3*c.Usual || c.Days[5].Events != uint64(perDay[5]) {
		t.Errorf("%+v; day 0 has %d events, a week before %d", c, perDay[0], perDay[7])
	}
	if c.Low >= c.Usual || c.High < 2*c.Usual || math.IsNaN(c.Low+c.High) {
		t.Errorf("allowed %g to %g, usual %g", c.Low, c.High, c.Usual)
	}
	var names []string
	for _, c := range r.Checks {
		names = append(names, c.Name)
	}
	if !slices.Equal(names, quality.Names()) {
		t.Errorf("checks %v, names %v", names, quality.Names())
	}
}

// TestTheEngineStops: what cannot be counted is an error, not a pass.
func TestTheEngineStops(t *testing.T) {
	conn := openWarehouse(t)
	exec(t, conn, "DROP TABLE titles_raw")
	if r, err := quality.Run(t.Context(), conn, quality.DefaultConfig(), asOf); err == nil {
		t.Errorf("without a catalogue: %+v", r)
	}
}

// TestMetrics: each check shows what it measured; what was not compared shows no bounds.
func TestMetrics(t *testing.T) {
	conn := openWarehouse(t)
	p := live(3, 10, 700)
	p.keep(0, 0.02)
	p.store(t, conn)
	reg := prometheus.NewPedanticRegistry()
	r, err := quality.NewChecker(conn, quality.DefaultConfig(), reg).Check(t.Context(), asOf)
	if err != nil || r.Passed {
		t.Fatalf("%+v, %v", r, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			series[f.GetName()]++
			if f.GetName() == "marquee_features_quality_failed" && (m.GetGauge().GetValue() == 1) != (m.GetLabel()[0].GetValue() == "volume") {
				t.Errorf("%v", m)
			}
		}
	}
	n := len(quality.Names())
	want := map[string]int{
		"marquee_features_quality_measured": n, "marquee_features_quality_failed": n, "marquee_features_quality_allowed_low": 1,
		"marquee_features_quality_allowed_high": 1, "marquee_features_quality_last_run_timestamp_seconds": 1,
	}
	if !maps.Equal(series, want) {
		t.Errorf("%v, want %v", series, want)
	}
}
