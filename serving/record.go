package serving

import (
	"marquee/serving/rank"
	"marquee/serving/retrieve"
	servingv1 "marquee/serving/v1"
)

// ServedLog takes down what was answered. Append must neither wait nor fail an answer.
type ServedLog interface {
	Append(*servingv1.Served)
}

// listKind is the kind of the one row of Recommend in the served log.
const listKind = "list"

// record begins an answer's entry in the served log.
func (w *work) record(rpc, requestID string, viewer *servingv1.Viewer, s *shape, degraded []string) *servingv1.Served {
	return &servingv1.Served{
		RequestId: requestID, ProfileId: viewer.GetProfileId(), At: w.audience.Now, Rpc: rpc, BundleId: w.bundleID(),
		Policy: s.arrange.Policy(), Arms: s.arms, Country: viewer.GetCountry(), DeviceClass: viewer.GetDeviceClass(), Degraded: degraded,
		HistoryLength: w.q.History.Events,
	}
}

// servedFeatures are the features that the served log has of every title.
func servedFeatures() []string { return []string{"trending", "liking", "in_release"} }

// servedRow is a row's entry.
func (w *work) servedRow(kind, subject string, items []retrieve.Candidate) *servingv1.ServedRow {
	names := servedFeatures()
	r := &servingv1.ServedRow{
		Kind: kind, Subject: subject, FeatureNames: names,
		TitleIds: make([]string, len(items)), Scores: make([]float32, len(items)), Sources: make([]string, len(items)),
		Propensities: make([]float64, len(items)), Features: make([]float32, 0, len(items)*len(names)),
	}
	for i := range items {
		c := &items[i]
		known := float32(0)
		if w.q.Picture.InModel(c.Row) {
			known = 1
		}
		r.TitleIds[i], r.Scores[i], r.Sources[i], r.Propensities[i] = w.q.Picture.ID(c.Row), c.Score, c.Source.String(), propensity(c)
		r.Features = append(r.Features, w.q.TrendScore(c.Row), rank.Liking(&w.q, c.Row), known)
	}
	return r
}
