package simulator

import (
	"math"
	"math/rand/v2"
	"time"
)

// moods is the number of hidden dimensions that tastes and titles live in. Genres are a noisy, public shadow of them.
const moods = 12

type vector [moods]float32

func dot(a, b *vector) float32 {
	var s float32
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

// unit makes v's length 1.
func (v *vector) unit() {
	norm := float32(math.Sqrt(float64(dot(v, v))))
	for i := range v {
		v[i] /= norm
	}
}

// mixture draws a unit vector that leans on k moods.
func mixture(r *rand.Rand, k int) vector {
	var v vector
	for range k {
		v[r.IntN(moods)] += 1 + float32(r.Float64())
	}
	for i := range v {
		v[i] += float32(r.NormFloat64()) * 0.15
	}
	v.unit()
	return v
}

// blend is the direction of share*a + (1-share)*b.
func blend(a, b *vector, share float32) vector {
	var v vector
	for i := range v {
		v[i] = share*a[i] + (1-share)*b[i]
	}
	v.unit()
	return v
}

// drift is how far a taste moves towards another mood in the world's time.
const drift = 0.3

func drifted(r *rand.Rand, taste *vector) vector {
	next := mixture(r, 1)
	return blend(&next, taste, drift)
}

// taste is v's taste at an instant.
func (w *World) taste(v *viewer, at time.Time) vector {
	share := float32(at.Sub(w.cfg.Start)) / float32(w.cfg.End.Sub(w.cfg.Start))
	return blend(&v.after, &v.before, min(max(share, 0), 1))
}

// affinity is how much a taste likes a title, in logits of finishing it once begun.
func affinity(taste *vector, t *title) float32 { return 6*dot(taste, &t.mood) + t.quality - 3.2 }

// Affinity is the truth: how much viewer v likes title t at the world's end, in logits of finishing it once begun.
func (w *World) Affinity(v, t int) float64 {
	return float64(affinity(&w.viewers[v].after, &w.titles[t]))
}
