package nightly

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"marquee/internal/sparse"
	"marquee/training/als"
	"marquee/training/dataset"
	"marquee/training/model"
	"marquee/training/model/content"
	"marquee/training/twotower"
)

// genres are watches of viewers who each like one genre, with the titles' catalogue; one title of each genre nobody watched for good.
func genres(t testing.TB) (*dataset.Interactions, *content.Model) {
	t.Helper()
	rng := rand.New(rand.NewPCG(4, 2))
	var triplets []dataset.Triplet
	var titles []content.Title
	for g := range 3 {
		for i := range 20 {
			titles = append(titles, content.Title{ID: fmt.Sprintf("t:%d-%d", g, i), Genres: []string{fmt.Sprintf("genre%d", g)}, Maturity: -1})
		}
		for p := range 60 {
			for range 8 {
				triplets = append(triplets, dataset.Triplet{
					Profile: fmt.Sprintf("p:%d-%d", g, p), Title: fmt.Sprintf("t:%d-%d", g, rng.IntN(19)), Strength: .2 + rng.Float32(), At: rng.Int64N(90 * microsADay),
				})
			}
		}
		triplets = append(triplets, dataset.Triplet{Profile: "p:nobody", Title: fmt.Sprintf("t:%d-19", g), At: 1})
	}
	x, err := dataset.FromTriplets(triplets)
	if err != nil {
		t.Fatal(err)
	}
	described, err := Describe(titles)
	if err != nil {
		t.Fatal(err)
	}
	return x, described
}

func smallTowers() twotower.Config {
	c := DefaultTowers()
	c.Dim, c.Batch, c.Epochs, c.MaxHistory = 12, 16, 12, 6
	return c
}

// TestReleasedTowersSayWhatTheTrainedOnesDo: the vectors that a release gives through ONNX Runtime are those of the forward pass in Go, of
// viewers known and not, of titles watched and new, pooled by mean and by attention.
func TestReleasedTowersSayWhatTheTrainedOnesDo(t *testing.T) {
	x, described := genres(t)
	for _, pooling := range []string{twotower.PoolMean, twotower.PoolAttention} {
		cfg := smallTowers()
		cfg.Pooling = pooling
		p, err := fitTowers(t.Context(), x, described, cfg, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := releaseOf(t, x, described, cfg, p)
		profiles := []uint32{0, 5, 70, 100, uint32(x.Profiles.Len() - 1)}
		want, err := p.vectorsOf(profiles)
		if err != nil {
			t.Fatal(err)
		}
		var histories [][]model.Watch
		for _, u := range profiles {
			var h []model.Watch
			known := latest(p.data.Histories[u], cfg.MaxHistory)
			for i, title := range known.Titles {
				h = append(h, model.Watch{Row: title, Strength: known.Strength[i], Days: known.Age[i]})
			}
			histories = append(histories, h)
		}
		got, s := make([]float32, len(want)), &model.TowerScratch{}
		if err := b.UserTower(context.Background(), got, s, histories...); err != nil {
			t.Fatal(err)
		}
		same(t, pooling+": viewers", got, want)
		titles := p.model.TitleVectors()
		for row := range uint32(b.Len()) {
			same(t, "a title", b.TowerVector(row), titles[int(row)*cfg.Dim:(int(row)+1)*cfg.Dim])
		}
		var vectors []content.Vector
		terms := &sparse.CSR{Cols: len(described.Table().Terms), Indptr: []int64{0}}
		for row := range uint32(4) {
			v := described.Vector(row * 15)
			vectors = append(vectors, v)
			terms.Indices, terms.Values = append(terms.Indices, v.Terms...), append(terms.Values, v.Weights...)
			terms.Indptr, terms.Rows = append(terms.Indptr, int64(len(terms.Indices))), terms.Rows+1
		}
		fresh := make([]float32, 4*cfg.Dim)
		if want, err = p.model.NewTitleVectors(terms); err != nil {
			t.Fatal(err)
		}
		if err := b.NewTitles(context.Background(), fresh, s, vectors); err != nil {
			t.Fatal(err)
		}
		same(t, pooling+": new titles", fresh, want)
		unwatched(t, b, x, described)
	}
}

// unwatched: a title that nobody watched for good has the vector of a new one, and that is nearest to those of its genre.
func unwatched(t *testing.T, b *model.Bundle, x *dataset.Interactions, described *content.Model) {
	t.Helper()
	row, _ := x.Titles.Row("t:1-19")
	at, _ := described.Row("t:1-19")
	fresh := make([]float32, b.TowerDim())
	if err := b.NewTitles(context.Background(), fresh, &model.TowerScratch{}, []content.Vector{described.Vector(at)}); err != nil {
		t.Fatal(err)
	}
	same(t, "an unwatched title", b.TowerVector(row), fresh)
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Abs(float64(got[i]-want[i])) > 1e-5 {
			t.Fatalf("%s: number %d is %v by the release and %v by the model", what, i, got[i], want[i])
		}
	}
}

// releaseOf is an open release with the towers.
func releaseOf(t *testing.T, x *dataset.Interactions, described *content.Model, cfg twotower.Config, p *pair) *model.Bundle {
	t.Helper()
	towers, err := p.released()
	if err != nil {
		t.Fatal(err)
	}
	r := Recipe{ALS: als.DefaultConfig(), Towers: cfg}
	r.ALS.Dim, r.ALS.Epochs = 4, 2
	dir, _, err := BuildRelease(t.Context(), x, r, ReleaseOptions{
		Staging: t.TempDir(), Snapshot: Snapshot{ID: "s", AsOf: time.UnixMicro(x.AsOf)}, Version: "test", HalfLife: time.Hour, Described: described, Towers: towers,
	})
	if err != nil {
		t.Fatal(err)
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
	return b
}

func TestTheLatestOfAHistoryAreRead(t *testing.T) {
	h := twotower.History{Titles: []uint32{1, 2, 3, 4}, Strength: []float32{.1, .2, .3, .4}, Age: []float32{9, 1, 5, 1}}
	if got := latest(h, 3); !slices.Equal(got.Titles, []uint32{2, 4, 3}) || !slices.Equal(got.Strength, []float32{.2, .4, .3}) || !slices.Equal(got.Age, []float32{1, 1, 5}) {
		t.Errorf("the latest three are %+v", got)
	}
	if got := latest(h, 4); !slices.Equal(got.Titles, h.Titles) {
		t.Errorf("of four the latest four are %+v", got)
	}
}

func TestTowersThatNightsCannotTrainAreRefused(t *testing.T) {
	for want, change := range map[string]func(c *twotower.Config){
		"training.twotower.user_ids must be false": func(c *twotower.Config) { c.UserIDs = true },
		"training.twotower.ordered must be false":  func(c *twotower.Config) { c.Ordered, c.SetShare = true, 0 },
		"training.twotower.dim must be between":    func(c *twotower.Config) { c.Dim = 0 },
	} {
		r := Recipe{ALS: als.DefaultConfig(), Towers: DefaultTowers()}
		change(&r.Towers)
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestAWarmStartTakesFewerEpochs(t *testing.T) {
	warm := &WarmStart{Beginning: Beginning{Warm: true}}
	for _, c := range []struct {
		start                   *WarmStart
		n, every, carried, want int
	}{
		{nil, 8, 2, 100, 8}, {cold("so"), 8, 2, 100, 8}, {warm, 8, 2, 100, 4}, {warm, 15, 5, 95, 3}, {warm, 1, 5, 90, 1}, {warm, 8, 2, 89, 8}, {warm, 8, 2, 0, 8},
	} {
		if got := c.start.epochs(c.n, c.every, c.carried, 100); got != c.want {
			t.Errorf("%+v makes %d epochs, want %d", c, got, c.want)
		}
	}
}

func TestTheTowersGate(t *testing.T) {
	var v TowersVerdict
	worse, better := against(modelALS, -.1, -.2, -.05, .5), against(modelALS, .1, .05, .2, 1.5)
	v.decide(against(modelPopular, .01, -.02, .04, 1.1), &worse)
	if !v.Released {
		t.Errorf("no worse than popularity: %+v", v)
	}
	v.decide(against(modelPopular, -.01, -.02, .04, .9), &better)
	if v.Released || v.Reason != "no towers: NDCG@10 -0.0100 against popularity, 95% interval -0.0200 to +0.0400" {
		t.Errorf("worse than popularity: %+v", v)
	}
}
