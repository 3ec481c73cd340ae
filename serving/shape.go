package serving

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

	"marquee/serving/arrange"
	"marquee/serving/experiment"
	"marquee/serving/expr"
	"marquee/serving/rank"
	servingv1 "marquee/serving/v1"
)

// kidsAge is the highest limit of age whose viewers count as children whoever asks for them says so or not.
const kidsAge = 12

// isKids says whether a profile is a child's, which is never explored.
func isKids(v *servingv1.Viewer) bool {
	return v.GetKids() || v != nil && v.MaxMaturityAge != nil && v.GetMaxMaturityAge() <= kidsAge
}

// shape is how one answer is made: as the service is set up, as the profile's arms of experiments say, and as the request does, the
// later over the earlier.
type shape struct {
	arrange                    arrange.Config
	rank                       rank.Config
	candidates, pageCandidates int
	boost                      string
	// arms are nil while no experiment runs.
	arms map[string]string
}

// shape decides how a request is answered. Validation in front of the service bounds what it says.
func (s *Service) shape(viewer *servingv1.Viewer, diversity, exploration *float64, boost string) shape {
	out := shape{arrange: s.cfg.Arrange, rank: s.cfg.Rank, candidates: s.cfg.Candidates, pageCandidates: s.cfg.PageCandidates}
	if len(s.experiments) > 0 {
		out.arms = make(map[string]string, len(s.experiments))
	}
	for i := range s.experiments {
		e := &s.experiments[i]
		arm := e.Arm(viewer.GetProfileId())
		out.arms[e.Name] = arm.Name
		out.apply(&arm.Settings)
	}
	if diversity != nil {
		out.arrange.Diversity = min(max(*diversity, 0), 1)
	}
	if exploration != nil {
		out.arrange.Exploration = min(max(*exploration, 0), 1)
	}
	if isKids(viewer) {
		out.arrange.Exploration = 0
	}
	if boost != "" {
		out.boost = boost
	}
	return out
}

// countArms counts an answer by its arms.
func (s *Service) countArms(of *shape) {
	for name, arm := range of.arms {
		s.metrics.arms.WithLabelValues(name, arm).Inc()
	}
}

// apply makes an arm's changes.
func (s *shape) apply(a *experiment.Settings) {
	for _, f := range []struct{ from, to *float64 }{
		{a.Diversity, &s.arrange.Diversity}, {a.Exploration, &s.arrange.Exploration}, {a.ColdShare, &s.arrange.ColdShare},
		{a.TrendingBoost, &s.rank.TrendingBoost},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if a.Candidates != nil {
		s.candidates, s.pageCandidates = *a.Candidates, *a.Candidates
	}
	if a.Boost != "" {
		s.boost = a.Boost
	}
}

// experiments reads the configured ones, and refuses a boost that is no expression.
func experiments(texts []string, compiler *expr.Compiler) ([]experiment.Experiment, error) {
	all, err := experiment.ParseAll(texts)
	if err != nil {
		return nil, fmt.Errorf("serving.experiments: %w", err)
	}
	for _, e := range all {
		for _, arm := range e.Arms {
			if arm.Boost == "" {
				continue
			}
			if _, err := compiler.Boost(arm.Boost); err != nil {
				return nil, fmt.Errorf("serving.experiments: %s: arm %s: boost: %w", e.Name, arm.Name, err)
			}
		}
	}
	return all, nil
}

// seed is what exploration draws from: the profile and its epoch, the last thing it did. Until it does something else it is given
// the same page, and what it does not look at does not change under its eyes.
func (w *work) seed(profileID string) uint64 {
	h := fnv.New64a()
	var b [12]byte
	binary.LittleEndian.PutUint32(b[:4], w.q.History.Events)
	if entries := w.q.History.Entries; len(entries) > 0 {
		binary.LittleEndian.PutUint64(b[4:], uint64(entries[0].LastAt))
	}
	h.Write([]byte(profileID))
	h.Write(b[:])
	return h.Sum64()
}
