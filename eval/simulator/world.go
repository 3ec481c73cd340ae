// Package simulator makes a catalogue and viewers whose tastes are known, so that recommendations can be judged against
// the truth instead of against a log. Nothing but the watch events it makes reveals a taste: a model sees what the
// public contract carries and no more.
package simulator

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	catalogv1 "marquee/catalog/v1"
)

// moods is the number of hidden dimensions that tastes and titles live in. Genres are a noisy, public shadow of them.
const moods = 12

// Config says how large the world is and when it happens.
type Config struct {
	// Seed makes two worlds of the same configuration equal.
	Seed uint64
	// Titles and Viewers are counts, at least 20 and 1.
	Titles, Viewers int
	// SessionsPerViewer is the mean number of sessions; viewers differ, with a long tail.
	SessionsPerViewer float64
	// Start and End bound the simulated time.
	Start, End time.Time
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Titles < 20 || c.Titles > 5_000_000 {
		errs = append(errs, fmt.Errorf("simulator titles must be between 20 and 5000000, is %d", c.Titles))
	}
	if c.Viewers < 1 || c.Viewers > 50_000_000 {
		errs = append(errs, fmt.Errorf("simulator viewers must be between 1 and 50000000, is %d", c.Viewers))
	}
	if !(c.SessionsPerViewer > 0 && c.SessionsPerViewer <= 10_000) {
		errs = append(errs, fmt.Errorf("simulator sessions a viewer must be above 0 and at most 10000, is %v", c.SessionsPerViewer))
	}
	if !c.End.After(c.Start) {
		errs = append(errs, fmt.Errorf("simulator end %s must be after its start %s", c.End, c.Start))
	}
	return errors.Join(errs...)
}

type vector [moods]float32

func dot(a, b *vector) float32 {
	var s float32
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

// title is what a viewer reacts to.
type title struct {
	mood     vector
	quality  float32
	runtime  int64 // milliseconds
	exposure float64
}

// viewer is a hidden taste and a habit.
type viewer struct {
	taste    vector
	sessions int
	patience float32 // how readily a play is finished
	hour     float64 // preferred hour of the day, UTC
	country  string
}

// World is a simulated catalogue and its viewers. It is safe for concurrent reading.
type World struct {
	cfg     Config
	titles  []title
	public  []*catalogv1.Title
	viewers []viewer
	// cumulative exposure, for drawing what a viewer happens to see
	exposure []float64
}

// New makes the world that cfg describes.
func New(cfg Config) (*World, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w := &World{cfg: cfg}
	w.makeTitles()
	w.makeViewers()
	return w, nil
}

func (w *World) rng(stream, n int) *rand.Rand {
	return rand.New(rand.NewPCG(w.cfg.Seed, uint64(stream)<<40|uint64(n)))
}

const (
	streamTitles = iota
	streamViewers
	streamHistory
)

func (w *World) makeTitles() {
	r := w.rng(streamTitles, 0)
	n := w.cfg.Titles
	w.titles = make([]title, n)
	w.public = make([]*catalogv1.Title, n)
	w.exposure = make([]float64, n)
	sum := 0.0
	// What is put in front of people follows a power law that has little to do with how good it is.
	rank := r.Perm(n)
	for i := range w.titles {
		t := &w.titles[i]
		t.mood = mixture(r, 1+r.IntN(2))
		t.quality = float32(r.NormFloat64() * 0.5)
		t.runtime = (int64(75) + int64(r.IntN(80))) * time.Minute.Milliseconds()
		t.exposure = 1 / math.Pow(float64(rank[i])+8, 0.8)
		sum += t.exposure
		w.exposure[i] = sum
		w.public[i] = w.describe(r, i)
	}
	for i := range w.exposure {
		w.exposure[i] /= sum
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
	norm := float32(math.Sqrt(float64(dot(&v, &v))))
	for i := range v {
		v[i] /= norm
	}
	return v
}

func (w *World) makeViewers() {
	r := w.rng(streamViewers, 0)
	countries := []string{"DE", "FR", "GB", "IN", "US"}
	w.viewers = make([]viewer, w.cfg.Viewers)
	for i := range w.viewers {
		w.viewers[i] = viewer{
			taste: mixture(r, 1+r.IntN(3)),
			// A geometric count with the configured mean: most watch little, a few watch every day.
			sessions: 1 + int(math.Log(1-r.Float64())/math.Log(1-1/math.Max(w.cfg.SessionsPerViewer, 1.0001))),
			patience: float32(r.NormFloat64() * 0.4),
			hour:     math.Mod(19+r.NormFloat64()*3+24, 24),
			country:  countries[r.IntN(len(countries))],
		}
	}
}

// Titles is the public catalogue. Every name says that the title is simulated. The caller must not change it.
func (w *World) Titles() []*catalogv1.Title { return w.public }

// Viewers is the number of viewers.
func (w *World) Viewers() int { return len(w.viewers) }

// ProfileID is the profile of viewer v, 0-based.
func ProfileID(v int) string { return fmt.Sprintf("sim:v%06d", v) }

// TitleID is the id of title t, 0-based.
func TitleID(t int) string { return fmt.Sprintf("sim:t%06d", t) }

// Affinity is the truth: how much viewer v likes title t, in logits of finishing it once begun.
func (w *World) Affinity(v, t int) float64 {
	return float64(w.affinity(&w.viewers[v], &w.titles[t]))
}

func (w *World) affinity(v *viewer, t *title) float32 {
	return 6*dot(&v.taste, &t.mood) + t.quality - 2.5
}
