package serving

import (
	"context"
	"errors"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"marquee/serving/retrieve"
	servingv1 "marquee/serving/v1"
	"marquee/serving/v1/servingv1connect"
	"marquee/serving/view"
)

// Admin answers the ServingAdminService's calls.
type Admin struct {
	servingv1connect.UnimplementedServingAdminServiceHandler

	s *Service
}

// ProfileState answers what is held live of a profile.
func (a *Admin) ProfileState(ctx context.Context, req *connect.Request[servingv1.ProfileStateRequest]) (*connect.Response[servingv1.ProfileStateResponse], error) {
	id := req.Msg.GetProfileId()
	if id == "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("profile_id is required"))
	}
	w, err := a.s.begin(ctx, nil, wish{})
	if err != nil {
		return nil, err
	}
	defer w.end()
	q := &w.q
	q.LoadProfile(a.s.store, id)
	out := &servingv1.ProfileStateResponse{
		Known: q.Known, Events: q.History.Events, Watermarks: a.s.follower.Watermarks(), Stale: a.s.follower.Stale(),
		Arms: a.s.shape(&servingv1.Viewer{ProfileId: id}, nil, nil, "").arms,
	}
	for i := range q.History.Entries {
		e := &q.History.Entries[i]
		h := &servingv1.HistoryEntry{
			TitleId: a.s.pictures.ids.Name(e.Title), LastAt: e.LastAt, PlayedAt: e.PlayedAt, Strength: float64(e.Strength),
			Completed: float64(e.Completed), Watched: e.Watched, Abandoned: e.Abandoned, Disliked: e.Disliked, Liked: e.Liked, Listed: e.Listed,
		}
		if row := q.Picture.Row(e.Title); row != view.None && q.Picture.Has(row) {
			h.Name = q.Picture.Title(row).Name
		}
		out.History = append(out.History, h)
	}
	for _, title := range q.History.Seen {
		out.Seen = append(out.Seen, a.s.pictures.ids.Name(title))
	}
	return connect.NewResponse(out), nil
}

// The moments at which an answer in the making is looked at.
const (
	afterWish    = "wish"
	afterHistory = "history"
	afterRank    = "rank"
)

// sighting is what was seen of one title while an answer was made.
type sighting struct {
	id           string
	row          uint32
	eligible     bool // passes the hard filters
	wanted, open bool // open after the request's filter, and after the history
	candidate    retrieve.Candidate
	found        bool
	candidates   int
	leastFound   float32 // the release's score of the last title that als found
	searched     bool
}

// look notes where the title stands.
func (t *sighting) look(w *work, at string) {
	q := &w.q
	switch at {
	case afterWish:
		if t.row = q.Picture.Find(t.id); t.row != view.None && !q.Picture.Has(t.row) {
			t.row = view.None
		}
		if t.row != view.None {
			t.eligible, t.wanted = q.Eligible.Has(t.row), q.Open.Has(t.row)
		}
	case afterHistory:
		t.open = t.row != view.None && q.Open.Has(t.row)
	case afterRank:
		t.candidates = len(q.Candidates)
		for i := range q.Candidates {
			c := &q.Candidates[i]
			if c.Row == t.row {
				t.candidate, t.found = *c, true
			}
			if c.Source != retrieve.ALS || len(q.Vector) == 0 {
				continue
			}
			if s := q.Picture.Bundle.Score(c.Row, q.Vector); !t.searched || s < t.leastFound {
				t.leastFound, t.searched = s, true
			}
		}
	}
}

// WhyTitle answers a request as Recommend does, with an eye on one title.
func (a *Admin) WhyTitle(ctx context.Context, req *connect.Request[servingv1.WhyTitleRequest]) (*connect.Response[servingv1.WhyTitleResponse], error) {
	if req.Msg.GetTitleId() == "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("title_id is required"))
	}
	m, ok := proto.Clone(req.Msg.GetRequest()).(*servingv1.RecommendRequest)
	if !ok || m == nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("request is required"))
	}
	if err := checkViewer(m.GetViewer(), m.GetMinPosition()); err != nil {
		return nil, err
	}
	m.Explain = true
	shape := a.s.shape(m.GetViewer(), m.Diversity, m.Exploration, m.GetBoost())
	t := &sighting{id: req.Msg.GetTitleId(), row: view.None}
	w, filtered, err := a.s.prepare(ctx, m, &shape, t.look)
	if err != nil {
		return nil, err
	}
	defer w.end()
	w.pick(m, &shape)
	out := w.account(ctx, t, filtered)
	out.Arms, out.Degraded, out.BundleId = shape.arms, w.steps(), w.bundleID()
	return connect.NewResponse(out), nil
}

// account says what became of the title in a finished list.
func (w *work) account(ctx context.Context, t *sighting, filtered map[string]uint32) *servingv1.WhyTitleResponse {
	out := &servingv1.WhyTitleResponse{Candidates: uint32(t.candidates), Answered: uint32(len(w.items))}
	if n := len(w.items); n > 0 {
		out.LastScore = float64(w.items[n-1].Score)
	}
	place := slices.IndexFunc(w.items, func(c retrieve.Candidate) bool { return c.Row == t.row })
	if place >= 0 {
		out.Place = proto.Uint32(uint32(place))
	} else {
		out.RemovedAt, out.Reasons = w.removed(t)
	}
	if t.row != view.None && w.q.Picture.InModel(t.row) && len(w.q.Vector) > 0 {
		out.ReleaseScore = proto.Float64(float64(w.q.Picture.Bundle.Score(t.row, w.q.Vector)))
		if t.searched {
			out.LeastFound = proto.Float64(float64(t.leastFound))
		}
	}
	if t.found {
		c := t.candidate
		if place >= 0 {
			c = w.items[place]
		}
		out.Source, out.Reason, out.Score = c.Source.String(), w.reasons.of(&w.q, &c), float64(c.Score)
		// The explanation is of the list the title is in, or would be alone in.
		w.items = append(w.items[:0], c)
	} else {
		w.items = w.items[:0]
	}
	e := w.explain(ctx, filtered)
	out.Found = e.GetFound()
	if len(e.GetTitles()) == 1 {
		if out.Explanation = e.GetTitles()[0]; place < 0 {
			out.Explanation.Propensity = 0
		}
	}
	return out
}

// removed is the stage that took a title out, and why.
func (w *work) removed(t *sighting) (stage string, reasons []string) {
	switch {
	case t.row == view.None:
		return "catalog", []string{"unknown_title"}
	case !t.eligible:
		unavailable, maturity, entitlement := w.q.Picture.Blocked(t.row, w.audience)
		for _, f := range []struct {
			blocks bool
			name   string
		}{{unavailable, "unavailable"}, {maturity, "maturity"}, {entitlement, "entitlement"}} {
			if f.blocks {
				reasons = append(reasons, f.name)
			}
		}
		return stageFilter, reasons
	case !t.wanted:
		return stageFilter, []string{"filter"}
	case !t.open:
		return stageFilter, []string{w.q.RuledOut(t.row)}
	case !t.found && !w.q.Wanted(t.row):
		// A filter on title and viewer together is asked of candidates alone.
		return stageFilter, []string{"filter"}
	case !t.found:
		return stageRetrieve, []string{"not_found"}
	}
	return stageArrange, []string{w.displaced(t)}
}

// displaced is why a candidate is not in the list.
func (w *work) displaced(t *sighting) string {
	at := func(row uint32) int {
		return slices.IndexFunc(w.q.Candidates, func(c retrieve.Candidate) bool { return c.Row == row })
	}
	own, last := at(t.row), -1
	for i := range w.items {
		last = max(last, at(w.items[i].Row))
	}
	switch {
	case own < last:
		return "cold_share" // it was passed over, which happens for nothing else
	case int(w.ranked[t.row]) < len(w.items):
		return "moved_below"
	}
	return "ranked_below"
}
