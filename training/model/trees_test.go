package model_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"marquee/internal/ort"
	"marquee/training/foldin"
	"marquee/training/model"
	"marquee/training/model/modeltest"
	"marquee/training/model/ranking"
)

// TestARankersTreesSayWhatTheRuntimeSays of candidates that no check at loading has seen, some of whose features are not known.
func TestARankersTreesSayWhatTheRuntimeSays(t *testing.T) {
	names := ranking.Names(model.RankerSources())
	bundle, files := withRanker(t, modeltest.Forest(t, 40))
	if !bundle.RanksByTrees() {
		t.Fatal("the ranker's trees are left to the runtime")
	}
	data, err := os.ReadFile(filepath.Join(files, model.RankerFile))
	if err != nil {
		t.Fatal(err)
	}
	session, err := ort.Open(data, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	}()
	r := rand.New(rand.NewPCG(3, 4))
	const n = 1000
	features, got, want := make([]float32, n*len(names)), make([]float32, n), make([]float32, n)
	for i := range features {
		if features[i] = r.Float32()*10 - 1; r.IntN(10) == 0 {
			features[i] = float32(math.NaN())
		}
	}
	if err := bundle.Order(t.Context(), got, features); err != nil {
		t.Fatal(err)
	}
	in, out := ort.Tensor{Shape: []int64{n, int64(len(names))}, Floats: features}, ort.Tensor{Shape: []int64{n, 1}, Floats: want}
	if err := session.Run(context.Background(), []ort.Tensor{in}, []ort.Tensor{out}); err != nil {
		t.Fatal(err)
	}
	var most float64
	for i := range got {
		most = max(most, math.Abs(float64(got[i]-want[i])))
	}
	if !(most <= 1e-5) {
		t.Errorf("up to %g apart", most)
	}
}

// TestOtherRankersAreTheRuntimes: what is no sum of small trees is asked of ONNX Runtime.
func TestOtherRankersAreTheRuntimes(t *testing.T) {
	if bundle, _ := withRanker(t, modeltest.Ranker(t, 40, "title_days")); bundle.RanksByTrees() {
		t.Error("a ranker without trees is taken for one")
	}
}

func BenchmarkOrder(b *testing.B) {
	names := ranking.Names(model.RankerSources())
	bundle, files := withRanker(b, modeltest.Forest(b, 40))
	data, err := os.ReadFile(filepath.Join(files, model.RankerFile))
	if err != nil {
		b.Fatal(err)
	}
	session, err := ort.Open(data, ort.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := session.Close(); err != nil {
			b.Error(err)
		}
	}()
	const n = 250
	features, scores := make([]float32, n*len(names)), make([]float32, n)
	for i := range features {
		features[i] = rand.Float32() * 8
	}
	b.Run("runtime", func(b *testing.B) {
		for b.Loop() {
			in, out := ort.Tensor{Shape: []int64{n, int64(len(names))}, Floats: features}, ort.Tensor{Shape: []int64{n, 1}, Floats: scores}
			if err := session.Run(context.Background(), []ort.Tensor{in}, []ort.Tensor{out}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("trees", func(b *testing.B) {
		for b.Loop() {
			if err := bundle.Order(context.Background(), scores, features); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// withRanker is an open release of forty titles with a ranker, and the folder of its files.
func withRanker(t testing.TB, ranker *model.Ranker) (*model.Bundle, string) {
	t.Helper()
	const titles, dim = 40, 8
	r := model.Release{
		Manifest: model.Manifest{
			AsOf: time.Unix(1e9, 0).UTC(), Created: time.Unix(1e9, 0).UTC(), Seed: 1, CodeVersion: "test",
			Snapshot: model.Snapshot{Set: "interactions", ID: "s1", FeatureSetHash: "ab12"}, Profiles: 10, Interactions: 100,
			Params: foldin.Params{Alpha: 1, Unobserved: .3, Lambda: .005, Nu: 1},
		},
		Popularity: make([]float32, titles), Trending: make([]float32, titles), Factors: make([]float32, titles*dim), Ranker: ranker,
	}
	for i := range titles {
		r.TitleIDs = append(r.TitleIDs, fmt.Sprintf("t:%02d", i))
	}
	for i := range r.Factors {
		r.Factors[i] = rand.Float32()
	}
	files, _, err := model.Write(t.Context(), t.TempDir(), r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := model.Open(files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Release(); err != nil {
			t.Error(err)
		}
	})
	return b, files
}
