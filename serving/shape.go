package serving

import (
	"encoding/binary"
	"hash/fnv"

	"marquee/serving/arrange"
	servingv1 "marquee/serving/v1"
)

// kidsAge is the highest limit of age whose viewers count as children whoever asks for them says so or not.
const kidsAge = 12

// isKids says whether a profile is a child's, which is never explored.
func isKids(v *servingv1.Viewer) bool {
	return v.GetKids() || v != nil && v.MaxMaturityAge != nil && v.GetMaxMaturityAge() <= kidsAge
}

// arrangement is how answers are shaped, with what a request says of it. Validation in front of the service bounds what it says.
func (s *Service) arrangement(viewer *servingv1.Viewer, diversity, exploration *float64) arrange.Config {
	cfg := s.cfg.Arrange
	if diversity != nil {
		cfg.Diversity = min(max(*diversity, 0), 1)
	}
	if exploration != nil {
		cfg.Exploration = min(max(*exploration, 0), 1)
	}
	if isKids(viewer) {
		cfg.Exploration = 0
	}
	return cfg
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
