package serving

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"marquee/internal/rpc"
	"marquee/serving/arrange"
	"marquee/serving/expr"
	"marquee/serving/rank"
	"marquee/serving/retrieve"
	"marquee/serving/slot"
	"marquee/serving/state"
	servingv1 "marquee/serving/v1"
	"marquee/serving/view"
	"marquee/training/model"
)

// work is the memory of one request, pooled.
type work struct {
	s        *Service
	held     *slot.Held[*retrieve.Picture]
	q        retrieve.Query
	page     arrange.Page
	items    []retrieve.Candidate
	audience view.Audience
	degraded []string
	times    []stageTime
	reasons  reasons
	// ranked is each candidate's place by score, where an explanation was asked for.
	ranked map[uint32]uint32
	rank   rank.Config
	memory rank.Memory
}

// stageTime is how long a stage took, or a source within the first, which found so many candidates.
type stageTime struct {
	stage  string
	took   time.Duration
	source bool
	found  uint32
}

// begin takes a picture and applies the hard filters of the viewer, who may be nil: somebody without a country, a limit or
// a subscription to ask about; then the caller's wish. The caller calls end.
func (s *Service) begin(ctx context.Context, viewer *servingv1.Viewer, wish wish) (*work, error) {
	held := s.pictures.slot.Acquire()
	if held == nil {
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("no catalogue is loaded yet"))
	}
	w, ok := s.pool.Get().(*work)
	if !ok {
		w = &work{}
	}
	w.s, w.held = s, held
	w.degraded, w.times, w.items = w.degraded[:0], w.times[:0], w.items[:0]
	began := time.Now()
	w.audience = view.Audience{Country: viewer.GetCountry(), MaxAge: -1, Now: s.clock.Now().UnixMicro()}
	if viewer != nil && viewer.MaxMaturityAge != nil {
		w.audience.MaxAge = int(min(viewer.GetMaxMaturityAge(), 1000))
	}
	if id := viewer.GetProfileId(); id != "" {
		w.audience.Plan = w.plan(ctx, id)
	}
	w.q.Begin(held.Value, w.audience, s.store.Trending())
	if wish.filter != nil || wish.boost != nil {
		w.q.Wish(wish.filter, wish.boost, expr.Request{
			Country: w.audience.Country, DeviceClass: viewer.GetDeviceClass(), MaxMaturityAge: w.audience.MaxAge, Now: w.audience.Now,
		})
	}
	w.reasons.reset()
	w.took(stageFilter, began)
	if held.Value.Bundle == nil {
		w.degrade(ModelUnavailable)
	}
	return w, nil
}

// plan asks for the profile's entitlement. When nobody can say, it covers nothing.
func (w *work) plan(ctx context.Context, profileID string) view.Plan {
	e, err := w.s.entitlements.Entitlement(ctx, profileID)
	if err != nil {
		w.degrade(EntitlementUnavailable)
		w.s.log.Warn("entitlement unavailable: nothing is shown", "error", err)
		return view.Plan{Covers: func(string) bool { return false }}
	}
	return view.Plan{Key: e.Key, Covers: e.Covers}
}

func (w *work) end() {
	w.q.End()
	w.held.Release()
	w.held = nil
	w.audience, w.ranked = view.Audience{}, nil
	w.s.pool.Put(w)
}

func (w *work) degrade(step string) {
	if !slices.Contains(w.degraded, step) {
		w.degraded = append(w.degraded, step)
		w.s.metrics.degraded.WithLabelValues(step).Inc()
	}
}

// steps copies the degradation steps for an answer, which outlives the work.
func (w *work) steps() []string { return slices.Clone(w.degraded) }

func (w *work) took(stage string, began time.Time) {
	d := time.Since(began)
	w.s.metrics.stages[stage].Observe(d.Seconds())
	w.times = append(w.times, stageTime{stage: stage, took: d})
}

func (w *work) bundleID() string {
	if b := w.held.Value.Bundle; b != nil {
		return b.ID()
	}
	return ""
}

// replyReserve is the part of a request's deadline that is kept for answering after a wait.
const replyReserve = 50 * time.Millisecond

// await waits until the events at the positions are in the state, and reports whether they are. An answer that lacks them is
// better than none, so running out of time is a degradation and no error.
func (s *Service) await(ctx context.Context, positions []*servingv1.Position) (bool, error) {
	if len(positions) == 0 {
		return true, nil
	}
	began := time.Now()
	want := make([]state.Position, len(positions))
	for i, p := range positions {
		want[i] = state.Position{Partition: p.GetPartition(), Offset: p.GetOffset()}
	}
	until := began.Add(s.cfg.MinPositionWait)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-replyReserve).Before(until) {
		until = deadline.Add(-replyReserve)
	}
	bounded, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	resume := rpc.Pause(ctx)
	err := s.follower.WaitFor(bounded, want)
	resume()
	s.metrics.stages[stageWait].Observe(time.Since(began).Seconds())
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, state.ErrUnknownPartition):
		return false, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("min_position: %w", err))
	case ctx.Err() != nil:
		return false, fmt.Errorf("wait for min_position: %w", ctx.Err())
	default:
		return false, nil
	}
}

// load takes the profile in: its history, what that rules out, and its vector.
func (w *work) load(profileID string, current bool) {
	began := time.Now()
	if !current || w.s.follower.Stale() {
		w.degrade(StateStale)
	}
	w.q.LoadProfile(w.s.store, profileID)
	w.took(stageFilter, began)
	began = time.Now()
	if err := w.q.FoldIn(); err != nil {
		w.modelFailed(err)
	}
	w.took(stageRetrieve, began)
}

func (w *work) modelFailed(err error) {
	w.degrade(ModelUnavailable)
	w.s.log.Error("the release could not be asked", "release", w.bundleID(), "error", err)
}

func (w *work) rankerFailed(err error) {
	w.degrade(RankerUnavailable)
	if errors.Is(err, model.ErrNoRuntime) {
		return // as was said when the release was loaded
	}
	w.s.log.Error("the release's ranker could not be asked", "release", w.bundleID(), "error", err)
}

func (w *work) towerFailed(err error) {
	w.degrade(TowerUnavailable)
	if errors.Is(err, model.ErrNoRuntime) {
		return // as was said when the release was loaded
	}
	w.s.log.Error("the release's towers could not be asked", "release", w.bundleID(), "error", err)
}

// Candidates of the other sources beside the release's own.
const (
	trendingCandidates = 50
	popularCandidates  = 50
	freshCandidates    = 25
	newCandidates      = 50
	similarCandidates  = 20
	similarSubjects    = 2
)

// particularSearch is how many times as many candidates are searched for when each must still be asked whether the caller wants it.
// What is short even so is made up from what is popular, through the whole catalogue.
const particularSearch = 4

// candidates finds and ranks what may be recommended: at least count titles where there are as many. The factors are asked for fromModel, the
// towers and the neighbours of the history for fromEach. Neighbours of what was watched last are for lists: a page has rows of its own for
// them.
func (w *work) candidates(ctx context.Context, count, fromModel, fromEach int, neighbours bool) {
	began := time.Now()
	q := &w.q
	if q.Particular() {
		fromModel *= particularSearch
	}
	late := w.sourcesUntil(ctx, began)
	w.source(retrieve.ALS, time.Time{}, func() {
		if err := q.FromModel(max(fromModel, 2*count)); err != nil {
			w.modelFailed(err)
			q.Vector = q.Vector[:0]
		}
	})
	if len(q.Vector) > 0 {
		if there, _ := q.Picture.Bundle.HasTowers(); there {
			w.source(retrieve.Tower, late, func() {
				if err := q.FromTower(ctx, max(fromEach, 2*count), freshCandidates); err != nil {
					w.towerFailed(err)
				}
			})
		}
		if neighbours {
			w.source(retrieve.Similar, late, w.similar)
		}
		if q.Picture.Ranking() != nil {
			w.source(retrieve.Near, late, func() { q.FromNear(max(fromEach, 2*count)) })
			w.source(retrieve.Popular, late, func() { q.FromPopular(popularCandidates) })
		}
		w.source(retrieve.Trending, late, func() { q.FromTrending(trendingCandidates) })
		w.source(retrieve.New, late, func() { q.FromNew(newCandidates, w.s.cfg.NewFor.Microseconds(), true) })
	} else {
		w.cold(late)
	}
	if len(q.Candidates) < max(count, 1) || len(q.Vector) == 0 {
		w.source(retrieve.Popular, time.Time{}, func() { q.FromPopular(max(fromModel, 2*count)) })
	}
	w.took(stageRetrieve, began)
	began = time.Now()
	if err := rank.Rank(ctx, q, w.rank, &w.memory); err != nil {
		w.rankerFailed(err)
	}
	w.took(stageRank, began)
}

// similar adds the neighbours of the titles watched last.
func (w *work) similar() {
	subjects := 0
	for i := range w.q.Past {
		p := &w.q.Past[i]
		if subjects == similarSubjects {
			return
		}
		if !p.Watched || p.Disliked || !w.q.Picture.InModel(p.Row) {
			continue
		}
		subjects++
		if _, err := w.q.FromSimilar(p.Row, similarCandidates); err != nil {
			w.modelFailed(err)
			return
		}
	}
}

func requestID() string {
	id, err := uuid.NewV7()
	if err != nil {
		// The system's random source failed; an answer without an id is still an answer.
		return ""
	}
	return id.String()
}
