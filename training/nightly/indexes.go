package nightly

import (
	"slices"

	"marquee/ann"
	"marquee/ann/coderhnsw"
	"marquee/training/als"
)

// maxProbes is how many profiles the indexes of a release are searched for before it is written.
const maxProbes = 200

// probes is the vectors of up to maxProbes profiles, evenly spread over all that have one.
func probes(m *als.Model) []float32 {
	var out []float32
	n := len(m.Users) / m.Dim
	step := max(1, n/maxProbes)
	for i := 0; i < n && len(out) < maxProbes*m.Dim; i += step {
		v := m.Users[i*m.Dim : (i+1)*m.Dim]
		if slices.ContainsFunc(v, func(x float32) bool { return x != 0 }) {
			out = append(out, v...)
		}
	}
	return out
}

// IndexBuilder is who makes the indexes; see Config.Index.
func IndexBuilder(name string) ann.Builder {
	if name == indexCoder {
		return coderhnsw.Build
	}
	return ann.Build
}
