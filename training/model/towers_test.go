package model

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"marquee/internal/native"
	"marquee/internal/ort"
	"marquee/training/model/content"
	"marquee/training/onnx"
)

// plainUser is a user's tower that adds up rows of a table, each times the strength; recency is taken and counts a thousandth.
func plainUser(t testing.TB, table []float32, dim int, recency bool) []byte {
	t.Helper()
	g, rows := onnx.NewGraph("user"), len(table)/dim
	g.Input("history", onnx.Int64, "batch", "length")
	g.Input("strength", onnx.Float, "batch", "length")
	g.Floats("table", append(slices.Clone(table), make([]float32, dim)...), rows+1, dim)
	at := g.Op("Where", nil, g.Op("Less", nil, "history", g.Whole(true, 0)), g.Whole(true, int64(rows)), "history")
	weights := "strength"
	if recency {
		g.Input("recency", onnx.Int64, "batch", "length")
		age := g.Op("Mul", nil, g.Op("Cast", onnx.Attributes{"to": 1}, "recency"), g.Number(1e-3))
		weights = g.Op("Add", nil, weights, age)
	}
	x := g.Op("MatMul", nil, g.Op("Unsqueeze", nil, weights, g.Whole(false, 1)), g.Op("Gather", nil, "table", at))
	g.Node("Squeeze", []string{x, g.Whole(false, 1)}, []string{"vector"}, nil)
	g.Output("vector", onnx.Float, "batch", dim)
	return marshal(t, g)
}

// plainTitle is a title tower that adds a row of a table to rows of one of terms.
func plainTitle(t testing.TB, table, terms []float32, dim int) []byte {
	t.Helper()
	g := onnx.NewGraph("title")
	row := func(name string, table []float32, ids string) string {
		rows := len(table) / dim
		g.Floats(name, append(slices.Clone(table), make([]float32, dim)...), rows+1, dim)
		return g.Op("Gather", nil, name, g.Op("Where", nil, g.Op("Less", nil, ids, g.Whole(true, 0)), g.Whole(true, int64(rows)), ids))
	}
	g.Input("title", onnx.Int64, "batch")
	x := row("titles", table, "title")
	if terms == nil {
		g.Node("Identity", []string{x}, []string{"vector"}, nil)
	} else {
		g.Input("terms", onnx.Int64, "batch", "terms")
		g.Input("term_weights", onnx.Float, "batch", "terms")
		y := g.Op("MatMul", nil, g.Op("Unsqueeze", nil, "term_weights", g.Whole(false, 1)), row("terms_table", terms, "terms"))
		g.Node("Add", []string{x, g.Op("Squeeze", nil, y, g.Whole(false, 1))}, []string{"vector"}, nil)
	}
	g.Output("vector", onnx.Float, "batch", dim)
	return marshal(t, g)
}

func marshal(t testing.TB, g *onnx.Graph) []byte {
	t.Helper()
	b, err := g.Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// towered is a release of five titles with towers of three numbers, which knows two terms.
func towered(t testing.TB) Release {
	t.Helper()
	r := release(5, 8, 3)
	titles := []content.Title{
		{ID: r.TitleIDs[0], Genres: []string{"Drama"}, Maturity: -1}, {ID: r.TitleIDs[1], Genres: []string{"Drama"}, Maturity: -1},
		{ID: r.TitleIDs[2], Genres: []string{"War"}, Maturity: -1}, {ID: "new", Genres: []string{"War"}, Maturity: -1},
	}
	var err error
	if r.Content, err = content.Build(titles, content.DefaultWeights()); err != nil {
		t.Fatal(err)
	}
	table := []float32{1, 0, 0, 0, 1, 0, 0, 0, 1, .5, .5, 0, 0, -1, 0}
	terms := make([]float32, 3*len(r.Content.Table().Terms))
	for i := range terms {
		terms[i] = float32(i%7) / 8
	}
	vectors := slices.Clone(table)
	for row := range 3 {
		v := r.Content.Vector(uint32(row))
		for i, term := range v.Terms {
			for d := range 3 {
				vectors[row*3+d] += v.Weights[i] * terms[int(term)*3+d]
			}
		}
	}
	r.Towers = &Towers{User: plainUser(t, table, 3, true), Title: plainTitle(t, table, terms, 3), Vectors: vectors, Dim: 3, MaxHistory: 4, RecencyBuckets: 6, Probes: table[:6]}
	return r
}

func TestTowersAreReadAndAsked(t *testing.T) {
	r := towered(t)
	dir, m := written(t, r)
	b := opened(t, dir)
	if there, err := b.HasTowers(); !there || err != nil || b.TowerDim() != 3 {
		t.Fatalf("towers %t of %d, %v", there, b.TowerDim(), err)
	}
	if m.Towers.MaxHistory != 4 || m.Towers.RecencyBuckets != 6 || m.Recall["towers"] < .9 {
		t.Errorf("the manifest says %+v, recall %v", m.Towers, m.Recall)
	}
	got, s := make([]float32, 12), &TowerScratch{}
	// The fifth watch of the third is beyond what the tower reads.
	err := b.UserTower(context.Background(), got, s, []Watch{{Row: 0, Strength: 2}, {Row: 3, Strength: 1, Days: 5}}, nil,
		[]Watch{{0, 1, 0}, {0, 1, 0}, {0, 1, 0}, {0, 1, 0}, {1, 9, 0}}, []Watch{{Row: 1, Strength: 1, Days: -1}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float32{2.5015, .5015, 0, 0, 0, 0, 4, 0, 0, 0, 1.005, 0} {
		if math.Abs(float64(got[i]-want)) > 1e-6 {
			t.Fatalf("viewers' vectors are %v; number %d should be %v", got, i, want)
		}
	}
	fresh := make([]float32, 6)
	if err := b.NewTitles(context.Background(), fresh, s, []content.Vector{r.Content.Vector(3), {}}); err != nil {
		t.Fatal(err)
	}
	like := r.Content.Vector(2)
	for d := range 3 {
		// A new title of the same terms as the third is that without its number.
		want := b.TowerVector(2)[d] - []float32{0, 0, 1}[d]
		if math.Abs(float64(fresh[d]-want)) > 1e-6 || fresh[3+d] != 0 || len(like.Terms) == 0 {
			t.Fatalf("new titles' vectors are %v, want %v first and zeros", fresh, want)
		}
	}
	if b.TowerIndex().Len() != 5 {
		t.Errorf("the index has %d titles", b.TowerIndex().Len())
	}
	none := opened(t, firstOf(written(t, release(5, 8, 3))))
	if there, err := none.HasTowers(); there || err != nil || none.TowerDim() != 0 || none.ID() == b.ID() {
		t.Errorf("a release without towers: %t, %v, %s", there, err, none.ID())
	}
}

func TestTowersWithoutARuntime(t *testing.T) {
	missing := errors.Join(ErrNoRuntime, native.ErrMissing)
	b := &Bundle{towers: &towers{missing: missing}, manifest: Manifest{Towers: &TowersInfo{Dim: 2}}}
	if there, err := b.HasTowers(); !there || !errors.Is(err, ErrNoRuntime) {
		t.Errorf("towers %t, %v", there, err)
	}
	if err := b.UserTower(context.Background(), make([]float32, 2), &TowerScratch{}, nil); !errors.Is(err, ErrNoRuntime) {
		t.Errorf("asked all the same: %v", err)
	}
	if err := b.NewTitles(context.Background(), make([]float32, 2), &TowerScratch{}, make([]content.Vector, 1)); !errors.Is(err, ErrNoRuntime) {
		t.Errorf("asked all the same: %v", err)
	}
}

func TestUserTowerRefuses(t *testing.T) {
	b := opened(t, firstOf(written(t, towered(t))))
	for name, h := range map[string][]Watch{"an unknown row": {{Row: 5, Strength: 1}}, "no strength": {{Row: 1}}, "NaN": {{Row: 1, Strength: float32(math.NaN())}}} {
		if err := b.UserTower(context.Background(), make([]float32, 3), &TowerScratch{}, h); !errors.Is(err, ort.ErrShape) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.UserTower(context.Background(), make([]float32, 2), &TowerScratch{}, nil); !errors.Is(err, ort.ErrShape) {
		t.Errorf("no room: %v", err)
	}
}

func TestTowersThatDoNotFitAreRefused(t *testing.T) {
	for want, change := range map[string]func(r *Release){
		"do not fit 5 titles":   func(r *Release) { r.Towers.Vectors = r.Towers.Vectors[3:] },
		"want finite numbers":   func(r *Release) { r.Towers.Vectors[4] = float32(math.NaN()) },
		"max_history":           func(r *Release) { r.Towers.MaxHistory = 0 },
		"towers of 0 and":       func(r *Release) { r.Towers.User = nil },
		"dim must be between 1": func(r *Release) { r.Towers.Dim = 0 },
	} {
		r := towered(t)
		change(&r)
		if _, _, err := Write(context.Background(), t.TempDir(), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	table := make([]float32, 15)
	for want, change := range map[string]func(r *Release){
		`nothing is known to give its input "title" of int64 [any]`:                               func(r *Release) { r.Towers.User = r.Towers.Title },
		`its output is "vector" of float [any x 5], it must be "vector" of float [any x 3] alone`: func(r *Release) { r.Towers.User = plainUser(t, table, 5, false) },
		UserTowerFile:  func(r *Release) { r.Towers.User = []byte("no model") },
		TitleTowerFile: func(r *Release) { r.Towers.Title = r.Towers.Title[:100] },
		// The tables are of other trainings, or of fewer titles or terms than the release has.
		"of the first title's number": func(r *Release) {
			r.Towers.Title = plainTitle(t, table, make([]float32, 3*len(r.Content.Table().Terms)), 3)
		},
		"user_tower.onnx: ask the user's tower":             func(r *Release) { r.Towers.User = plainUser(t, table[:6], 3, false) },
		"title_tower.onnx: ask the title tower: run an ONN": func(r *Release) { r.Towers.Title = plainTitle(t, table, table[:3], 3) },
	} {
		r := towered(t)
		change(&r)
		dir, _ := written(t, r)
		if b, err := Open(dir); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("opened %v: error %v does not say %q", b, err, want)
		}
	}
}

// TestDamagedTowersAreRefused, whichever of their files and whatever is missing.
func TestDamagedTowersAreRefused(t *testing.T) {
	for _, name := range []string{UserTowerFile, TitleTowerFile, TitleVectorsFile, TowersFile} {
		dir, m := written(t, towered(t))
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole[len(whole)/2] ^= 1
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s with a bit turned over: %v", name, err)
		}
		delete(m.Files, name)
		if err := m.validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a manifest without %s: %v", name, err)
		}
	}
}

// BenchmarkUserTower is a viewer's vector, of 200 watched titles among 3,700, by a tower that adds their vectors of 64 numbers up.
func BenchmarkUserTower(b *testing.B) {
	const dim, titles = 64, 3700
	r := release(titles, dim, 1)
	r.Towers = &Towers{User: plainUser(b, r.Factors, dim, false), Title: plainTitle(b, r.Factors, nil, dim), Vectors: r.Factors, Dim: dim, MaxHistory: 200}
	bundle := opened(b, firstOf(written(b, r)))
	var history []Watch
	for i := range uint32(200) {
		history = append(history, Watch{Row: i * 18, Strength: 1})
	}
	for _, viewers := range []int{1, 16} {
		b.Run(fmt.Sprint(viewers), func(b *testing.B) {
			dst, s := make([]float32, viewers*dim), &TowerScratch{}
			b.ReportAllocs()
			for b.Loop() {
				if err := bundle.UserTower(context.Background(), dst, s, slices.Repeat([][]Watch{history}, viewers)...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
