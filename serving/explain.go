package serving

import (
	"cmp"
	"context"
	"slices"

	"marquee/serving/rank"
	"marquee/serving/retrieve"
	servingv1 "marquee/serving/v1"
	"marquee/serving/view"
)

// reasons finds what to tell a viewer of a title. What it looks at is gathered at most once a request.
type reasons struct {
	// exact names for every title the release knows the watched title that its score would miss most; otherwise those that were found
	// beside a watched title go by that one, as a row of a page says.
	exact    bool
	gathered bool
	subjects []subject
	missed   []float32 // a vector a subject: what scores would miss without it
	texts    []text
	// failed is why the release could not be asked.
	failed error
}

// text is a reason made already: a row of twenty titles gives one reason twenty times.
type text struct {
	prefix, about, whole string
}

// subject is a watched title that others may be explained by.
type subject struct {
	row         uint32
	interaction int // among those folded in
}

const (
	// maxTexts bounds the reasons that are kept for saying again.
	maxTexts = 64
	// leastMissed is the share of a score that would be missing without a watched title for it to be named; of a long history, twice the
	// share of each if all said as much. It is more than what less regularisation of a shorter history could make up for.
	leastMissed = .05
	// maxSubjects bounds the watched titles that may be named: the latest.
	maxSubjects = 24
)

func (r *reasons) reset() {
	r.exact, r.gathered, r.failed, r.subjects, r.texts = false, false, nil, r.subjects[:0], r.texts[:0]
}

// say joins a prefix and a name, once for each pair.
func (r *reasons) say(prefix, about string) string {
	for i := range r.texts {
		if t := &r.texts[i]; t.about == about && t.prefix == prefix {
			return t.whole
		}
	}
	whole := prefix + about
	if len(r.texts) < maxTexts {
		r.texts = append(r.texts, text{prefix, about, whole})
	}
	return whole
}

// gather picks the latest titles watched for good that may be named: a title's name is not shown to who must not see the title.
func (r *reasons) gather(q *retrieve.Query) {
	r.gathered = true
	next := 0
	for i := range q.Past {
		p := &q.Past[i]
		if next == len(q.Interactions) || len(r.subjects) == maxSubjects {
			break
		}
		// What was folded in is of the past, in its order.
		if q.Interactions[next].Row != p.Row {
			continue
		}
		if p.Watched && q.Interactions[next].Strength > 0 && q.Eligible.Has(p.Row) {
			r.subjects = append(r.subjects, subject{row: p.Row, interaction: next})
		}
		next++
	}
	dim := len(q.Vector)
	r.missed = slices.Grow(r.missed[:0], len(r.subjects)*dim)[:len(r.subjects)*dim]
	for i, s := range r.subjects {
		if r.failed = q.Picture.Bundle.Removal(r.missed[i*dim:(i+1)*dim], q.Vector, q.Interactions[s.interaction], q.Scratch); r.failed != nil {
			r.subjects = r.subjects[:0]
			return
		}
	}
}

// of is the reason in a viewer's words.
func (r *reasons) of(q *retrieve.Query, c *retrieve.Candidate) string {
	switch c.Source {
	case retrieve.ContinueWatching:
		return "Continue watching"
	case retrieve.Trending:
		return "Trending now"
	case retrieve.Popular:
		return "Popular"
	case retrieve.New:
		return "Newly added"
	case retrieve.Similar, retrieve.Genre, retrieve.Content:
		if r.exact && c.Source == retrieve.Similar {
			if row := r.explaining(q, c.Row); row != view.None {
				return r.say("Because you watched ", q.Picture.Title(row).Name)
			}
		}
		if c.Subject != view.None && q.Eligible.Has(c.Subject) {
			return r.like(q, c)
		}
	}
	if c.Source == retrieve.Genre {
		return r.genre(q, c.Row)
	}
	if row := r.explaining(q, c.Row); row != view.None {
		return r.say("Because you watched ", q.Picture.Title(row).Name)
	}
	return "Picked for you"
}

func (r *reasons) like(q *retrieve.Query, c *retrieve.Candidate) string {
	name := q.Picture.Title(c.Subject).Name
	for i := range q.Past {
		if q.Past[i].Row == c.Subject {
			return r.say("Because you watched ", name)
		}
	}
	return r.say("Like ", name)
}

// genre names the title's genre that the profile likes most.
func (r *reasons) genre(q *retrieve.Query, row uint32) string {
	genres := q.Picture.Genres(row)
	if len(genres) == 0 {
		return "Popular"
	}
	if len(q.Affinity) == 0 {
		return r.say("Popular in ", q.Picture.GenreName(genres[0]))
	}
	best := genres[0]
	for _, g := range genres[1:] {
		if q.Affinity[g] > q.Affinity[best] {
			best = g
		}
	}
	return r.say("Because you like ", q.Picture.GenreName(best))
}

// explaining is the one of the titles watched last that a title's score would miss most, or view.None when it would miss none of
// them much. A large part in the score (Hu, Koren and Volinsky 2008, section 5) is not enough to be named: of two watched titles
// that say the same, one may hold the score down.
func (r *reasons) explaining(q *retrieve.Query, row uint32) uint32 {
	if !q.Picture.InModel(row) || len(q.Vector) == 0 {
		return view.None
	}
	if !r.gathered {
		r.gather(q)
	}
	b, dim := q.Picture.Bundle, len(q.Vector)
	least := min(leastMissed, 2/float32(max(len(q.Interactions), 1)))
	best, most := view.None, max(least*b.Score(row, q.Vector), 0)
	for i, s := range r.subjects {
		if missed := b.Score(row, r.missed[i*dim:(i+1)*dim]); missed > most {
			best, most = s.row, missed
		}
	}
	return best
}

// filtered counts what each filter takes out. It is called before the answer's own titles are taken out too.
func (w *work) filtered() map[string]uint32 {
	hard := w.q.Picture.CountFiltered(w.audience)
	out := map[string]uint32{
		"unavailable": uint32(hard.Unavailable),
		"maturity":    uint32(hard.Maturity),
		"entitlement": uint32(hard.Entitlement),
		"seen":        w.q.Excluded.Seen,
		"disliked":    w.q.Excluded.Disliked,
		"just_played": w.q.Excluded.JustPlayed,
		"filter":      uint32(w.q.Refused),
	}
	for name, n := range out {
		if n == 0 {
			delete(out, name)
		}
	}
	return out
}

// maxContributions bounds how many watched titles are named for each answered one.
const maxContributions = 10

// explain says how the list came about.
func (w *work) explain(ctx context.Context, filtered map[string]uint32) *servingv1.Explanation {
	e := &servingv1.Explanation{
		StageMs:       make(map[string]float64),
		Filtered:      filtered,
		HistoryLength: w.q.History.Events,
		Found:         make(map[string]uint32),
		SourceMs:      make(map[string]float64),
	}
	for _, t := range w.times {
		if ms := float64(t.took.Microseconds()) / 1000; t.source {
			e.SourceMs[t.stage] += ms
			e.Found[t.stage] += t.found
		} else {
			e.StageMs[t.stage] += ms
		}
	}
	if len(w.q.Vector) > 0 {
		e.SearchPlan = w.q.Plan.String()
	} else {
		e.SearchPlan = "not searched: nothing the release knows was watched"
	}
	switch {
	case w.q.Ranked:
		e.RankedBy = "ranker"
	case len(w.q.Vector) > 0:
		e.RankedBy = "vectors"
	}
	parts := make([]float32, len(w.q.Interactions))
	for i := range w.items {
		e.Titles = append(e.Titles, w.explainTitle(&w.items[i], parts))
	}
	w.foretell(ctx, e)
	return e
}

// foretell adds what the release's ranker says will become of the titles.
func (w *work) foretell(ctx context.Context, e *servingv1.Explanation) {
	if !w.q.Ranked {
		return
	}
	outcomes, err := w.memory.Outcomes(ctx, &w.q, w.items)
	if err != nil {
		w.rankerFailed(err)
		return
	}
	for i, t := range e.Titles {
		if p := outcomes[2*i]; p == p { // neither is known of a title that the release does not know
			t.PlayProbability, t.WatchedShare = float64(p), float64(outcomes[2*i+1])
		}
	}
}

// explainTitle gives a title's numbers. parts is memory, of one number an interaction.
func (w *work) explainTitle(c *retrieve.Candidate, parts []float32) *servingv1.TitleExplanation {
	p := rank.PartsOf(&w.q, c, w.rank)
	e := &servingv1.TitleExplanation{
		TitleId: w.q.Picture.ID(c.Row), Ranked: w.ranked[c.Row], Propensity: propensity(c),
		Base: float64(p.Base), Trending: float64(p.Trending), Dislike: float64(p.Dislike), Boost: float64(p.Boost),
	}
	if len(w.q.Vector) == 0 || !w.q.Picture.InModel(c.Row) {
		return e
	}
	if err := w.q.Picture.Bundle.Explain(parts, c.Row, w.q.Interactions, w.q.Scratch); err != nil {
		w.modelFailed(err)
		return e
	}
	e.Contributions = w.largest(parts)
	e.ReleaseScore = float64(w.q.Picture.Bundle.Score(c.Row, w.q.Vector))
	e.OtherContributions = e.GetReleaseScore()
	for _, part := range e.GetContributions() {
		e.OtherContributions -= part.GetScore()
	}
	return e
}

// propensity is the chance a title had of its place.
func propensity(c *retrieve.Candidate) float64 {
	if c.Propensity == 0 {
		return 1
	}
	return c.Propensity
}

// rankedAs notes every candidate's place by score, for the explanation.
func (w *work) rankedAs() {
	w.ranked = make(map[uint32]uint32, len(w.q.Candidates))
	for i := range w.q.Candidates {
		w.ranked[w.q.Candidates[i].Row] = uint32(i)
	}
}

// largest names the watched titles with the largest parts, the largest first. Titles that left the catalogue go by their id.
func (w *work) largest(parts []float32) []*servingv1.Contribution {
	order := make([]int, len(parts))
	for i := range order {
		order[i] = i
	}
	size := func(i int) float32 { return max(parts[i], -parts[i]) }
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(size(b), size(a)), cmp.Compare(w.q.Interactions[a].Row, w.q.Interactions[b].Row))
	})
	var out []*servingv1.Contribution
	for _, i := range order[:min(len(order), maxContributions)] {
		row := w.q.Interactions[i].Row
		c := &servingv1.Contribution{TitleId: w.q.Picture.Bundle.TitleID(row), Score: float64(parts[i])}
		if w.q.Picture.Has(row) {
			c.Name = w.q.Picture.Title(row).Name
		}
		out = append(out, c)
	}
	return out
}
