// Package simulator makes a catalogue and viewers whose tastes are known, so that recommendations can be judged against
// the truth instead of against a log. Nothing but the watch events it makes reveals a taste: a model sees what the
// public contract carries and no more.
//
// A viewer is shown slates and reacts by the position-based model (Richardson, Dominowska and Ragno, "Predicting Clicks: Estimating the
// Click-Through Rate for New Ads", WWW 2007; Chuklin, Markov and de Rijke, "Click Models for Web Search", 2015, section 3.3): the
// title at rank k is clicked with Examination(k) times the chance that the viewer wants it, independently of the rest. Both are known, so
// that the value of any slate is a sum and needs no sampling: see World.SlateValue.
package simulator

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	catalogv1 "marquee/catalog/v1"
	ingestv1 "marquee/ingest/v1"
)

// Config says how large the world is and when it happens.
type Config struct {
	// Seed makes two worlds of the same configuration equal.
	Seed uint64 `json:"seed"`
	// Titles and Viewers are counts, at least 20 and 1.
	Titles  int `json:"titles"`
	Viewers int `json:"viewers"`
	// SessionsPerViewer is the mean number of sessions; viewers differ, with a long tail.
	SessionsPerViewer float64 `json:"sessions_per_viewer"`
	// Start and End bound the simulated time. Tastes drift from one to the other.
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
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

// viewer is a hidden taste and a habit.
type viewer struct {
	// before and after are the tastes at the world's start and end.
	before, after vector
	household     int32
	sessions      int
	patience      float32 // how readily a play is finished, in logits
}

// household is what the profiles of one home share.
type household struct {
	country string
	hour    float64 // preferred hour of the day, UTC
	// screens are what the home has besides a telephone each.
	screens []ingestv1.DeviceClass
}

// World is a simulated catalogue and its viewers. It is safe for concurrent reading.
type World struct {
	cfg        Config
	titles     []title
	public     []*catalogv1.Title
	viewers    []viewer
	households []household
	// exposure is cumulative, for drawing what is put in front of viewers.
	exposure []float64
	// ids are the titles' by number.
	ids     []string
	hermite quadrature
}

// New makes the world that cfg describes.
func New(cfg Config) (*World, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w := &World{cfg: cfg, hermite: newQuadrature()}
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

// householdShare is how much of a taste is the home's.
const householdShare = 0.35

func (w *World) makeViewers() {
	r := w.rng(streamViewers, 0)
	w.viewers = make([]viewer, w.cfg.Viewers)
	left := 0
	var home vector
	for i := range w.viewers {
		if left == 0 {
			// Three homes of ten hold one profile; the mean is 2.3.
			left = []int{1, 1, 1, 2, 2, 2, 3, 3, 4, 4}[r.IntN(10)]
			w.households = append(w.households, newHousehold(r))
			home = mixture(r, 1+r.IntN(2))
		}
		left--
		taste := blend(&home, new(mixture(r, 1+r.IntN(3))), householdShare)
		w.viewers[i] = viewer{
			before: taste, after: drifted(r, &taste), household: int32(len(w.households) - 1),
			// A geometric count with the configured mean: most watch little, a few watch every day.
			sessions: 1 + int(math.Log(1-r.Float64())/math.Log(1-1/math.Max(w.cfg.SessionsPerViewer, 1.0001))),
			patience: float32(r.NormFloat64() * 0.4),
		}
	}
}

func newHousehold(r *rand.Rand) household {
	h := household{
		country: []string{"DE", "FR", "GB", "IN", "US"}[r.IntN(5)],
		hour:    math.Mod(19+r.NormFloat64()*3+24, 24),
		screens: []ingestv1.DeviceClass{ingestv1.DeviceClass_DEVICE_CLASS_TV},
	}
	for _, d := range []ingestv1.DeviceClass{ingestv1.DeviceClass_DEVICE_CLASS_TABLET, ingestv1.DeviceClass_DEVICE_CLASS_DESKTOP, ingestv1.DeviceClass_DEVICE_CLASS_CONSOLE} {
		if r.IntN(3) == 0 {
			h.screens = append(h.screens, d)
		}
	}
	return h
}

// device is what the home watches on at an hour of the day: the screens in the evening, telephones by day.
func (h *household) device(r *rand.Rand, hour int) ingestv1.DeviceClass {
	screen := 0.3
	if hour >= 18 || hour < 1 {
		screen = 0.8
	}
	if r.Float64() < screen {
		return h.screens[r.IntN(len(h.screens))]
	}
	return ingestv1.DeviceClass_DEVICE_CLASS_PHONE
}

// Config is what the world was made of.
func (w *World) Config() Config { return w.cfg }

// Titles is the public catalogue. Every name says that the title is simulated. The caller must not change it.
func (w *World) Titles() []*catalogv1.Title { return w.public }

// Viewers is the number of viewers.
func (w *World) Viewers() int { return len(w.viewers) }

// Household is the number of the home that viewer v lives in; its viewers follow each other.
func (w *World) Household(v int) int { return int(w.viewers[v].household) }

// Country is where viewer v lives: ISO 3166-1 alpha-2.
func (w *World) Country(v int) string { return w.households[w.viewers[v].household].country }

// ProfileID is the profile of viewer v, 0-based.
func ProfileID(v int) string { return numbered("sim:v", v) }

// TitleID is the id of title t, 0-based.
func TitleID(t int) string { return numbered("sim:t", t) }

// numbered is a prefix with a number of at least six digits.
func numbered(prefix string, n int) string {
	const width = 6
	var digits [20]byte
	at := len(digits)
	for ; n > 0 || at > len(digits)-width; n /= 10 {
		at--
		digits[at] = byte('0' + n%10)
	}
	return prefix + string(digits[at:])
}
