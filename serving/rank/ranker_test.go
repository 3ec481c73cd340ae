package rank

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"marquee/serving/retrieve"
	"marquee/serving/view"
	"marquee/training/model"
	"marquee/training/model/modeltest"
	"marquee/training/model/ranking"
)

func orderedBy(t *testing.T, feature string) func(*model.Release) {
	return func(r *model.Release) { r.Ranker = modeltest.Ranker(t, len(r.TitleIDs), feature) }
}

// TestTheRankerDecides: by popularity, whatever the vectors say.
func TestTheRankerDecides(t *testing.T) {
	q := queryOf(t, orderedBy(t, "title_percentile"), watched("p", "b3"))
	got := ranked(t, q, DefaultConfig())
	if !q.Ranked {
		t.Fatal("the ranker was not asked")
	}
	var known []string
	for _, id := range got {
		if id != "new-a" && id != "new-b" {
			known = append(known, id)
		}
	}
	if want := []string{"a0", "b0", "a1", "b1"}; !slices.Equal(known[:4], want) {
		t.Errorf("by popularity: %v, want %v first", known[:6], want)
	}
	// A new title of the favourite genre stands among the best, on the ranker's scale.
	if i := slices.Index(got, "new-b"); i < 0 || i > 30 {
		t.Errorf("new-b at place %d", i)
	}
	if i := slices.Index(got, "new-a"); i < 21 {
		t.Errorf("new-a at place %d", i)
	}
	cfg := DefaultConfig()
	cfg.ColdDiscount = 0
	if i := slices.Index(ranked(t, queryOf(t, orderedBy(t, "title_percentile"), watched("p", "b3")), cfg), "new-b"); i < 40 {
		t.Errorf("new-b at place %d although new titles count nothing", i)
	}
}

func TestWithoutAVectorTheRankerIsNotAsked(t *testing.T) {
	q := queryOf(t, orderedBy(t, "title_percentile"))
	if got := ranked(t, q, DefaultConfig()); q.Ranked || got[0] != "a0" {
		t.Errorf("ranked %t: %v", q.Ranked, got[:3])
	}
}

// TestTheRankerIsToldWhatItWasTrainedOn: its features are those of the release's titles and of the history as of now, as the package that
// training uses computes them.
func TestTheRankerIsToldWhatItWasTrainedOn(t *testing.T) {
	history := []string{"a3", "b7", "a9"}
	q := queryOf(t, orderedBy(t, "title_percentile"), watched("p", "a3"), watched("p", "b7"), watched("p", "a9"))
	var m Memory
	if err := m.describe(q, q.Candidates); err != nil {
		t.Fatal(err)
	}
	b := q.Picture.Bundle
	columns := b.RankingTitles()
	for row := range uint32(b.Len()) {
		title := q.Picture.Title(row)
		genre := uint16(0)
		if title.Genres[0] == "b" {
			genre = 1
		}
		columns.Year, columns.Genres = append(columns.Year, int(title.Year)), append(columns.Genres, []uint16{genre})
	}
	columns.GenreCount = 2
	table, err := ranking.NewTable(columns, 4)
	if err != nil {
		t.Fatal(err)
	}
	var rows []uint32
	for _, c := range q.Candidates {
		if q.Picture.InModel(c.Row) {
			rows = append(rows, c.Row)
		}
	}
	scores := make([][]float32, 4)
	for _, row := range rows {
		popular, decayed := b.Popularity(row)
		near := float32(0) // every title's neighbour is the next
		for _, h := range history {
			if of, _ := b.Row(h); of+1 == row {
				near += .5
			}
		}
		if near == 0 {
			near = float32(math.NaN())
		}
		for i, s := range []float32{b.Score(row, q.Vector), near, popular, decayed} {
			scores[i] = append(scores[i], s)
		}
	}
	var watches []ranking.Watch
	for _, h := range history {
		row, _ := b.Row(h)
		watches = append(watches, ranking.Watch{Row: row, Strength: 1, At: at().UnixMicro() - 100*3_600_000_000})
	}
	want := make([]float32, len(rows)*table.Width())
	if err := table.Rows(want, at().UnixMicro(), watches, rows, scores, &ranking.Scratch{}); err != nil {
		t.Fatal(err)
	}
	names := ranking.Names(model.RankerSources())
	if !slices.Equal(m.rows, rows) || len(m.features) != len(want) {
		t.Fatalf("%d features of %v, want %d of %v", len(m.features), m.rows, len(want), rows)
	}
	known := 0
	for i, v := range want {
		if got := m.features[i]; got != v && (got == got || v == v) {
			t.Errorf("title %s, %s: %v, want %v", b.TitleID(rows[i/len(names)]), names[i%len(names)], got, v)
		}
		if v == v {
			known++
		}
	}
	if known < len(want)*3/4 {
		t.Errorf("%d of %d features are known", known, len(want))
	}
}

func TestOutcomesAreOfTheTitlesAskedAfter(t *testing.T) {
	q := queryOf(t, orderedBy(t, "title_percentile"), watched("p", "b3"))
	ranked(t, q, DefaultConfig())
	var m Memory
	items := slices.Clone(q.Candidates)
	got, err := m.Outcomes(t.Context(), q, items)
	if err != nil || len(got) != 2*len(items) {
		t.Fatalf("%v of %d titles: %v", got, len(items), err)
	}
	for i, c := range items {
		if !q.Picture.InModel(c.Row) {
			if got[2*i] == got[2*i] {
				t.Errorf("%s is foretold %v", q.Picture.ID(c.Row), got[2*i:2*i+2])
			}
			continue
		}
		popular, _ := q.Picture.Bundle.Popularity(c.Row)
		if want := 1 / (1 + math.Exp(-float64(popular-1)/40)); math.Abs(float64(got[2*i])-want) > 1e-5 {
			t.Errorf("%s is foretold %v, want %v", q.Picture.ID(c.Row), got[2*i], want)
		}
	}
}

// TestFillStandsBehind what the ranker was asked of.
func TestFillStandsBehind(t *testing.T) {
	q := queryOf(t, orderedBy(t, "title_percentile"), watched("p", "b3"))
	ranked(t, q, DefaultConfig())
	own := append([]retrieve.Candidate{}, q.Candidates[:5]...)
	q.Reset()
	for _, c := range own {
		q.Add(c)
	}
	for row := range uint32(q.Picture.ModelRows()) {
		q.Add(retrieve.Candidate{Row: row, Source: retrieve.Genre, Subject: view.None})
	}
	Fill(q, len(own), DefaultConfig(), &Sorter{})
	for i, c := range own {
		if q.Candidates[i].Row != c.Row {
			t.Errorf("place %d has %s, want %s", i, q.Picture.ID(q.Candidates[i].Row), q.Picture.ID(c.Row))
		}
	}
	if len(q.Candidates) < 30 || q.Candidates[5].Score < q.Candidates[20].Score {
		t.Errorf("%d titles, scores %v", len(q.Candidates), q.Candidates[5:8])
	}
}

// TestSort: the best first, equals by their rows, what has no score last.
func TestSort(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var s Sorter
	for range 500 {
		candidates := make([]retrieve.Candidate, rng.IntN(60))
		for i, row := range rng.Perm(len(candidates)) {
			candidates[i] = retrieve.Candidate{Row: uint32(row), Score: float32(rng.IntN(9)-4) / 2}
			switch rng.IntN(10) {
			case 0:
				candidates[i].Score = nan
			case 1:
				candidates[i].Score = float32(math.Copysign(0, -1))
			}
		}
		want := slices.Clone(candidates)
		slices.SortFunc(want, func(a, b retrieve.Candidate) int {
			return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Row, b.Row))
		})
		s.Sort(candidates)
		for i := range want {
			if candidates[i].Row != want[i].Row {
				t.Fatalf("place %d: %+v, want %+v", i, candidates[i], want[i])
			}
		}
	}
}
