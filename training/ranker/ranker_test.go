package ranker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"marquee/eval/metric"
	"marquee/eval/metric/judge"
	"marquee/internal/ort"
	"marquee/internal/sparse"
	"marquee/training/model/ranking"
)

const (
	profiles = 400
	titles   = 120
	seen     = 10
	played   = 12
)

// episode is a world in which a title is played for two reasons, of which each of two sources sees one.
func episode(t testing.TB, seed uint64) Episode {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	a, b := make([]float32, profiles*titles), make([]float32, profiles*titles)
	m := &sparse.CSR{Rows: profiles, Cols: titles, Indptr: []int64{0}}
	e := Episode{Moment: &Moment{Seen: m, Now: 1e15}}
	popularity := make([]float32, titles)
	for p := range profiles {
		type liked struct {
			title uint32
			score float64
		}
		var order []liked
		history := rng.Perm(titles)[:seen]
		slices.Sort(history)
		for _, h := range history {
			m.Indices, m.Values = append(m.Indices, uint32(h)), append(m.Values, 1)
			popularity[h]++
		}
		m.Indptr = append(m.Indptr, int64(len(m.Indices)))
		for i := range titles {
			x, y := rng.NormFloat64(), rng.NormFloat64()
			a[p*titles+i], b[p*titles+i] = float32(x), float32(y)
			if !m.Has(p, uint32(i)) {
				order = append(order, liked{uint32(i), x + y + rng.NormFloat64()/2})
			}
		}
		slices.SortFunc(order, func(x, y liked) int {
			if x.score > y.score {
				return -1
			}
			return 1
		})
		out := Outcome{Profile: uint32(p), ID: fmt.Sprint("p", p)}
		for _, l := range order[:played] {
			out.Played = append(out.Played, l.title)
		}
		slices.Sort(out.Played)
		for _, title := range out.Played { // what the first source likes is watched to the end
			out.Finished = append(out.Finished, float32(1/(1+math.Exp(-2*float64(a[p*titles+int(title)])))))
		}
		e.Outcomes = append(e.Outcomes, out)
	}
	source := func(name string, scores []float32) Source {
		return Source{name, judge.Func(func(user uint32, dst []float32) error {
			copy(dst, scores[int(user)*titles:int(user+1)*titles])
			return nil
		})}
	}
	e.Moment.Sources = []Source{source("first", a), source("second", b)}
	e.Moment.At, e.Moment.Strength = make([]int64, m.NNZ()), m.Values
	var err error
	if e.Moment.Table, err = ranking.NewTable(ranking.Titles{Popularity: popularity, Profiles: profiles}, 2); err != nil {
		t.Fatal(err)
	}
	return e
}

func names() []string { return ranking.Names([]string{"first", "second"}) }

func config() Config {
	c := DefaultConfig()
	c.Candidates, c.Trees.MinLeaf = 30, 20
	return c
}

func examplesOf(t testing.TB, all ...Episode) (out []*Examples) {
	t.Helper()
	for _, e := range all {
		x, err := e.Examples(context.Background(), config())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

func trained(t testing.TB, e ...Episode) (*Model, *Report) {
	t.Helper()
	m, r, err := Train(context.Background(), names(), examplesOf(t, e...), config())
	if err != nil {
		t.Fatal(err)
	}
	return m, r
}

func ndcg(t *testing.T, e Episode, s judge.Scorer) []float64 {
	t.Helper()
	h := &judge.Holdout{Train: e.Moment.Seen}
	for _, o := range e.Outcomes {
		h.Users, h.Relevant = append(h.Users, o.Profile), append(h.Relevant, o.Played)
	}
	r, err := judge.Judge(context.Background(), h, s, judge.Options{Cutoffs: []int{10}, Ties: metric.Worst})
	if err != nil {
		t.Fatal(err)
	}
	return r.PerUser["ndcg@10"]
}

// TestBeatsEverySource is on profiles and plays that the ranker has not seen.
func TestBeatsEverySource(t *testing.T) {
	m, _ := trained(t, episode(t, 1), episode(t, 2))
	fresh := episode(t, 3)
	s, err := m.Scorer(fresh.Moment)
	if err != nil {
		t.Fatal(err)
	}
	hybrid := ndcg(t, fresh, s)
	for _, source := range fresh.Moment.Sources {
		d, err := metric.PairedBootstrap(hybrid, ndcg(t, fresh, source.Scorer), 1000, 0.95, 1)
		if err != nil {
			t.Fatal(err)
		}
		if d.Low <= 0.1 {
			t.Errorf("over %s by %+.3f (%+.3f to %+.3f)", source.Name, d.Mean, d.Low, d.High)
		}
	}
}

func TestReport(t *testing.T) {
	m, r := trained(t, episode(t, 1))
	if r.Profiles < profiles*9/10 || r.Examples < r.Profiles*30 || r.Played < r.Profiles*5 {
		t.Errorf("report %+v", r)
	}
	if r.NDCG < 0.7 || r.CalibrationError > 0.05 {
		t.Errorf("NDCG %g, calibration error %g", r.NDCG, r.CalibrationError)
	}
	// What is played follows both sources and nothing else.
	for _, of := range r.Importance[:4] {
		if !strings.HasPrefix(of.Feature, "first_") && !strings.HasPrefix(of.Feature, "second_") && !strings.HasPrefix(of.Feature, "sources_") {
			t.Errorf("most important of all: %v", r.Importance[:4])
		}
	}
	// The head that says how far a title is watched follows the first source alone.
	row := make([]float32, len(m.Features))
	score := func(name string, v float32) float32 {
		for f := range row {
			row[f] = float32(math.NaN())
		}
		row[slices.Index(m.Features, "first_score")], row[slices.Index(m.Features, "second_score")] = 1, 1
		row[slices.Index(m.Features, name)] = v
		return m.Scores(row)[2]
	}
	if score("first_score", 2.5)-score("first_score", -1) < 0.3 {
		t.Errorf("watched share does not grow with what it hangs on: %g, %g", score("first_score", 2.5), score("first_score", -1))
	}
}

func TestSameModelAgain(t *testing.T) {
	a, _ := trained(t, episode(t, 1))
	b, _ := trained(t, episode(t, 1))
	if d := cmp.Diff(a, b); d != "" {
		t.Error(d)
	}
}

func open(t testing.TB, model []byte) *ort.Session {
	t.Helper()
	s, err := ort.Open(model, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestONNXGivesTheNumbersOfGo(t *testing.T) {
	e := episode(t, 1)
	m, _ := trained(t, e)
	order, outcomes, err := m.ONNX()
	if err != nil {
		t.Fatal(err)
	}
	o, err := newDesk(e.Moment, 50).offer(7)
	if err != nil {
		t.Fatal(err)
	}
	n, w := len(o.titles), len(m.Features)
	for first, model := range map[int][]byte{0: order, 1: outcomes} {
		s := open(t, model)
		var features []string
		if err := json.Unmarshal([]byte(s.Metadata()["features"]), &features); err != nil || !slices.Equal(features, m.Features) {
			t.Errorf("features %v, %v", features, err)
		}
		heads := strings.Split(s.Metadata()["heads"], ",")
		got := make([]float32, n*len(heads))
		if err := s.Run(context.Background(), []ort.Tensor{{Shape: []int64{int64(n), int64(w)}, Floats: o.features}},
			[]ort.Tensor{{Shape: []int64{int64(n), int64(len(heads))}, Floats: got}}); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			want := m.Scores(o.features[i*w : (i+1)*w])
			for h, name := range heads {
				if name != Heads()[first+h] || math.Abs(float64(want[first+h]-got[i*len(heads)+h])) > 1e-5 {
					t.Errorf("candidate %d, %s: %g in the runtime, %g in Go", i, name, got[i*len(heads)+h], want[first+h])
				}
			}
		}
	}
}

// BenchmarkOrder is what a request of 200 candidates waits for, in the runtime and by the trees themselves.
func BenchmarkOrder(b *testing.B) {
	e := episode(b, 1)
	m, _ := trained(b, e)
	order, _, err := m.ONNX()
	if err != nil {
		b.Fatal(err)
	}
	o, err := newDesk(e.Moment, 50).offer(7)
	if err != nil {
		b.Fatal(err)
	}
	const n = 200
	w := len(m.Features)
	var features []float32
	for len(features) < n*w {
		features = append(features, o.features...)
	}
	features = features[:n*w]
	b.Run("runtime", func(b *testing.B) {
		s, got := open(b, order), make([]float32, n)
		for b.Loop() {
			if err := s.Run(context.Background(), []ort.Tensor{{Shape: []int64{n, int64(w)}, Floats: features}}, []ort.Tensor{{Shape: []int64{n, 1}, Floats: got}}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("go", func(b *testing.B) {
		for b.Loop() {
			for i := range n {
				m.Order.Trees.Raw(features[i*w : (i+1)*w])
			}
		}
	})
}

func TestOffers(t *testing.T) {
	e := episode(t, 1)
	inf := float32(math.Inf(-1))
	// A source that knows one title only, and says so as sources do.
	e.Moment.Sources[1].Scorer = judge.Func(func(_ uint32, dst []float32) error {
		for i := range dst {
			dst[i] = inf
		}
		dst[119] = 1
		return nil
	})
	d := newDesk(e.Moment, 20)
	for p := range uint32(profiles) {
		o, err := d.offer(p)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(o.titles) || len(o.titles) < 20 || len(o.titles) > 21 {
			t.Fatalf("profile %d is offered %v", p, o.titles)
		}
		for _, title := range o.titles {
			if e.Moment.Seen.Has(int(p), title) {
				t.Fatalf("profile %d is offered %d, which it has seen", p, title)
			}
		}
		if !slices.Contains(o.titles, 119) && !e.Moment.Seen.Has(int(p), 119) {
			t.Fatalf("profile %d is not offered what the second source knows", p)
		}
		// The best twenty of the first source are all there.
		scores := slices.Clone(d.scores[0])
		for n := 0; n < 20; n++ {
			top := uint32(slices.Index(scores, slices.Max(scores)))
			scores[top] = inf
			if e.Moment.Seen.Has(int(p), top) {
				n--
			} else if !slices.Contains(o.titles, top) {
				t.Fatalf("profile %d is not offered %d, number %d of the first source", p, top, n)
			}
		}
	}
}

func TestCalibrate(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	odds, label := make([]float32, 50_000), make([]float32, 50_000)
	for i := range odds {
		odds[i] = float32(rng.NormFloat64() * 2)
		if rng.Float64() < 1/(1+math.Exp(-(0.5*float64(odds[i])-1))) {
			label[i] = 1
		}
	}
	if c := calibrate(odds, label, nil); math.Abs(float64(c.Slope)-0.5) > 0.02 || math.Abs(float64(c.Intercept)+1) > 0.03 {
		t.Errorf("calibration %+v of odds that are twice too sure", c)
	}
	for i := range label {
		label[i] = 1 - label[i]
	}
	if c := calibrate(odds, label, nil); c != same() {
		t.Errorf("odds that point the wrong way are calibrated to %+v", c)
	}
	if c := calibrate(nil, nil, nil); c != same() {
		t.Errorf("nothing calibrates to %+v", c)
	}
	if e := calibrationError([]float32{.2, .2, .2, .2, .2, 1, 1, 1, 1, 1}, []float32{0, 0, 0, 0, 1, 1, 1, 1, 1, 0}); math.Abs(e-.26) > 1e-6 {
		t.Errorf("calibration error %g", e)
	}
}

func learn(ctx context.Context, names []string, e Episode, c Config) error {
	x, err := e.Examples(ctx, c)
	if err == nil {
		_, _, err = Train(ctx, names, []*Examples{x}, c)
	}
	return err
}

func outcomeID(o Outcome) string { return o.ID }

// TestProfilesAreDrawnByLot: as many as are wanted, the same each time, whoever else there is.
func TestProfilesAreDrawnByLot(t *testing.T) {
	e, c := episode(t, 1), config()
	c.Profiles = 100
	drawn := draw(e.Outcomes, outcomeID, c)
	if len(drawn) != 100 {
		t.Fatalf("%d profiles are drawn", len(drawn))
	}
	there := map[string]bool{}
	for _, o := range drawn {
		there[o.ID] = true
	}
	for _, o := range draw(e.Outcomes[:len(e.Outcomes)/2], outcomeID, Config{Profiles: 40, Trees: c.Trees}) {
		if !there[o.ID] {
			t.Errorf("%s is drawn among half of the profiles and not among all", o.ID)
		}
	}
}

func TestRefuses(t *testing.T) {
	for want, f := range map[string]func(e *Episode, c *Config){
		"no source offers":            func(e *Episode, _ *Config) { e.Moment.Sources = nil },
		"have 3 times":                func(e *Episode, _ *Config) { e.Moment.At = e.Moment.At[:3] },
		"0 lists to learn from":       func(e *Episode, _ *Config) { e.Outcomes = nil },
		"played 12 titles and finish": func(e *Episode, _ *Config) { e.Outcomes[3].Finished = nil },
		"the source is broken": func(e *Episode, _ *Config) {
			e.Moment.Sources[0].Scorer = judge.Func(func(uint32, []float32) error { return errors.New("the source is broken") })
		},
		"profiles must be":   func(_ *Episode, c *Config) { c.Profiles = 0 },
		"candidates must be": func(_ *Episode, c *Config) { c.Candidates = 0 },
		"trees: rounds must": func(_ *Episode, c *Config) { c.Trees.Rounds = 0 },
		"validation must be": func(_ *Episode, c *Config) { c.Validation = 1 },
		"windows must be":    func(_ *Episode, c *Config) { c.Windows = 0 },
		"at must be between": func(_ *Episode, c *Config) { c.At = 0 },
	} {
		e, c := episode(t, 1), config()
		f(&e, &c)
		if err := learn(context.Background(), names(), e, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	e := episode(t, 1)
	if err := learn(context.Background(), names()[:5], e, config()); !errors.Is(err, ErrData) {
		t.Errorf("features without a name: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := learn(ctx, names(), e, config()); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run ends with %v", err)
	}
}
