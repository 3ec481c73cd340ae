package nightly_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"marquee/features/quality"
	"marquee/training/model"
	"marquee/training/nightly"
)

// gate is the real checks as the nightly run uses them; cmd/marquee has the same adapter.
type gate struct{ conn driver.Conn }

func (g gate) CheckQuality(ctx context.Context, at time.Time) (*model.Quality, error) {
	cfg := quality.DefaultConfig()
	cfg.LeastEvents = 5
	r, err := quality.Run(ctx, g.conn, cfg, at)
	if err != nil {
		return nil, err
	}
	q := &model.Quality{}
	for _, c := range r.Checks {
		q.Checks = append(q.Checks, model.QualityCheck{
			Name: c.Name, Status: string(c.Status), Unit: c.Unit, Measured: c.Measured, Low: c.Low, High: c.High, Note: c.Note,
		})
	}
	return q, nil
}

// lateTribes are tribes' watches that go on, evenly, to the day before asOf, and then hardly at all.
func lateTribes() (watches []watch, at time.Time) {
	watches = tribes(3, 20, 20, 10)
	slices.SortStableFunc(watches, func(a, b watch) int { return a.at.Compare(b.at) })
	for i := range watches {
		watches[i].at = epoch.Add(time.Duration(i) * 60 * 24 * time.Hour / time.Duration(len(watches)))
	}
	return watches, epoch.Add(61 * 24 * time.Hour)
}

// recordedQuality is what the run with the highest token recorded.
func (h *house) recordedQuality() *model.Quality {
	h.t.Helper()
	var text string
	if err := h.db.NewSelect().Table("nightly_runs").Column("quality").Order("token DESC").Limit(1).Scan(context.Background(), &text); err != nil {
		h.t.Fatal(err)
	}
	q := &model.Quality{}
	if err := json.Unmarshal([]byte(text), q); err != nil {
		h.t.Fatal(err)
	}
	return q
}

func operator(checks ...string) nightly.Acceptance {
	return nightly.Acceptance{Checks: checks, By: "olga", Host: "ops1", Reason: "the feed was down, known"}
}

// TestBrokenDataAreRefused: nothing is built of a day on which the events stopped; who accepts it is on record; and the acceptance
// holds for that instant alone.
func TestBrokenDataAreRefused(t *testing.T) {
	watches, at := lateTribes()
	conn := openWarehouse(t, watches)
	eachEngine(t, conn, func(t *testing.T, h *house) {
		attempt := func(accept nightly.Acceptance, at time.Time) (*nightly.Summary, error) {
			p := h.pipeline()
			p.Quality, p.Accept = gate{conn}, accept
			return p.Run(context.Background(), at)
		}
		for _, accept := range []nightly.Acceptance{{}, operator("duplicates")} {
			s, err := attempt(accept, at)
			var refused *nightly.QualityError
			if !errors.As(err, &refused) || len(refused.Failed) != 1 || refused.Failed[0].Name != "volume" {
				t.Fatalf("accepting %v: %v", accept.Checks, err)
			}
			for _, want := range []string{"volume: 0 events", "allowed are", "features check --as-of 2026-08-01T00:00:00Z --show volume", "--accept volume"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if s == nil || s.Promoted || s.Bundle != "" || len(s.Gate.Reasons) != 1 || s.Quality == nil || len(s.Quality.Overruled) != 0 {
				t.Errorf("summary %+v", s)
			}
			if len(h.releases()) != 0 || len(h.journal()) != 0 {
				t.Errorf("releases %v, steps %v", h.releases(), h.journal())
			}
			for o, err := range h.lake.List(context.Background(), "") {
				t.Errorf("built %v, %v", o, err)
			}
			if q := h.recordedQuality(); !slices.ContainsFunc(q.Checks, func(c model.QualityCheck) bool { return c.Name == "volume" && c.Status == "failed" }) {
				t.Errorf("recorded %+v", q)
			}
		}
		s, err := attempt(operator("volume"), at)
		if err != nil || !s.Promoted {
			t.Fatalf("accepted: %+v, %v", s, err)
		}
		m, err := h.registry.As("nightly").Manifest(context.Background(), s.Bundle)
		if err != nil {
			t.Fatal(err)
		}
		for where, q := range map[string]*model.Quality{"summary": s.Quality, "record": h.recordedQuality(), "release": m.Quality} {
			if q == nil || len(q.Overruled) != 1 || len(q.Checks) != len(quality.Names()) {
				t.Fatalf("%s: %+v", where, q)
			}
			o := q.Overruled[0]
			if o.Check != "volume" || o.By != "olga" || o.Host != "ops1" || o.Reason != "the feed was down, known" || time.Since(o.At) > time.Hour {
				t.Errorf("%s: %+v", where, o)
			}
		}
		// The same night again: accepted by who accepted it first.
		again, err := attempt(nightly.Acceptance{}, at)
		if err != nil || again.Bundle != s.Bundle || len(again.Quality.Overruled) != 1 || again.Quality.Overruled[0] != s.Quality.Overruled[0] {
			t.Errorf("again: %+v, %v", again, err)
		}
		if _, err := attempt(nightly.Acceptance{}, at.Add(time.Hour)); err == nil {
			t.Error("the acceptance holds an hour later")
		}
		if s, err := attempt(operator(nightly.AcceptAll), at.Add(time.Hour)); err != nil || len(s.Quality.Overruled) != 1 {
			t.Errorf("all accepted: %+v, %v", s, err)
		}
		// The day before was as it should be.
		if s, err := attempt(operator(nightly.AcceptAll), at.AddDate(0, 0, -1).Add(-time.Hour)); err != nil || len(s.Quality.Overruled) != 0 {
			t.Errorf("a good day: %+v, %v", s, err)
		}
	})
}

// TestAnAcceptedRunGoesOn: a run of the wall clock that was interrupted after somebody accepted its data needs no second word.
func TestAnAcceptedRunGoesOn(t *testing.T) {
	watches, at := lateTribes()
	shift := time.Since(at).Truncate(time.Second)
	for i := range watches {
		watches[i].at = watches[i].at.Add(shift)
	}
	conn := openWarehouse(t, watches)
	for _, step := range []string{"features", "evaluate"} {
		t.Run(step, func(t *testing.T) {
			h := newHouse(t, conn, sqlite(t))
			ctx, cancel := context.WithCancel(t.Context())
			p := h.pipeline()
			p.Quality, p.Accept = gate{conn}, operator("volume")
			p.Progress = func(s string, _, _ int64) {
				if s == step {
					cancel()
				}
			}
			if _, err := p.Run(ctx, time.Time{}); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			p = h.pipeline()
			p.Quality = gate{conn}
			s := h.run(p, time.Time{})
			if !s.Promoted || fmt.Sprint(s.Quality.Overruled[0].By) != "olga" {
				t.Errorf("%+v", s)
			}
			// The next night is another.
			p = h.pipeline()
			p.Quality = gate{conn}
			if _, err := p.Run(t.Context(), time.Time{}); !errors.As(err, new(*nightly.QualityError)) {
				t.Errorf("the night after: %v", err)
			}
		})
	}
}

// TestDataThatCannotBeChecked: a gate that fails is an error; nothing is trained unchecked.
func TestDataThatCannotBeChecked(t *testing.T) {
	h := newHouse(t, openWarehouse(t, tribes(3, 20, 20, 10)), sqlite(t))
	p := h.pipeline()
	p.Quality = brokenGate{}
	if _, err := p.Run(t.Context(), asOf); !errors.Is(err, errGate) {
		t.Error(err)
	}
}

var errGate = errors.New("the warehouse is gone")

type brokenGate struct{}

func (brokenGate) CheckQuality(context.Context, time.Time) (*model.Quality, error) {
	return nil, errGate
}
