package nightly_test

import (
	"strings"
	"testing"

	"marquee/training/model"
	"marquee/training/nightly"
)

// towers is the pipeline with towers for a small world.
func (h *house) towers() *nightly.Pipeline {
	p := h.pipeline()
	p.Recipe.Towers = nightly.DefaultTowers()
	c := &p.Recipe.Towers
	c.Dim, c.Batch, c.Epochs = 8, 16, 10
	return p
}

// TestTowersAreReleasedBesideALS, the next night begins from them, and another house makes the same of the same events.
func TestTowersAreReleasedBesideALS(t *testing.T) {
	conn := openWarehouse(t, tribes(4, 40, 30, 12))
	h := newHouse(t, conn, sqlite(t))
	first := h.run(h.towers(), asOf.AddDate(0, 0, -20))
	if v := first.Towers; v == nil || !v.Released || v.Against == nil || v.Against.Difference.Low <= 0 || v.BesideALS == nil || !strings.Contains(v.Reason, "interval") {
		t.Fatalf("towers %+v", first.Towers)
	}
	if first.Beginning.Warm || !strings.Contains(first.Beginning.Reason, "no release before") {
		t.Errorf("the first night began from %+v", first.Beginning)
	}
	m, err := h.registry.Manifest(t.Context(), first.Bundle)
	if err != nil || m.Towers == nil || m.Towers.Dim != 8 || m.Start != nil || m.Metrics["towers"]["ndcg@10"] != first.Metrics["towers"]["ndcg@10"] {
		t.Fatalf("the manifest says %+v, %+v, %v (%v)", m.Towers, m.Start, m.Metrics, err)
	}
	dir, err := h.registry.Fetch(t.Context(), first.Bundle, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if there, err := b.HasTowers(); !there || err != nil {
		t.Errorf("towers %t, %v", there, err)
	}
	titles := b.Len()
	if err := b.Release(); err != nil {
		t.Fatal(err)
	}
	next := h.run(h.towers(), asOf)
	if s := next.Beginning; !s.Warm || s.From != first.Bundle || s.Titles != titles || s.Towers != titles || s.Reason != "" {
		t.Errorf("the next night began from %+v, want %d titles of %s", s, titles, first.Bundle)
	}
	if m, err := h.registry.Manifest(t.Context(), next.Bundle); err != nil || m.Start == nil || m.Start.From != first.Bundle || m.Start.Titles != titles {
		t.Errorf("the release says it began from %+v (%v)", m.Start, err)
	}
	other := newHouse(t, conn, sqlite(t))
	if s := other.run(other.towers(), asOf.AddDate(0, 0, -20)); s.Bundle != first.Bundle {
		t.Errorf("the same night elsewhere is %s, want %s", s.Bundle, first.Bundle)
	}
	if s := other.run(other.towers(), asOf); s.Bundle != next.Bundle {
		t.Errorf("the next night elsewhere is %s, want %s", s.Bundle, next.Bundle)
	}
}

// TestWhatCannotBeBegunFrom is no obstacle, and said.
func TestWhatCannotBeBegunFrom(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(4, 40, 30, 12)), sqlite(t))
	began := func(want string, warm bool, change func(p *nightly.Pipeline)) {
		t.Helper()
		p := h.towers()
		change(p)
		if s := h.run(p, asOf); s.Beginning.Warm != warm || !strings.Contains(s.Beginning.Reason, want) {
			t.Errorf("began from %+v, want %q", s.Beginning, want)
		}
	}
	began("no release before", false, func(p *nightly.Pipeline) { p.Config.Towers = false })
	began("has no towers", true, func(p *nightly.Pipeline) { p.Config.MaxLoss = .5 })
	began("warm_start is false", false, func(p *nightly.Pipeline) { p.Config.WarmStart = false })
	began("towers with neighbours begin from chance", true, func(p *nightly.Pipeline) { p.Recipe.Towers.Neighbours = 3 })
	began("of another shape", true, func(p *nightly.Pipeline) { p.Recipe.Towers.Hidden = 4 })
	began("vectors of 8 numbers, this one of 6", false, func(p *nightly.Pipeline) { p.Recipe.ALS.Dim, p.Config.MaxLoss = 6, .9 })
	h.damage(h.current())
	began("cannot be read", false, func(p *nightly.Pipeline) { p.Recipe.ALS.Epochs = 5 })
}

// TestTowersWorseThanPopularity are not released, and the night's release is none the worse.
func TestTowersWorseThanPopularity(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(1, 150, 40, 12)), sqlite(t))
	p := h.towers()
	p.Recipe.Towers.Epochs, p.Recipe.Towers.PopularityPower, p.Recipe.Towers.Rate = 1, 0, 1e-9
	p.Config.MaxLoss = .9
	s := h.run(p, asOf)
	if v := s.Towers; v == nil || v.Released || !strings.HasPrefix(v.Reason, "no towers: NDCG@10 -") {
		t.Fatalf("towers %+v", v)
	}
	if m, err := h.registry.Manifest(t.Context(), s.Bundle); err != nil || m.Towers != nil {
		t.Errorf("the manifest says %+v (%v)", m.Towers, err)
	}
}
