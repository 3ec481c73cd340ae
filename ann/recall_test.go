package ann

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestRecallOfAnIndex(t *testing.T) {
	const dim = 16
	m := newMixture(51, dim, 30, .5)
	vectors, queries := m.draw(3000), m.draw(50)
	ix := build(t, vectors, dim, Options{Kind: HNSW, EFConstruction: 100})
	truth := truths(InnerProduct, vectors, dim, queries, 10, nil)
	for _, ef := range []int{10, 40, 200} {
		opts := SearchOptions{Force: HNSW, EF: ef}
		got, err := Recall(context.Background(), ix, queries, 10, opts)
		if want := meanRecall(t, ix, truth, queries, 10, opts); err != nil || math.Abs(got-want) > 1e-9 {
			t.Errorf("ef %d: recall %v, %v; want %v", ef, got, err, want)
		}
	}
	if r, err := CheckRecall(context.Background(), ix, queries); err != nil || r < RecallGate {
		t.Errorf("recall %v: %v", r, err)
	}
	if r, err := CheckRecall(context.Background(), build(t, nil, dim, Options{}), queries); err != nil || r != 1 {
		t.Errorf("recall %v of nothing: %v", r, err)
	}
	if _, err := CheckRecall(context.Background(), ix, queries[:3]); err == nil {
		t.Error("a part of a query was accepted")
	}
}

func TestRecallGateRefuses(t *testing.T) {
	const dim = 8
	m := newMixture(52, dim, 30, .5)
	ix, ok := build(t, m.draw(2000), dim, Options{Kind: HNSW}).(*index)
	if !ok {
		t.Fatal("not an index of this package")
	}
	for i := range ix.graph.base { // no row leads to another
		ix.graph.base[i] = none
	}
	_, err := CheckRecall(context.Background(), forced{ix}, m.draw(20))
	if !errors.Is(err, ErrRecall) || !strings.Contains(err.Error(), "2000 vectors finds 0.") {
		t.Errorf("%v, want ErrRecall with the number", err)
	}
}

// forced is an index that walks whatever it is asked for, unless that is an exact search.
type forced struct{ *index }

func (f forced) SearchBatch(ctx context.Context, queries []float32, k int, opts SearchOptions, dst [][]Neighbor) ([][]Neighbor, error) {
	if opts.Force == Auto {
		opts.Force = HNSW
	}
	return f.index.SearchBatch(ctx, queries, k, opts, dst)
}

// sparseIndex is one whose walks need more than DefaultEF: few links, chosen among few, in data without clusters.
func sparseIndex(t *testing.T) (ix Index, queries []float32) {
	t.Helper()
	const dim = 24
	m := newMixture(53, dim, 1, 1)
	return build(t, m.draw(24_000), dim, Options{Kind: HNSW, M: 8, EFConstruction: 40, Seed: 1, Threads: 1}), m.draw(60)
}

// alwaysWalking is a calibration of walks however few vectors there are.
type alwaysWalking struct{ forced }

func (a alwaysWalking) withEF(ef int) Index {
	ix, _ := a.index.withEF(ef).(*index)
	return alwaysWalking{forced{ix}}
}

func TestCalibrateRaisesEFUntilTheGateIsReached(t *testing.T) {
	if raceEnabled {
		t.Skip("slow to build, and with nothing concurrent of its own")
	}
	made, queries := sparseIndex(t)
	plain, ok := made.(*index)
	if !ok {
		t.Fatal("not an index of this package")
	}
	ctx := context.Background()
	walking := alwaysWalking{forced{plain}}
	if r, err := CheckRecall(ctx, walking, queries); !errors.Is(err, ErrRecall) {
		t.Fatalf("recall %v, %v, of an index meant to fall short", r, err)
	}
	better, r, err := Calibrate(ctx, walking, queries)
	if err != nil || r < RecallGate {
		t.Fatalf("recall %v: %v", r, err)
	}
	ef := better.Info().EF
	if ef <= DefaultEF || ef > MaxEF || plain.Info().EF != DefaultEF {
		t.Fatalf("ef %d after calibration, and %d of the index calibrated", ef, plain.Info().EF)
	}
	if got, err := CheckRecall(ctx, better, queries); err != nil || got != r {
		t.Errorf("recall %v, %v; calibrated with %v", got, err, r)
	}
	exact, r, err := Calibrate(ctx, plain, queries) // where a walk good enough costs more than comparing all vectors, searches compare all
	if err != nil || r < RecallGate {
		t.Fatalf("recall %v: %v", r, err)
	}
	if plan, err := exact.Plan(10, SearchOptions{}); err != nil || plan.Strategy != Exact {
		t.Errorf("%v: %v", err, plan)
	}
	for _, step := range calibrationSteps(DefaultEF) { // none smaller would have done
		if r, err := Recall(ctx, plain.withEF(step), queries, 10, SearchOptions{Force: HNSW}); step < ef && (err != nil || r >= calibrateAim) {
			t.Errorf("recall %v, %v at ef %d, but %d was chosen", r, err, step, ef)
		}
	}
	var file bytes.Buffer
	if _, err := better.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(file.Bytes())
	if err != nil || loaded.Info().EF != ef {
		t.Fatalf("%v: a file keeps ef %d, want %d", err, loaded.Info().EF, ef)
	}
	if plan, err := loaded.Plan(10, SearchOptions{Force: HNSW}); err != nil || plan.EF != ef {
		t.Errorf("%v: %v, want ef %d", err, plan, ef)
	}
}

func TestCalibrateLeavesWhatIsGoodAlone(t *testing.T) {
	const dim = 16
	m := newMixture(54, dim, 30, .5)
	vectors, queries := m.draw(2000), m.draw(40)
	for _, ix := range []Index{build(t, vectors, dim, Options{}), build(t, vectors, dim, Options{Kind: HNSW}), build(t, nil, dim, Options{Kind: HNSW})} {
		same, r, err := Calibrate(context.Background(), ix, queries)
		if err != nil || r < RecallGate || same != ix {
			t.Errorf("%v of %d: recall %v, %v", ix.Info().Kind, ix.Len(), r, err)
		}
	}
	ix := build(t, vectors, dim, Options{Kind: HNSW, EF: 40})
	if plan, err := ix.Plan(10, SearchOptions{Force: HNSW}); err != nil || plan.EF != 40 {
		t.Errorf("%v: %v of an index built with ef 40", err, plan)
	}
}

func TestCalibrateRefusesWhatNoEFHelps(t *testing.T) {
	m := newMixture(55, 8, 30, .5)
	ix, ok := build(t, m.draw(2000), 8, Options{Kind: HNSW}).(*index)
	if !ok {
		t.Fatal("not an index of this package")
	}
	for i := range ix.graph.base { // no row leads to another
		ix.graph.base[i] = none
	}
	for _, broken := range []Index{alwaysWalking{forced{ix}}, struct{ Index }{forced{ix}}} {
		if _, r, err := Calibrate(context.Background(), broken, m.draw(20)); !errors.Is(err, ErrRecall) || r > .9 {
			t.Errorf("recall %v, %v; want ErrRecall", r, err)
		}
	}
}

// The base that a compaction makes walks as the one before was calibrated to.
func TestCompactionKeepsTheCalibration(t *testing.T) {
	m := newMixture(56, 8, 30, .5)
	builder := func(ctx context.Context, vectors []float32, dim int, opts Options) (Index, error) {
		ix, err := Build(ctx, vectors, dim, opts)
		if err == nil && opts.EF == 0 {
			ix = ix.(*index).withEF(300)
		}
		return ix, err
	}
	l, err := NewLive(context.Background(), m.draw(500), 8, Options{Kind: HNSW}, builder)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Apply(Change{ID: 3, Vector: m.draw(1)}), l.Compact(context.Background())); err != nil {
		t.Fatal(err)
	}
	if ef := l.Info().Base.EF; ef != 300 {
		t.Errorf("ef %d after a compaction, want 300", ef)
	}
}
