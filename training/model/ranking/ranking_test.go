package ranking

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// moment is the middle of 2001, in microseconds.
var moment = time.Date(2001, 7, 2, 12, 0, 0, 0, time.UTC).UnixMicro()

const aDay = int64(day)

func five() Titles {
	return Titles{
		Popularity: []float32{9, 4, 4, 1, 0}, Decayed: []float32{1, 4, 0, 1, 0}, Profiles: 9,
		Year: []int{1991, 2001, 0, 1999, 2000}, FirstAt: []int64{moment - 10*aDay, moment - 5*aDay, moment - 7*aDay, moment - aDay, 0},
		Response: []float32{2, 1, 1.5, .5, 1},
		Genres:   [][]uint16{{0}, {0, 1}, nil, {1}, {2}}, GenreCount: 3,
		Factors: []float32{1, 0, 0, 2, 3, 3, -1, 0, 0, 0}, Dim: 2,
	}
}

func rows(t *testing.T, titles Titles, history []Watch, candidates []uint32, scores [][]float32) []map[string]float32 {
	t.Helper()
	table, err := NewTable(titles, len(scores))
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for i := range scores {
		sources = append(sources, string(rune('a'+i)))
	}
	names := Names(sources)
	if len(names) != table.Width() {
		t.Fatalf("%d names of %d features", len(names), table.Width())
	}
	dst := make([]float32, len(candidates)*table.Width())
	if err := table.Rows(dst, moment, history, candidates, scores, &Scratch{}); err != nil {
		t.Fatal(err)
	}
	var out []map[string]float32
	for i := range candidates {
		row := map[string]float32{}
		for f, name := range names {
			row[name] = dst[i*table.Width()+f]
		}
		out = append(out, row)
	}
	return out
}

func TestFeaturesByHand(t *testing.T) {
	none := float32(math.NaN())
	log := func(x float64) float32 { return float32(math.Log(x)) }
	// Title 0 three days ago at full strength, title 1 a day ago at a third of it.
	history := []Watch{{0, 3, moment - 3*aDay}, {1, 1, moment - aDay}}
	got := rows(t, five(), history, []uint32{2, 3, 4}, [][]float32{{.5, .25, none}, {-1, -1, -2}})
	profile := map[string]float32{
		"profile_titles": log(3), "profile_idle": 1, "profile_span": 2, "profile_percentile": (3*.8 + .4) / 4, "profile_age": (3*10.5 + .5) / 4,
	}
	want := []map[string]float32{{
		"title_popularity": log(5. / 10), "title_percentile": .4, "title_decayed": log(1. / 5), "title_trend": log(1. / 5), "title_age": none, "title_response": 1.5, "title_days": 7,
		"match_genres": none, "match_best_genre": none, "match_age": none, "match_percentile": .4 - (3*.8+.4)/4,
		"similar_last": float32(1 / math.Sqrt2), "similar_recent": float32(1 / math.Sqrt2), "similar_mean": float32(1 / math.Sqrt2),
		"a_score": .5, "a_ratio": 1, "a_rank": 0, "b_score": -1, "b_ratio": none, "b_rank": 0, "sources_mean": 0, "sources_best": 0,
	}, {
		"title_popularity": log(2. / 10), "title_percentile": .2, "title_decayed": log(2. / 5), "title_trend": 0, "title_age": 2.5, "title_response": .5, "title_days": 1,
		"match_genres": .25, "match_best_genre": .25, "match_age": 2.5 - (3*10.5+.5)/4, "match_percentile": .2 - (3*.8+.4)/4,
		"similar_last": 0, "similar_recent": 0, "similar_mean": -.5,
		"a_score": .25, "a_ratio": .5, "a_rank": log(2), "b_score": -1, "b_ratio": none, "b_rank": 0, "sources_mean": log(2) / 2, "sources_best": 0,
	}, {
		"title_popularity": log(1. / 10), "title_percentile": 0, "title_decayed": log(1. / 5), "title_trend": 0, "title_age": 1.5, "title_response": 1, "title_days": none,
		"match_genres": 0, "match_best_genre": 0, "match_age": 1.5 - (3*10.5+.5)/4, "match_percentile": -(3*.8 + .4) / 4,
		"similar_last": none, "similar_recent": none, "similar_mean": none,
		"a_score": none, "a_ratio": none, "a_rank": none, "b_score": -2, "b_ratio": none, "b_rank": log(3), "sources_mean": (log(4) + log(3)) / 2, "sources_best": log(3),
	}}
	for i := range want {
		for name, v := range profile {
			want[i][name] = v
		}
	}
	if d := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 2e-3)); d != "" {
		t.Error(d)
	}
}

func TestWhatIsNotKnownIsNaN(t *testing.T) {
	got := rows(t, Titles{Popularity: []float32{1, 2}, Profiles: 3}, nil, []uint32{0, 1}, nil)
	for _, row := range got {
		for name, v := range row {
			known := name == "title_popularity" || name == "title_percentile" || name == "profile_titles"
			if known == math.IsNaN(float64(v)) {
				t.Errorf("%s is %v with nothing but popularity", name, v)
			}
		}
	}
}

// TestOrderDoesNotMatter: histories and candidates come in the order in which some map or index gives them.
func TestOrderDoesNotMatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	titles := Titles{Profiles: 50, GenreCount: 4, Dim: 3}
	for range 60 {
		titles.Popularity = append(titles.Popularity, float32(rng.IntN(50)))
		titles.Decayed = append(titles.Decayed, rng.Float32()*10)
		titles.Year = append(titles.Year, 1950+rng.IntN(50))
		titles.FirstAt = append(titles.FirstAt, moment-rng.Int64N(100*aDay))
		titles.Genres = append(titles.Genres, []uint16{uint16(rng.IntN(4))})
		titles.Factors = append(titles.Factors, rng.Float32()-.5, rng.Float32(), rng.Float32())
	}
	table, err := NewTable(titles, 1)
	if err != nil {
		t.Fatal(err)
	}
	var s Scratch
	for range 200 {
		perm := rng.Perm(60)
		var history []Watch
		for _, r := range perm[:30] {
			// Times that tie, as those of an import do.
			history = append(history, Watch{uint32(r), rng.Float32(), moment - int64(rng.IntN(5))*aDay})
		}
		candidates, scores := []uint32{}, []float32{}
		for _, r := range perm[30:] {
			candidates, scores = append(candidates, uint32(r)), append(scores, float32(rng.IntN(8)))
		}
		first := make([]float32, len(candidates)*table.Width())
		if err := table.Rows(first, moment, history, candidates, [][]float32{scores}, &s); err != nil {
			t.Fatal(err)
		}
		rng.Shuffle(len(history), func(i, j int) { history[i], history[j] = history[j], history[i] })
		slices.Reverse(candidates)
		slices.Reverse(scores)
		again := make([]float32, len(first))
		if err := table.Rows(again, moment, history, candidates, [][]float32{scores}, &s); err != nil {
			t.Fatal(err)
		}
		w := table.Width()
		for i := range candidates {
			a, b := first[i*w:(i+1)*w], again[(len(candidates)-1-i)*w:(len(candidates)-i)*w]
			if d := cmp.Diff(a, b, cmpopts.EquateNaNs()); d != "" {
				t.Fatal(d)
			}
		}
	}
}

// TestOneCallLeavesNothingToTheNext: the memory that calls share is that of another profile's.
func TestOneCallLeavesNothingToTheNext(t *testing.T) {
	table, err := NewTable(five(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var used Scratch
	for _, history := range [][]Watch{{{Row: 0, Strength: 1, At: 5}, {Row: 1, Strength: 1, At: 9}}, nil, {{Row: 2, Strength: 1, At: 5}}} {
		got, want := make([]float32, 2*table.Width()), make([]float32, 2*table.Width())
		if err := errors.Join(table.Rows(got, 10, history, []uint32{3, 4}, nil, &used), table.Rows(want, 10, history, []uint32{3, 4}, nil, &Scratch{})); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Errorf("after %v: feature %d is %v, with memory of its own %v", history, i%table.Width(), got[i], want[i])
			}
		}
	}
}

// TestRanksOfManyAreThoseOfFew: long lists are sorted, short ones compared.
func TestRanksOfManyAreThoseOfFew(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	list := make([]float32, fewCandidates+500)
	for i := range list {
		if list[i] = float32(rng.IntN(200)-100) / 8; rng.IntN(9) == 0 {
			list[i] = nan
		}
	}
	var s Scratch
	best := rank(list, &s)
	for i, x := range list {
		above := int32(0)
		for _, y := range list {
			if y > x {
				above++
			}
		}
		if x == x && s.ranks[i] != above || x > best {
			t.Fatalf("%v stands at %d with a best of %v, %d are above it", x, s.ranks[i], best, above)
		}
	}
}

func TestRefuses(t *testing.T) {
	for want, f := range map[string]func(*Titles){
		"have year":            func(x *Titles) { x.Year = x.Year[:2] },
		"vectors of 3":         func(x *Titles) { x.Dim = 3 },
		"genre 2 of 2":         func(x *Titles) { x.GenreCount = 2 },
		"5 titles have a popu": func(x *Titles) { x.FirstAt = x.FirstAt[:1] },
	} {
		titles := five()
		f(&titles)
		if _, err := NewTable(titles, 0); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	table, err := NewTable(five(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for want, err := range map[string]error{
		"2 candidates of 0 sources":         table.Rows(make([]float32, 2*table.Width()), moment, nil, []uint32{1, 2}, nil, &Scratch{}),
		"3 features for 1 candidates":       table.Rows(make([]float32, 3), moment, nil, []uint32{1}, [][]float32{{1}}, &Scratch{}),
		"source 0 scores 1 of 2 candidates": table.Rows(make([]float32, 2*table.Width()), moment, nil, []uint32{1, 2}, [][]float32{{1}}, &Scratch{}),
	} {
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

// BenchmarkRows is one request: 200 candidates of 6 sources for a history of 100 titles.
func BenchmarkRows(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	const n, dim = 3700, 64
	titles := Titles{Profiles: 6000, GenreCount: 18, Dim: dim}
	for range n {
		titles.Popularity = append(titles.Popularity, float32(rng.IntN(3000)))
		titles.Decayed = append(titles.Decayed, rng.Float32()*10)
		titles.Year = append(titles.Year, 1950+rng.IntN(50))
		titles.FirstAt = append(titles.FirstAt, moment-rng.Int64N(100*aDay))
		titles.Genres = append(titles.Genres, []uint16{uint16(rng.IntN(9)), uint16(9 + rng.IntN(9))})
		for range dim {
			titles.Factors = append(titles.Factors, float32(rng.NormFloat64()))
		}
	}
	table, err := NewTable(titles, 6)
	if err != nil {
		b.Fatal(err)
	}
	var history []Watch
	for range 100 {
		history = append(history, Watch{uint32(rng.IntN(n)), rng.Float32(), moment - rng.Int64N(100*aDay)})
	}
	candidates, scores := make([]uint32, 200), make([][]float32, 6)
	for i := range candidates {
		candidates[i] = uint32(rng.IntN(n))
		for s := range scores {
			scores[s] = append(scores[s], rng.Float32())
		}
	}
	dst, s := make([]float32, 200*table.Width()), Scratch{}
	b.ReportAllocs()
	for b.Loop() {
		if err := table.Rows(dst, moment, history, candidates, scores, &s); err != nil {
			b.Fatal(err)
		}
	}
}
