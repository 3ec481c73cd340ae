package serving

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"connectrpc.com/connect"

	"marquee/serving/arrange"
	"marquee/serving/experiment"
	"marquee/serving/expr"
	"marquee/serving/retrieve"
	"marquee/serving/state"
	servingv1 "marquee/serving/v1"
	"marquee/serving/v1/servingv1connect"
	"marquee/serving/view"
)

// Service answers the RecommendationService's calls.
type Service struct {
	servingv1connect.UnimplementedRecommendationServiceHandler

	cfg          Config
	clock        state.Clock
	store        *state.Store
	follower     *state.Follower
	pictures     *pictures
	entitlements EntitlementReader
	expressions  *expr.Compiler
	experiments  []experiment.Experiment
	served       ServedLog // nil: answers are not logged
	log          *slog.Logger
	metrics      *metrics
	pool         sync.Pool
}

const (
	defaultCount   = 20
	defaultRows    = 10
	defaultRowSize = 20
	// The contract's limits, which validation in front of the service holds too.
	maxCount     = 500
	maxRows      = 50
	maxRowSize   = 100
	maxPositions = 4096
)

func limited(v, otherwise, most uint32) int {
	if v == 0 {
		v = otherwise
	}
	return int(min(v, most))
}

func checkViewer(v *servingv1.Viewer, positions []*servingv1.Position) error {
	switch {
	case v.GetProfileId() == "":
		return connect.NewError(connect.CodeInvalidArgument, errors.New("viewer.profile_id is required"))
	case len(positions) > maxPositions:
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("min_position has %d entries, at most %d", len(positions), maxPositions))
	}
	return nil
}

// wish is what a caller's expressions ask for; each is nil where there is none.
type wish struct {
	filter *expr.Filter
	boost  *expr.Boost
}

// wish compiles a caller's expressions.
func (s *Service) wish(filter, boost string) (w wish, err error) {
	if filter != "" {
		if w.filter, err = s.expressions.Filter(filter); err != nil {
			return w, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("filter: %w", err))
		}
	}
	if boost != "" {
		if w.boost, err = s.expressions.Boost(boost); err != nil {
			return w, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("boost: %w", err))
		}
	}
	return w, nil
}

// Recommend answers one list of titles for a profile.
func (s *Service) Recommend(ctx context.Context, req *connect.Request[servingv1.RecommendRequest]) (*connect.Response[servingv1.RecommendResponse], error) {
	s.metrics.requests.WithLabelValues("Recommend").Inc()
	m := req.Msg
	if err := checkViewer(m.GetViewer(), m.GetMinPosition()); err != nil {
		return nil, err
	}
	shape := s.shape(m.GetViewer(), m.Diversity, m.Exploration, m.GetBoost())
	s.countArms(&shape)
	w, filtered, err := s.prepare(ctx, m, &shape, nil)
	if err != nil {
		return nil, err
	}
	defer w.end()
	began := time.Now()
	w.pick(m, &shape)
	resp := &servingv1.RecommendResponse{RequestId: requestID(), BundleId: w.bundleID(), Arms: shape.arms}
	resp.Titles = w.recommendations(w.items)
	w.took(stageArrange, began)
	if m.GetExplain() {
		resp.Explanation = w.explain(ctx, filtered)
	}
	resp.Degraded = w.steps()
	if s.served != nil {
		record := w.record("Recommend", resp.GetRequestId(), m.GetViewer(), &shape, resp.GetDegraded())
		record.Rows = []*servingv1.ServedRow{w.servedRow(listKind, "", w.items)}
		s.served.Append(record)
	}
	return connect.NewResponse(resp), nil
}

// prepare ranks a list's candidates, of which pick takes the answer. look, which may be nil, is called as each stage ends. The filters'
// counts are nil unless an explanation was asked for. The caller calls end.
func (s *Service) prepare(ctx context.Context, m *servingv1.RecommendRequest, shape *shape, look func(*work, string)) (*work, map[string]uint32, error) {
	wish, err := s.wish(m.GetFilter(), shape.boost)
	if err != nil {
		return nil, nil, err
	}
	current, err := s.await(ctx, m.GetMinPosition())
	if err != nil {
		return nil, nil, err
	}
	w, err := s.begin(ctx, m.GetViewer(), wish)
	if err != nil {
		return nil, nil, err
	}
	if look != nil {
		look(w, afterWish)
	}
	w.load(m.GetViewer().GetProfileId(), current)
	if look != nil {
		look(w, afterHistory)
	}
	w.reasons.exact = true
	var filtered map[string]uint32
	if m.GetExplain() {
		filtered = w.filtered()
	}
	w.rank = shape.rank
	w.candidates(ctx, listCount(m), shape.candidates, shape.candidates, true)
	if m.GetExplain() {
		w.rankedAs()
	}
	if look != nil {
		look(w, afterRank)
	}
	return w, filtered, nil
}

// pick makes the list.
func (w *work) pick(m *servingv1.RecommendRequest, shape *shape) {
	w.items = arrange.List(w.items, &w.q, listCount(m), shape.arrange, w.seed(m.GetViewer().GetProfileId()))
}

func listCount(m *servingv1.RecommendRequest) int {
	return limited(m.GetCount(), defaultCount, maxCount)
}

// SimilarTitles answers the titles nearest to one title.
func (s *Service) SimilarTitles(ctx context.Context, req *connect.Request[servingv1.SimilarTitlesRequest]) (*connect.Response[servingv1.SimilarTitlesResponse], error) {
	s.metrics.requests.WithLabelValues("SimilarTitles").Inc()
	m := req.Msg
	wish, err := s.wish(m.GetFilter(), "")
	if err != nil {
		return nil, err
	}
	w, err := s.begin(ctx, m.GetViewer(), wish)
	if err != nil {
		return nil, err
	}
	defer w.end()
	subject := w.q.Picture.Find(m.GetTitleId())
	if subject == view.None || !w.q.Picture.Has(subject) {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("title %q is not in the catalogue", m.GetTitleId()))
	}
	if id := m.GetViewer().GetProfileId(); id != "" {
		w.q.ExcludeDisliked(s.store, id)
	}
	count := limited(m.GetCount(), defaultCount, maxCount)
	began := time.Now()
	known, err := w.q.FromSimilar(subject, count)
	if err != nil {
		w.modelFailed(err)
	}
	if !known {
		if w.q.Picture.Bundle != nil && err == nil {
			w.degrade(TitleNotInModel)
		}
		w.q.FromContent(subject, count)
		if len(w.q.Candidates) == 0 {
			w.q.Open.Clear(subject)
			w.q.FromPopular(count)
		}
	}
	w.took(stageRetrieve, began)
	resp := &servingv1.SimilarTitlesResponse{RequestId: requestID(), BundleId: w.bundleID()}
	resp.Titles = w.recommendations(w.q.Candidates)
	resp.Degraded = w.steps()
	return connect.NewResponse(resp), nil
}

// HomePage answers the rows of a home page.
func (s *Service) HomePage(ctx context.Context, req *connect.Request[servingv1.HomePageRequest]) (*connect.Response[servingv1.HomePageResponse], error) {
	s.metrics.requests.WithLabelValues("HomePage").Inc()
	m := req.Msg
	if err := checkViewer(m.GetViewer(), m.GetMinPosition()); err != nil {
		return nil, err
	}
	shape := s.shape(m.GetViewer(), m.Diversity, m.Exploration, m.GetBoost())
	s.countArms(&shape)
	wish, err := s.wish(m.GetFilter(), shape.boost)
	if err != nil {
		return nil, err
	}
	current, err := s.await(ctx, m.GetMinPosition())
	if err != nil {
		return nil, err
	}
	w, err := s.begin(ctx, m.GetViewer(), wish)
	if err != nil {
		return nil, err
	}
	defer w.end()
	w.load(m.GetViewer().GetProfileId(), current)
	settings := arrange.Settings{
		Rows:    limited(m.GetRows(), defaultRows, maxRows),
		RowSize: limited(m.GetRowSize(), defaultRowSize, maxRowSize),
		NewFor:  s.cfg.NewFor.Microseconds(),
		Rank:    shape.rank,
		Seed:    w.seed(m.GetViewer().GetProfileId()),
	}
	w.rank = shape.rank
	w.candidates(ctx, settings.RowSize, shape.pageCandidates, shape.candidates, false)
	began := time.Now()
	w.page.Build(&w.q, settings, shape.arrange)
	if w.page.Failed != nil {
		w.modelFailed(w.page.Failed)
	}
	resp := &servingv1.HomePageResponse{RequestId: requestID(), BundleId: w.bundleID(), Rows: w.rows(), Arms: shape.arms}
	w.took(stageArrange, began)
	resp.Degraded = w.steps()
	if s.served != nil {
		record := w.record("HomePage", resp.GetRequestId(), m.GetViewer(), &shape, resp.GetDegraded())
		for i, r := range resp.GetRows() {
			record.Rows = append(record.Rows, w.servedRow(r.GetKind(), r.GetSubject(), w.page.Items[w.page.Rows[i].From:w.page.Rows[i].To]))
		}
		s.served.Append(record)
	}
	return connect.NewResponse(resp), nil
}

// rows writes the page's rows. All their titles share one allocation, and so do the rows.
func (w *work) rows() []*servingv1.Row {
	titles := w.recommendations(w.page.Items)
	rows := make([]servingv1.Row, len(w.page.Rows))
	out := make([]*servingv1.Row, len(rows))
	for i := range rows {
		r := &w.page.Rows[i]
		rows[i].Kind = r.Kind
		rows[i].Heading, rows[i].Subject = w.heading(r)
		rows[i].Titles = titles[r.From:r.To:r.To]
		out[i] = &rows[i]
	}
	return out
}

func (w *work) heading(r *arrange.Row) (heading, subject string) {
	switch r.Kind {
	case arrange.ContinueWatching:
		return "Continue watching", ""
	case arrange.TopPicks:
		if r.Popular {
			return "Popular now", ""
		}
		return "Top picks for you", ""
	case arrange.BecauseYouWatched:
		t := w.q.Picture.Title(r.Subject)
		return "Because you watched " + t.Name, t.ID
	case arrange.Trending:
		return "Trending now", ""
	case arrange.New:
		return "Newly added", ""
	case arrange.Genre:
		name := w.q.Picture.GenreName(uint16(r.Genre))
		return name, name
	}
	return "", ""
}

// recommendations writes the candidates as the contract has them.
func (w *work) recommendations(items []retrieve.Candidate) []*servingv1.Recommendation {
	titles := make([]servingv1.Recommendation, len(items))
	out := make([]*servingv1.Recommendation, len(items))
	for i := range items {
		c := &items[i]
		t := w.q.Picture.Title(c.Row)
		r := &titles[i]
		r.TitleId, r.Name, r.Year, r.Genres = t.ID, t.Name, t.Year, t.Genres
		r.Score = float64(c.Score)
		r.Reason = w.reasons.of(&w.q, c)
		r.Source = c.Source.String()
		out[i] = r
		w.s.metrics.shown[c.Source].Inc()
	}
	if w.reasons.failed != nil {
		w.modelFailed(w.reasons.failed)
		w.reasons.failed = nil
	}
	return out
}
