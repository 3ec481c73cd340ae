package knn

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"sync"
	"testing"

	"marquee/internal/sparse"
)

// userScores is user-kNN by its definition: m's similarities between rows of dense, the largest summed up.
func userScores(m *sparse.CSR, cfg Config, user int) []float64 {
	like := dense(m.Transpose(), cfg)[user]
	order := make([]int, m.Rows)
	for v := range order {
		order[v] = v
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case like[a] > like[b]:
			return -1
		case like[a] < like[b]:
			return 1
		}
		return 0
	})
	scores := make([]float64, m.Cols)
	for _, v := range order[:min(cfg.Neighbours, len(order))] {
		cols, vals := m.Row(v)
		for i, c := range cols {
			scores[c] += like[v] * max(float64(vals[i]), 0)
		}
	}
	return scores
}

func TestUsersEqualTheDefinition(t *testing.T) {
	m := random(t, 60, 40, 600, 3)
	for name, cfg := range map[string]Config{
		"cosine":     {Neighbours: 100, Asymmetry: 0.5},
		"few":        {Neighbours: 5, Asymmetry: 0.5},
		"shrunk":     {Neighbours: 10, Asymmetry: 0.5, Shrinkage: 25},
		"asymmetric": {Neighbours: 10, Asymmetry: 0.2},
		"bm25":       {Neighbours: 10, Asymmetry: 0.5, K1: 1.2, B: 0.75},
		"activity":   {Neighbours: 10, Asymmetry: 0.5, Activity: 0.4},
	} {
		t.Run(name, func(t *testing.T) {
			model, err := TrainUsers(m, cfg)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]float32, m.Cols)
			for user := range m.Rows {
				cols, vals := m.Row(user)
				if err := model.Score(user, cols, vals, got); err != nil {
					t.Fatal(err)
				}
				for title, want := range userScores(m, cfg, user) {
					switch {
					case want == 0 && !math.IsInf(float64(got[title]), -1):
						t.Fatalf("user %d, title %d: %g, nobody speaks for it", user, title, got[title])
					case want > 0 && math.Abs(float64(got[title])-want) > 1e-4*(1+want):
						t.Fatalf("user %d, title %d: %g, want %g", user, title, got[title], want)
					}
				}
			}
		})
	}
}

func TestAStrangerIsServedFromHistory(t *testing.T) {
	m, err := sparse.FromTriplets(2, 3, []uint32{0, 0, 1, 1}, []uint32{0, 1, 1, 2}, nil, sparse.Reject)
	if err != nil {
		t.Fatal(err)
	}
	model, err := TrainUsers(m, Config{Neighbours: 1, Asymmetry: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	scores := make([]float32, 3)
	if err := model.Score(Stranger, []uint32{0, 2}, []float32{1, -1}, scores); err != nil {
		t.Fatal(err)
	}
	// User 0 is the only one who watched title 0; what was abandoned makes nobody alike.
	if want := float32(1 / math.Sqrt2); math.Abs(float64(scores[1]-want)) > 1e-6 || !math.IsInf(float64(scores[2]), -1) {
		t.Errorf("scores %v", scores)
	}
	if err := model.Score(Stranger, nil, nil, scores); err != nil || !math.IsInf(float64(scores[0]), -1) {
		t.Errorf("without a history: %v, %v", scores, err)
	}
	for name, err := range map[string]error{
		"outside":  model.Score(Stranger, []uint32{3}, []float32{1}, scores),
		"NaN":      model.Score(Stranger, []uint32{1}, []float32{float32(math.NaN())}, scores),
		"lengths":  model.Score(Stranger, []uint32{1}, nil, scores),
		"too few":  model.Score(Stranger, nil, nil, scores[:1]),
		"settings": second(TrainUsers(m, Config{})),
		"matrix":   second(TrainUsers(nil, DefaultConfig())),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func second(_ *UserModel, err error) error { return err }

// TestScoringIsSafeForConcurrentUse and leaves no trace of one call in the next.
func TestScoringIsSafeForConcurrentUse(t *testing.T) {
	m := random(t, 80, 50, 900, 9)
	model, err := TrainUsers(m, Config{Neighbours: 8, Asymmetry: 0.5, Shrinkage: 1})
	if err != nil {
		t.Fatal(err)
	}
	score := func(user int) []float32 {
		out := make([]float32, m.Cols)
		cols, vals := m.Row(user)
		if err := model.Score(user, cols, vals, out); err != nil {
			t.Error(err)
		}
		return out
	}
	var want [][]float32
	for user := range m.Rows {
		want = append(want, score(user))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for user := range m.Rows {
				if !slices.Equal(score(user), want[user]) {
					t.Errorf("user %d scores otherwise beside others", user)
				}
			}
		})
	}
	wg.Wait()
}

// TestOneUserAndEqualWeights are the smallest data there is, and data in which nothing stands out.
func TestOneUserAndEqualWeights(t *testing.T) {
	one, err := sparse.FromTriplets(1, 3, []uint32{0, 0}, []uint32{0, 2}, []float32{2, 2}, sparse.Reject)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{"cosine": DefaultConfig(), "bm25": {Neighbours: 3, Asymmetry: 0.5, K1: 1.2, B: 0.75}} {
		items, err := TrainItems(t.Context(), one, cfg)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		users, err := TrainUsers(one, cfg)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		scores := make([]float32, 3)
		if err := users.Score(0, []uint32{0, 2}, []float32{2, 2}, scores); err != nil || !math.IsInf(float64(scores[1]), -1) {
			t.Errorf("%s: the only user is its own neighbour: %v, %v", name, scores, err)
		}
		// In BM25 what everybody met says nothing.
		if n := items.Near.RowLen(0); name == "cosine" && (n != 1 || items.Near.Has(0, 1)) {
			t.Errorf("%s: %d neighbours", name, n)
		}
		for _, v := range items.Near.Values {
			if v-v != 0 {
				t.Errorf("%s: similarity %v", name, v)
			}
		}
	}
}

// TestLikeImplicit holds similarities to those of the library implicit: testdata/golden.py.
func TestLikeImplicit(t *testing.T) {
	text, err := os.ReadFile("testdata/implicit.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Users      [][]float32 `json:"users"`
		ItemCosine [][]float64 `json:"item_cosine"`
		ItemBM25   [][]float64 `json:"item_bm25"`
		UserCosine [][]float64 `json:"user_cosine"`
		UserBM25   [][]float64 `json:"user_bm25"`
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	var row, col []uint32
	var val []float32
	for u, titles := range golden.Users {
		for i, v := range titles {
			if v > 0 {
				row, col, val = append(row, uint32(u)), append(col, uint32(i)), append(val, v)
			}
		}
	}
	m, err := sparse.FromTriplets(len(golden.Users), len(golden.Users[0]), row, col, val, sparse.Reject)
	if err != nil {
		t.Fatal(err)
	}
	cosine := Config{Neighbours: 100, Asymmetry: 0.5}
	bm25 := Config{Neighbours: 100, Asymmetry: 0.5, K1: 1.2, B: 0.75}
	for name, c := range map[string]struct {
		m    *sparse.CSR
		cfg  Config
		want [][]float64
	}{
		"item cosine": {m, cosine, golden.ItemCosine}, "item bm25": {m, bm25, golden.ItemBM25},
		"user cosine": {m.Transpose(), cosine, golden.UserCosine}, "user bm25": {m.Transpose(), bm25, golden.UserBM25},
	} {
		model, err := TrainItems(t.Context(), c.m, c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range c.want {
			got := make([]float64, len(want))
			cols, vals := model.Near.Row(i)
			for n, j := range cols {
				got[j] = float64(vals[n])
			}
			for j := range want {
				if math.Abs(got[j]-want[j]) > 1e-6 {
					t.Fatalf("%s: similarity of %d and %d is %.8f, implicit's %.8f", name, i, j, got[j], want[j])
				}
			}
		}
	}
}
