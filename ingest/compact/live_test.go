package compact

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"marquee/ingest/events"
	"marquee/ingest/sink"
	"marquee/internal/lake"
)

// TestBesideConsumerAndReaders compacts again and again, deleting at once what was replaced, while ranges arrive and readers
// count: none of them may see an event twice or miss one.
func TestBesideConsumerAndReaders(t *testing.T) {
	w := newWorld(t)
	w.cfg.Grace = 0
	w.fillUpTo(300)
	var stored atomic.Int64
	stored.Store(w.state().sum.Rows)
	ended := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		defer close(ended)
		if err := w.consume(&stored, 60); err != nil {
			t.Error(err)
		}
	})
	compactions := 0
	work.Go(func() {
		for again := true; again; compactions++ {
			select {
			case <-ended:
				again = false
			default:
			}
			d := w.deps()
			d.Now = time.Now
			if _, err := Run(t.Context(), w.cfg, d, Options{OpenDay: true}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	reads := 0
	work.Go(func() {
		for again := true; again; {
			select {
			case <-ended:
				again = false
			default:
			}
			least := stored.Load()
			n, err := w.read(t.Context())
			if lake.IsNotExist(err) {
				continue // it was replaced and deleted since it was listed: without any grace that may be
			}
			if reads++; err != nil || n < least || n > stored.Load()+50 {
				t.Errorf("a reader sees %d of at least %d events (%v)", n, least, err)
			}
		}
	})
	work.Wait()
	if got := w.state().sum.Rows; got != stored.Load() {
		t.Errorf("%d events, want %d", got, stored.Load())
	}
	w.now = time.Now()
	w.compact(Options{})
	if files, named := w.files(), len(w.set().Files()); reads < 3 || compactions < 3 || files != named {
		t.Errorf("%d reads, %d compactions, %d files in the end, %d of them count", reads, compactions, files, named)
	}
}

// consume writes ranges of fifty events each, none of them there yet.
func (w *world) consume(stored *atomic.Int64, ranges int) error {
	ctx := w.t.Context()
	for i := range ranges {
		b := sink.NewBatch(50)
		first := w.next[0]
		for n := range 50 {
			b.Add(event(300+50*i+n), 0, first+int64(n))
		}
		w.next[0] = first + 50
		r, err := w.owner[0].Fix(ctx, first, first+49)
		if err != nil {
			return err
		}
		files, err := sink.NewLake(w.lake).Write(ctx, r, b)
		if err := errors.Join(err, w.owner[0].InWarehouse(ctx, r, 50, 0), w.owner[0].InLake(ctx, r, files)); err != nil {
			return err
		}
		stored.Add(50)
	}
	return nil
}

// read counts distinct events, and fails when there is a gap.
func (w *world) read(ctx context.Context) (int64, error) {
	set, err := events.Open(ctx, w.lake)
	if err != nil {
		return 0, err
	}
	if gaps := set.Gaps(); len(gaps) > 0 {
		return 0, errors.New("there are gaps")
	}
	var n int64
	for _, err := range set.Events(ctx) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

func TestTheModuleCompactsWhenItIsTime(t *testing.T) {
	w := newWorld(t)
	w.fillUpTo(700)
	registry := prometheus.NewRegistry()
	m, err := New(w.cfg, w.deps(), registry)
	if err != nil {
		t.Fatal(err)
	}
	at := make(chan time.Time)
	m.tick = func(d time.Duration) (<-chan time.Time, func()) {
		if d != w.cfg.Interval {
			t.Errorf("every %s", d)
		}
		return at, func() {}
	}
	if err := errors.Join(m.Start(t.Context()), m.Ready(t.Context())); err != nil {
		t.Fatal(err)
	}
	at <- noon
	at <- noon // the first is done
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(w.set().Manifests()); n != 0 {
		t.Errorf("%d ranges are left", n)
	}
	if n := testutil.ToFloat64(m.metrics.rows); n != float64(w.state().rows) {
		t.Errorf("%f rows in the metrics", n)
	}
	if n := testutil.ToFloat64(m.metrics.live.WithLabelValues("compacted")); n != 2 {
		t.Errorf("%f compacted manifests in the metrics", n)
	}
}

func TestAModuleThatNeverCompactsStops(t *testing.T) {
	w := newWorld(t)
	w.cfg.Interval = 0
	m, err := New(w.cfg, w.deps(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.Stop(t.Context()), m.Start(t.Context()), m.Stop(t.Context())); err != nil {
		t.Error(err)
	}
}
