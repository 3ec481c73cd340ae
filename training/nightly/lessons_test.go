package nightly_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"marquee/features"
	"marquee/training/model"
	"marquee/training/model/ranking"
	"marquee/training/nightly"
	"marquee/training/ranker"
)

// ranking is the pipeline with a ranker for a small world.
func (h *house) ranking() *nightly.Pipeline {
	p := h.pipeline()
	p.Config.Ranker, p.Recipe.Ranker = nightly.RankerAlways, ranker.DefaultConfig()
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

// shownTo inserts slates that some of the watches' profiles saw: titles of all tribes, of which one of the profile's own is clicked where
// it is noticed, an even one four times as often as an odd one, whatever their tribe mostly watches.
func shownTo(t *testing.T, conn driver.Conn, offset int64, tribes, size, titles, slates int) {
	t.Helper()
	b, err := conn.PrepareBatch(t.Context(), `INSERT INTO events_raw (event_id, schema_version, profile_id, title_id, type, occurred_at, received_at,
		request_id, row, rank, seen_title_ids, play_id, watched_ms, duration_ms, kafka_partition, kafka_offset)`)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(8, 8))
	row := uint32(0)
	send := func(profile, title, kind, request string, rank uint32, seen []string, at time.Time) {
		id := uuid.NewSHA1(uuid.Nil, []byte(fmt.Sprint(profile, title, kind, request, rank)))
		if err := b.Append(id, uint16(1), profile, title, kind, at, at, request, &row, &rank, seen, request, int64(3_000_000), int64(6_000_000), int32(0), offset); err != nil {
			t.Fatal(err)
		}
		offset++
	}
	for tribe := range tribes {
		for member := range size {
			profile := fmt.Sprintf("p:%d-%d", tribe, member)
			for n := range slates {
				at, request := epoch.Add(time.Duration(rng.IntN(95*24*3600))*time.Second), fmt.Sprint(profile, "/", n)
				var seen []string
				clicked := []uint32{}
				for rank, i := range rng.Perm(tribes * titles)[:10] {
					seen = append(seen, fmt.Sprintf("t:%d-%d", i/titles, i%titles))
					if i/titles == tribe && rng.Float64() < []float64{0.8, 0.2}[i%2]/math.Sqrt(float64(rank+1)) {
						clicked = append(clicked, uint32(rank))
					}
				}
				send(profile, "", "slate_seen", request, 0, seen, at)
				for _, rank := range clicked {
					send(profile, seen[rank], []string{"click", "play_end"}[rank%2], request, rank, []string{}, at.Add(time.Second))
				}
			}
		}
	}
	if err := b.Send(); err != nil {
		t.Fatal(err)
	}
}

// TestTheNightLearnsFromWhatWasShown, where there is enough of it, and releases what does better by the clicks; otherwise it says what is
// missing.
func TestTheNightLearnsFromWhatWasShown(t *testing.T) {
	conn := openWarehouse(t, tribes(3, 60, 60, 15))
	shownTo(t, conn, 10_000, 3, 60, 60, 40)
	poor := newHouse(t, conn, sqlite(t))
	p := poor.ranking()
	p.Config.Ranker, p.Recipe.Ranker.Clicks = nightly.RankerSlates, 1_000_000
	if s := poor.run(p, asOf); s.Ranker == nil || s.Ranker.Released || !strings.Contains(s.Ranker.Reason, "fewer than 1000000 clicks are known") || s.Metrics["hybrid"] != nil {
		t.Errorf("without enough clicks: %+v", s.Ranker)
	}
	h := newHouse(t, conn, sqlite(t))
	p = h.ranking()
	p.Config.Ranker, p.Recipe.Ranker.Clicks = nightly.RankerSlates, 500
	s := h.run(p, asOf)
	if s.Ranker == nil || !s.Ranker.Released || s.Ranker.Clicks == nil {
		t.Fatalf("ranker %+v", s.Ranker)
	}
	if c := s.Ranker.Clicks; c.Profiles < 100 || c.Difference.Low <= 0 || c.Ranker < c.Shown || c.ALS < c.Shown/2 {
		t.Errorf("what the order is worth: %+v", c)
	}
	if r := s.Ranker.Report; r.Negatives != "shown and not clicked" || len(r.Examination) != 10 || r.Examination[9] > 0.6 {
		t.Errorf("report %+v", r)
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
	var even, odd float32
	for row, response := range b.RankingTitles().Response {
		if last := b.TitleID(uint32(row)); (last[len(last)-1]-'0')%2 == 0 {
			even += response
		} else {
			odd += response
		}
	}
	if even < 1.5*odd || odd <= 0 {
		t.Errorf("even titles respond with %.1f in all, odd ones with %.1f", even, odd)
	}
	// A run that goes on after its evaluation makes the same release.
	other := newHouse(t, conn, sqlite(t))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	again := func() *nightly.Pipeline {
		p := other.ranking()
		p.Config.Ranker, p.Recipe.Ranker.Clicks = nightly.RankerSlates, 500
		return p
	}
	dying := again()
	dying.Progress = func(step string, _, _ int64) {
		if step == "train" {
			cancel()
		}
	}
	if _, err := dying.Run(ctx, asOf); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if resumed := other.run(again(), asOf); resumed.Bundle != s.Bundle || !slices.Contains(resumed.Resumed, "evaluate") {
		t.Errorf("made again from its evaluation: %s, resumed %v; want %s", resumed.Bundle, resumed.Resumed, s.Bundle)
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
