package state

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Trend is what the events so far say of titles: which trend, and which were watched most of all.
type Trend struct {
	// Titles are numbers of the process's id table, best first; equal scores stand in the order of their numbers.
	Titles []uint32
	// Scores are relative to the best title's: 1 down to above 0. They change with events only, not as time passes, since
	// time takes the same share from every title.
	Scores []float32
	// Watched are the titles watched most over all the history there is, best first, with scores relative to the best.
	Watched       []uint32
	WatchedScores []float32
}

// trending keeps every title's decayed popularity: the strengths of its plays, each weighted 2^(-age/halfLife). Instead of
// decaying all of them as time passes, a play at time t is added with weight 2^((t-anchor)/halfLife), which orders titles
// the same at any later time; the anchor moves up before the numbers can overflow.
type trending struct {
	clock    Clock
	halfLife float64 // µs
	size     int
	refresh  time.Duration

	mu     sync.Mutex
	anchor int64 // µs
	weight []float64
	// total is every title's strength added up without decay, in 10000ths.
	total []int64
	dirty bool

	current atomic.Pointer[Trend]
	builtAt atomic.Int64 // monotonic ns since began
	began   time.Time
	busy    sync.Mutex
}

// maxExponent leaves room for 2^500 plays' worth of weight before float64 ends.
const maxExponent = 500

// leastWeight is the decayed strength, in 10000ths, below which a title does not trend: a tenth of one full watch
// this instant. Without it something watched once, years ago, would lead an idle service's list.
const leastWeight = 1000

func newTrending(cfg Config, clock Clock) *trending {
	t := &trending{
		clock: clock, halfLife: float64(cfg.TrendingHalfLife.Microseconds()), size: cfg.TrendingTitles,
		refresh: cfg.TrendingRefresh, anchor: clock.Now().UnixMicro(), began: time.Now(),
	}
	t.current.Store(&Trend{})
	return t
}

// clear forgets every play.
func (t *trending) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.weight, t.total, t.dirty = nil, nil, true
}

// move replaces what a play added by what it adds now.
func (t *trending) move(title uint32, before, after contribution) {
	if before == after || before.strength == 0 && after.strength == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for int(title) >= len(t.weight) {
		t.weight, t.total = append(t.weight, 0), append(t.total, 0)
	}
	t.total[title] += int64(after.strength) - int64(before.strength)
	t.dirty = true
	w := &t.weight[title]
	*w = max(0, *w-t.value(before)) // rounding must not leave less than nothing
	*w += t.value(after)
}

// value is a contribution's weight relative to the anchor. What lies ahead of the clock weighs as if it were now.
func (t *trending) value(c contribution) float64 {
	if c.strength == 0 {
		return 0
	}
	at := min(c.at, t.clock.Now().UnixMicro())
	exponent := float64(at-t.anchor) / t.halfLife
	if exponent > maxExponent {
		t.rebase(at)
		exponent = 0
	}
	return float64(c.strength) * math.Exp2(exponent)
}

func (t *trending) rebase(anchor int64) {
	scale := math.Exp2(float64(t.anchor-anchor) / t.halfLife)
	for i := range t.weight {
		t.weight[i] *= scale
	}
	t.anchor = anchor
}

// top returns the current list, rebuilding it when events came in since and it is older than the refresh interval. One
// caller rebuilds; the others take the list as it is.
func (t *trending) top() *Trend {
	age := time.Since(t.began) - time.Duration(t.builtAt.Load())
	if (t.builtAt.Load() == 0 || age >= t.refresh) && t.busy.TryLock() {
		defer t.busy.Unlock()
		t.rebuild()
	}
	return t.current.Load()
}

func (t *trending) rebuild() {
	t.mu.Lock()
	if !t.dirty {
		t.mu.Unlock()
		t.builtAt.Store(max(1, int64(time.Since(t.began))))
		return
	}
	t.dirty = false
	least := leastWeight * math.Exp2(float64(t.clock.Now().UnixMicro()-t.anchor)/t.halfLife)
	weights, totals := slices.Clone(t.weight), slices.Clone(t.total)
	t.mu.Unlock()

	list := &Trend{}
	list.Titles, list.Scores = best(weights, least, t.size)
	list.Watched, list.WatchedScores = best(totals, 1, t.size)
	t.current.Store(list)
	t.builtAt.Store(max(1, int64(time.Since(t.began))))
}

// best returns up to size numbers of those whose value is at least least, the highest first, and their values relative to
// the first's.
func best[V int64 | float64](values []V, least V, size int) ([]uint32, []float32) {
	titles := make([]uint32, 0, size)
	for id, v := range values {
		if v >= least {
			titles = append(titles, uint32(id))
		}
	}
	slices.SortFunc(titles, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(values[b], values[a]), cmp.Compare(a, b))
	})
	titles = slices.Clip(titles[:min(len(titles), size)])
	scores := make([]float32, len(titles))
	for i, id := range titles {
		scores[i] = float32(float64(values[id]) / float64(values[titles[0]]))
	}
	return titles, scores
}
