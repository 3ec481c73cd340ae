package adopt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"marquee/training/foldin"
	"marquee/training/model"
	"marquee/training/model/content"
	"marquee/training/model/modeltest"
	"marquee/training/model/ranking"
	"marquee/training/onnx"
)

const titles = 12

// release is one of twelve titles with towers and a ranker.
func release(t testing.TB, change ...func(*model.Release)) string {
	t.Helper()
	r := model.Release{Manifest: model.Manifest{
		AsOf: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Params: foldin.Params{Alpha: 10, Unobserved: .1, Lambda: .01, Nu: 1},
		Metrics: map[string]map[string]float64{"als": {"ndcg@10": .3}, "towers": {"ndcg@10": .2}, "hybrid": {"ndcg@10": .4}},
	}}
	var known []content.Title
	for i := range titles {
		id := fmt.Sprint("t", i)
		r.TitleIDs, r.Popularity, r.Trending = append(r.TitleIDs, id), append(r.Popularity, 1), append(r.Trending, 1)
		r.Factors = append(r.Factors, 1, float32(i))
		known = append(known, content.Title{ID: id, Genres: []string{fmt.Sprint("g", i%3)}, Maturity: -1})
	}
	modeltest.Towers(t, &r, known)
	r.Ranker = modeltest.Ranker(t, titles, "als_score")
	for _, f := range change {
		f(&r)
	}
	dir, _, err := model.Write(t.Context(), t.TempDir(), r)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// lines are samples as JSON lines.
func lines(t testing.TB, samples ...map[string]any) string {
	t.Helper()
	var out strings.Builder
	for _, s := range samples {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(b, '\n'))
	}
	return out.String()
}

// doubled is a user's tower as modeltest makes them, of vectors that are twice the row's number, and its samples.
func doubled(t testing.TB, dim int) (tower []byte, samples string) {
	t.Helper()
	vectors := make([]float32, titles*dim)
	for i := range vectors {
		vectors[i] = 2 * float32(i/dim)
	}
	vector := func(v float64) []float64 { return slices.Repeat([]float64{v}, dim) }
	return modeltest.UserTower(t, vectors, dim), lines(t, map[string]any{"history": []int{3}, "strength": []float64{1}, "vector": vector(6)},
		map[string]any{"history": []int{1, 11}, "strength": []float64{.5, 1}, "vector": vector(23)})
}

func take(t testing.TB, role string, file []byte, samples, from string) (*model.Bundle, model.Manifest, Report, error) {
	t.Helper()
	dir, m, report, err := Take(t.Context(), Request{Role: role, Model: file, Samples: strings.NewReader(samples), Release: from, Staging: t.TempDir()})
	if err != nil {
		return nil, m, report, err
	}
	b, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Release(); err != nil {
			t.Error(err)
		}
	})
	return b, m, report, nil
}

func dimOf(t testing.TB, dir string) (int, model.Manifest) {
	t.Helper()
	m, err := model.ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m.Towers.Dim, m
}

func TestAUserTowerTakesThePlaceOfTheReleases(t *testing.T) {
	from := release(t)
	dim, before := dimOf(t, from)
	tower, samples := doubled(t, dim)
	b, m, report, err := take(t, model.UserTowerRole, tower, samples, from)
	if err != nil {
		t.Fatal(err)
	}
	if report.Samples != 2 || report.Worst > 1e-6 || m.ID == before.ID || m.From != before.ID || !slices.Equal(m.Imported, []string{model.UserTowerRole}) {
		t.Errorf("report %+v, manifest %s from %s with %v", report, m.ID, m.From, m.Imported)
	}
	if m.Metrics["towers"] != nil || m.Metrics["als"]["ndcg@10"] != .3 || m.Metrics["hybrid"] == nil {
		t.Errorf("metrics %v: those of the towers before do not hold, the others do", m.Metrics)
	}
	got := make([]float32, dim)
	if err := b.UserTower(t.Context(), got, &model.TowerScratch{}, []model.Watch{{Row: 4, Strength: 1}}); err != nil || got[0] != 8 {
		t.Errorf("a viewer's vector is %v (%v)", got, err)
	}
	for name, f := range before.Files {
		if name != model.UserTowerFile && m.Files[name] != f {
			t.Errorf("%s is another than it was", name)
		}
	}
}

func TestATitleTowerMakesAllTitlesVectorsAnew(t *testing.T) {
	from := release(t)
	dim, before := dimOf(t, from)
	terms := make([]float32, before.Terms*dim)
	for i := range terms {
		terms[i] = float32(i%dim) + 1
	}
	want := make([]float64, dim)
	for i := range want {
		want[i] = .5 * float64(i+1)
	}
	sample := map[string]any{"title": -1, "terms": []int{0}, "term_weights": []float64{.5}, "vector": want}
	longer := map[string]any{"title": 3, "terms": []int{0, 1}, "term_weights": []float64{.25, .25}, "vector": want}
	b, m, report, err := take(t, model.TitleTowerRole, modeltest.TitleTower(t, titles, terms, dim), lines(t, sample, longer), from)
	if err != nil {
		t.Fatal(err)
	}
	if report.Samples != 2 || m.Files[model.TitleVectorsFile] == before.Files[model.TitleVectorsFile] || m.Recall["towers"] < .9 {
		t.Errorf("report %+v, recall %v", report, m.Recall)
	}
	// A title of one genre alone has a term of the weight 1.
	if v := b.TowerVector(5); math.Abs(float64(v[0]-1)) > 1e-6 || math.Abs(float64(v[1]-2)) > 1e-6 {
		t.Errorf("a title's vector is %v", v)
	}
}

func TestARankerTakesThePlaceOfTheReleases(t *testing.T) {
	from := release(t)
	names := ranking.Names(model.RankerSources())
	features := make([]any, len(names))
	at := slices.Index(names, "title_percentile")
	features[at] = 1.0
	_, m, _, err := take(t, model.RankerRole, modeltest.Graph(t, names, "title_percentile"), lines(t, map[string]any{"features": features, "scores": 1 / (1 + math.Exp(-1))}), from)
	if err != nil || m.Metrics["hybrid"] != nil || m.Metrics["towers"] == nil {
		t.Errorf("metrics %v, %v", m.Metrics, err)
	}
}

// TestWhatIsWrongWithAModelIsSaid: what, where, and what would be right.
func TestWhatIsWrongWithAModelIsSaid(t *testing.T) {
	from := release(t)
	dim, _ := dimOf(t, from)
	tower, samples := doubled(t, dim)
	narrow, _ := doubled(t, dim+1)
	names := ranking.Names(model.RankerSources())
	for want, c := range map[string]struct {
		role    string
		model   []byte
		samples string
	}{
		fmt.Sprintf(`its output is "vector" of float [any x %d], it must be "vector" of float [any x %d] alone`, dim+1, dim): {model.UserTowerRole, narrow, samples},
		`it has no input "title" of int64 [any]`:                            {model.TitleTowerRole, tower, samples},
		`it has no input "features" of float`:                               {model.RankerRole, tower, samples},
		"unusable ONNX model":                                               {model.UserTowerRole, []byte("torch.save"), samples},
		"line 1: number 0 of \"vector\" is 6, the sample says 7":            {model.UserTowerRole, tower, strings.ReplaceAll(samples, "6", "7")},
		`line 1: it has no "strength"; the model takes and gives "history"`: {model.UserTowerRole, tower, `{"history":[1],"vector":[1]}`},
		`line 1: the model has no "user"`:                                   {model.UserTowerRole, tower, `{"user":1,` + samples[1:]},
		`"history" must hold whole numbers, has 1.5`:                        {model.UserTowerRole, tower, `{"history":[1.5]}`},
		`"history" must be a number or a list`:                              {model.UserTowerRole, tower, `{"history":"t5"}`},
		`"strength" has 2 numbers, a list before it has 1`:                  {model.UserTowerRole, tower, strings.Replace(samples, `"strength":[1]`, `"strength":[1,1]`, 1)},
		"there are no samples":                                              {model.UserTowerRole, tower, "\n"},
		"line 1: it is no object of JSON":                                   {model.UserTowerRole, tower, "history"},
		`"features" must have`:                                              {model.RankerRole, modeltest.Graph(t, names, "als_score"), `{"features":[1],"scores":1}`},
		"beside others number 0 of":                                         {model.UserTowerRole, counting(t, dim), lines(t, map[string]any{"history": []int{1}, "strength": []float64{1}, "vector": slices.Repeat([]float64{1}, dim)}, map[string]any{"history": []int{1, 2}, "strength": []float64{1, 1}, "vector": slices.Repeat([]float64{2}, dim)})},
	} {
		if _, _, _, err := take(t, c.role, c.model, c.samples, from); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

// counting is a user's tower that counts what fills lists up too.
func counting(t testing.TB, dim int) []byte {
	t.Helper()
	g := onnx.NewGraph("counting")
	g.Input("history", onnx.Int64, "batch", "length")
	g.Input("strength", onnx.Float, "batch", "length")
	g.Floats("ones", slices.Repeat([]float32{1}, dim), 1, dim)
	one := g.Op("Exp", nil, g.Op("Mul", nil, "strength", g.Number(0)))
	sum := g.Op("ReduceSum", onnx.Attributes{"keepdims": 1}, one, g.Whole(false, 1))
	g.Node("MatMul", []string{sum, "ones"}, []string{"vector"}, nil)
	g.Output("vector", onnx.Float, "batch", dim)
	b, err := g.Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAReleaseWithoutTheRoleIsSaidToHaveNone, and one that is judged worse is not made.
func TestAReleaseWithoutTheRoleIsSaidToHaveNone(t *testing.T) {
	bare := release(t, func(r *model.Release) { r.Towers, r.Ranker = nil, nil })
	for role, want := range map[string]string{model.UserTowerRole: "training.nightly.towers", model.TitleTowerRole: "has no towers", model.RankerRole: "training.nightly.ranker", "wizard": "there is no role"} {
		if _, _, _, err := take(t, role, nil, "", bare); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %q", role, err, want)
		}
	}
	from := release(t)
	dim, _ := dimOf(t, from)
	tower, samples := doubled(t, dim)
	r := Request{Role: model.UserTowerRole, Model: tower, Samples: strings.NewReader(samples), Release: from, Staging: t.TempDir()}
	r.Judge = func(context.Context, *model.Bundle) (map[string]map[string]float64, error) {
		return nil, errors.New("much worse")
	}
	if _, _, _, err := Take(t.Context(), r); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "much worse") {
		t.Errorf("judged worse: %v", err)
	}
	r.Samples = strings.NewReader(samples)
	r.Judge = func(_ context.Context, b *model.Bundle) (map[string]map[string]float64, error) {
		return map[string]map[string]float64{"towers": {"ndcg@10": float64(b.Len())}}, nil
	}
	if _, m, _, err := Take(t.Context(), r); err != nil || m.Metrics["towers"]["ndcg@10"] != titles {
		t.Errorf("what was measured is not in %v (%v)", m.Metrics, err)
	}
}

func FuzzSamples(f *testing.F) {
	from := release(f)
	dim, _ := dimOf(f, from)
	tower, samples := doubled(f, dim)
	s, err := model.UserTowerSpec(dim).Open(tower)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	f.Add([]byte(samples))
	f.Add([]byte(`{"history":null,"strength":[1e999],"vector":{}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		x, err := readSample(s, line)
		if err == nil && (len(x.in) != 2 || len(x.in[0]) != len(x.in[1]) || len(x.out) != dim) {
			t.Errorf("read %+v of %q", x, line)
		}
	})
}
