package model

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"marquee/internal/native"
	"marquee/internal/sparse"
	"marquee/training/model/ranking"
	"marquee/training/onnx"
)

// graph is a model of features x heads that gives the sigmoid of feature number head.
func graph(t *testing.T, features, heads int) []byte {
	t.Helper()
	weights := make([]float32, features*heads)
	for h := range heads {
		weights[h*heads+h] = 1
	}
	g := onnx.NewGraph("ranker")
	g.Input("features", onnx.Float, "batch", features)
	g.Floats("weights", weights, features, heads)
	g.Node("MatMul", []string{"features", "weights"}, []string{"odds"}, nil)
	g.Node("Sigmoid", []string{"odds"}, []string{"scores"}, nil)
	g.Output("scores", onnx.Float, "batch", heads)
	b, err := g.Marshal(map[string]string{"role": "ranker"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rankedRelease(t *testing.T) Release {
	t.Helper()
	r := release(5, 8, 3)
	width := len(ranking.Names(RankerSources()))
	r.Ranker = &Ranker{
		Order: graph(t, width, 1), Outcomes: graph(t, width, 2), Candidates: 100, FirstAt: []int64{0, 10, 20, 30, 40}, Report: json.RawMessage(`{"ndcg":0.5}`),
		Near: &sparse.CSR{Rows: 5, Cols: 5, Indptr: []int64{0, 2, 2, 3, 3, 3}, Indices: []uint32{2, 4, 0}, Values: []float32{.5, .25, .75}},
	}
	return r
}

func TestRankerIsReadAndAsked(t *testing.T) {
	r := rankedRelease(t)
	dir, m := written(t, r)
	b := opened(t, dir)
	if ranks, err := b.Ranks(); !ranks || err != nil {
		t.Fatalf("ranks %t, %v", ranks, err)
	}
	if m.Ranker.Neighbours != 2 || m.Ranker.Candidates != 100 || !slices.Equal(m.Ranker.Features, ranking.Names(RankerSources())) || string(m.Ranker.Report) == "" {
		t.Errorf("the manifest says %+v", m.Ranker)
	}
	for row := range uint32(5) {
		rows, similarity := b.Near(row)
		wantRows, want := r.Ranker.Near.Row(int(row))
		if !slices.Equal(rows, wantRows) || !slices.Equal(similarity, want) {
			t.Errorf("near %d: %v %v, want %v %v", row, rows, similarity, wantRows, want)
		}
	}
	if !slices.Equal(b.FirstAt(), r.Ranker.FirstAt) {
		t.Errorf("first met at %v", b.FirstAt())
	}
	width := len(m.Ranker.Features)
	features := make([]float32, 3*width)
	features[0], features[width], features[2*width] = -1, 0, 2
	order, outcomes := make([]float32, 3), make([]float32, 6)
	if err := errors.Join(b.Order(context.Background(), order, features), b.Outcomes(context.Background(), outcomes, features)); err != nil {
		t.Fatal(err)
	}
	for i, x := range []float64{-1, 0, 2} {
		want := float32(1 / (1 + math.Exp(-x)))
		if math.Abs(float64(order[i]-want)) > 1e-6 || math.Abs(float64(outcomes[2*i]-want)) > 1e-6 || outcomes[2*i+1] != .5 {
			t.Errorf("candidate %d: %v and %v", i, order[i], outcomes[2*i:2*i+2])
		}
	}
	if err := b.Order(context.Background(), nil, nil); err != nil {
		t.Errorf("no candidates: %v", err)
	}
	none := opened(t, firstOf(written(t, release(5, 8, 3))))
	if rows, _ := none.Near(1); rows != nil || none.FirstAt() != nil {
		t.Error("a release without a ranker has neighbours")
	}
	if ranks, err := none.Ranks(); ranks || err != nil {
		t.Errorf("a release without a ranker: %t, %v", ranks, err)
	}
	if none.ID() == b.ID() {
		t.Error("a ranker is no part of what a release is called")
	}
}

// TestRankerWithoutARuntime: the release opens, and says why it does not rank.
func TestRankerWithoutARuntime(t *testing.T) {
	r := &ranked{missing: errors.Join(ErrNoRuntime, native.ErrMissing)}
	b := &Bundle{ranker: r}
	if ranks, err := b.Ranks(); !ranks || !errors.Is(err, ErrNoRuntime) {
		t.Errorf("ranks %t, %v", ranks, err)
	}
	if err := b.Order(context.Background(), make([]float32, 1), make([]float32, 4)); !errors.Is(err, ErrNoRuntime) {
		t.Errorf("asked all the same: %v", err)
	}
}

func TestRankerThatDoesNotFitIsRefused(t *testing.T) {
	for want, change := range map[string]func(r *Release){
		"do not fit 5 titles":  func(r *Release) { r.Ranker.FirstAt = r.Ranker.FirstAt[1:] },
		"its own neighbour":    func(r *Release) { r.Ranker.Near.Indices[0] = 0 },
		"the ranker's neighbo": func(r *Release) { r.Ranker.Near.Values[0] = float32(math.NaN()) },
		"at most 200 are carried": func(r *Release) {
			n := MaxNeighbours + 2
			big := release(n, 8, 1)
			big.Ranker = r.Ranker
			*r = big
			r.Ranker.FirstAt, r.Ranker.Near = make([]int64, n), &sparse.CSR{Rows: n, Cols: n, Indptr: make([]int64, n+1)}
			for i := range n {
				r.Ranker.Near.Indptr[i+1] = int64(n - 1)
				if i > 0 {
					r.Ranker.Near.Indices, r.Ranker.Near.Values = append(r.Ranker.Near.Indices, uint32(i)), append(r.Ranker.Near.Values, 1)
				}
			}
		},
	} {
		r := rankedRelease(t)
		change(&r)
		if _, _, err := Write(context.Background(), t.TempDir(), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	width := len(ranking.Names(RankerSources()))
	for want, change := range map[string]func(r *Release){
		"want float":     func(r *Release) { r.Ranker.Order = graph(t, width, 2) },
		"it takes":       func(r *Release) { r.Ranker.Outcomes = graph(t, width-1, 2) },
		OutcomesFile:     func(r *Release) { r.Ranker.Outcomes = []byte("no model") },
		RankerFile + ":": func(r *Release) { r.Ranker.Order = r.Ranker.Order[:100] },
	} {
		r := rankedRelease(t)
		change(&r)
		dir, _ := written(t, r)
		if b, err := Open(dir); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("opened %v: error %v does not say %q", b, err, want)
		}
	}
}

func TestDamagedNeighboursAreRefused(t *testing.T) {
	dir, m := written(t, rankedRelease(t))
	whole, err := os.ReadFile(filepath.Join(dir, NeighboursFile))
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		b := &Bundle{manifest: m}
		damaged := slices.Clone(whole)
		damaged[at] ^= 0x55
		if err := os.WriteFile(filepath.Join(dir, NeighboursFile), damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		b.ranker = &ranked{width: 2}
		// Whatever is not noticed here, the checksum does: what matters is that nothing panics and rows stay in range.
		if err := b.loadNeighbours(dir); err == nil {
			for row := range uint32(5) {
				b.Near(row)
			}
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d: %v", at, err)
		}
		if err := b.unmap(); err != nil {
			t.Fatal(err)
		}
	}
}
