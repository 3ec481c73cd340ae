package nightly_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"marquee/features"
	"marquee/training/model"
	"marquee/training/model/ranking"
	"marquee/training/nightly"
	"marquee/training/ranker"
)

// ranking is the pipeline with a ranker for a small world.
func (h *house) ranking() *nightly.Pipeline {
	p := h.pipeline()
	p.Config.Ranker, p.Recipe.Ranker = true, ranker.DefaultConfig()
	r := &p.Recipe.Ranker
	r.Windows, r.Candidates, r.Trees.MinLeaf, r.Trees.Rounds = 3, 20, 20, 60
	return p
}

// TestTheRankerIsReleasedThatDoesBetter, the same by a run that was interrupted, and leaves no snapshots of its windows behind.
func TestTheRankerIsReleasedThatDoesBetter(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(4, 60, 60, 15)), sqlite(t))
	// Vectors of one number tell tribes apart badly: neighbours do better.
	p := h.ranking()
	p.Recipe.ALS.Dim, p.Recipe.ALS.Epochs = 2, 2
	s := h.run(p, asOf)
	if s.Ranker == nil || !s.Ranker.Released || s.Ranker.Windows != 3 || s.Metrics["hybrid"]["ndcg@10"] <= s.Metrics["als"]["ndcg@10"] {
		t.Fatalf("ranker %+v, metrics %v", s.Ranker, s.Metrics)
	}
	m, err := h.registry.Manifest(t.Context(), s.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	if m.Ranker == nil || len(m.Ranker.Features) != len(ranking.Names(model.RankerSources())) || m.Metrics["hybrid"]["ndcg@10"] != s.Metrics["hybrid"]["ndcg@10"] {
		t.Fatalf("the manifest says of the ranker %+v, metrics %v", m.Ranker, m.Metrics)
	}
	dir, err := h.registry.Fetch(t.Context(), s.Bundle, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Release(); err != nil {
			t.Error(err)
		}
	}()
	if ranks, err := b.Ranks(); !ranks || err != nil {
		t.Errorf("ranks %t, %v", ranks, err)
	}
	// Neighbours are of one tribe.
	for row := range uint32(b.Len()) {
		near, _ := b.Near(row)
		for _, n := range near {
			if tribe, _, _ := strings.Cut(b.TitleID(row), "-"); !strings.HasPrefix(b.TitleID(n), tribe+"-") {
				t.Fatalf("%s is near %s", b.TitleID(n), b.TitleID(row))
			}
		}
	}
	list, err := (&features.Builder{Conn: h.conn, Lake: h.lake}).List(t.Context())
	if err != nil || len(list) != 2 {
		t.Errorf("%d snapshots are left (%v), want those of the release and of its evaluation", len(list), err)
	}
	// A run that goes on after its evaluation makes the examples anew, and the same release.
	other := newHouse(t, h.conn, sqlite(t))
	interrupted := func() *nightly.Pipeline {
		p := other.ranking()
		p.Recipe.ALS.Dim, p.Recipe.ALS.Epochs = 2, 2
		return p
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dying := interrupted()
	dying.Progress = func(step string, _, _ int64) {
		if step == "train" {
			cancel()
		}
	}
	if _, err := dying.Run(ctx, asOf); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if again := other.run(interrupted(), asOf); again.Bundle != s.Bundle || !slices.Contains(again.Resumed, "evaluate") {
		t.Errorf("made again from its evaluation: %s, resumed %v; want %s", again.Bundle, again.Resumed, s.Bundle)
	}
}

func TestWithoutHistoryThereIsNoRanker(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(2, 20, 20, 8)), sqlite(t))
	s := h.run(h.ranking(), asOf)
	if s.Ranker == nil || s.Ranker.Released || !strings.Contains(s.Ranker.Reason, "no ranker: history does not reach back") {
		t.Fatalf("ranker %+v", s.Ranker)
	}
	m, err := h.registry.Manifest(t.Context(), s.Bundle)
	if err != nil || m.Ranker != nil || !s.Promoted {
		t.Errorf("the release: %+v, %v", m.Ranker, err)
	}
}
