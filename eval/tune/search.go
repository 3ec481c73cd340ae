// Package tune searches hyper-parameters on a validation split: seeded, within a budget of time, and stopping early what falls
// behind. It never sees a test split; the objective is made of what trains.
package tune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Range is one hyper-parameter's: Low to High, on a logarithmic scale where Log, and whole numbers where Whole.
type Range struct {
	Name       string
	Low, High  float64
	Log, Whole bool
}

// Space is the hyper-parameters searched together.
type Space []Range

// Params are values by name.
type Params map[string]float64

// Validate reports ranges that make no space.
func (s Space) Validate() error {
	var errs []error
	seen := map[string]bool{}
	for _, r := range s {
		if seen[r.Name] || r.Name == "" {
			errs = append(errs, fmt.Errorf("hyper-parameter %q is named twice or not at all", r.Name))
		}
		seen[r.Name] = true
		if !(r.Low < r.High) || math.IsInf(r.High-r.Low, 0) || r.Log && r.Low <= 0 {
			errs = append(errs, fmt.Errorf("%s: %g to %g is no range", r.Name, r.Low, r.High))
		}
	}
	if len(s) == 0 {
		errs = append(errs, errors.New("there is nothing to search"))
	}
	return errors.Join(errs...)
}

// at is the point of the unit cube in the parameters' own scales.
func (s Space) at(unit []float64) Params {
	p := Params{}
	for i, r := range s {
		v := r.Low + unit[i]*(r.High-r.Low)
		if r.Log {
			v = math.Exp(math.Log(r.Low) + unit[i]*(math.Log(r.High)-math.Log(r.Low)))
		}
		if r.Whole {
			v = math.Round(v)
		}
		p[r.Name] = v
	}
	return p
}

// unit is the inverse of at, clipped to the cube.
func (s Space) unit(p Params) []float64 {
	out := make([]float64, len(s))
	for i, r := range s {
		v := (p[r.Name] - r.Low) / (r.High - r.Low)
		if r.Log {
			v = (math.Log(max(p[r.Name], r.Low)) - math.Log(r.Low)) / (math.Log(r.High) - math.Log(r.Low))
		}
		out[i] = min(max(v, 0), 1)
	}
	return out
}

// Report tells the search a trial's score after a round of its training (an epoch), higher being better. It answers whether to
// go on; a trial that is told not to returns.
type Report func(round int, score float64) (goOn bool)

// Objective trains with the parameters and reports scores. What it returns as an error ends the search.
type Objective func(ctx context.Context, p Params, report Report) error

// Trial is what came of one set of parameters.
type Trial struct {
	Params Params  `json:"params"`
	Score  float64 `json:"score"`
	// Round is the one with that score: train so long.
	Round   int     `json:"round"`
	Stopped bool    `json:"stopped,omitempty"` // for falling behind
	Seconds float64 `json:"seconds"`

	curve map[int]float64
}

// Options bound a search.
type Options struct {
	// Budget is the wall-clock time after which no trial begins; one that is under way may go on to half as long again as the
	// budget and is then cut off.
	Budget time.Duration
	// Trials bounds their number; 0 means the budget alone does.
	Trials int
	Seed   uint64
	// First are tried before anything else, such as the defaults.
	First []Params
	// Reserve is how many times as long as a trial Climb leaves of the budget, for a last training with what was found.
	Reserve float64
	// Done, where set, is told of each trial.
	Done func(Trial)
}

// Patience is how many rounds in a row a trial may fail to improve before it is over.
const patience = 2

// Search tries parameters until the budget is spent and returns the trials, best first. The first are those given, then points
// spread evenly (Halton 1960, shifted by the seed), and every other one after the eighth is near the best. A trial is
// stopped once its score falls below the median of earlier trials at the same round (Golovin et al., Google Vizier, 2017).
// With an error, such as that of a cancelled context, come the trials made until then.
func Search(ctx context.Context, s Space, f Objective, o Options) ([]Trial, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	if o.Budget <= 0 && o.Trials <= 0 {
		return nil, errors.New("search: give a budget of time or a number of trials")
	}
	start := time.Now()
	if o.Budget > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.Budget+o.Budget/2, errOver)
		defer cancel()
	}
	g := newGenerator(s, o)
	var trials []Trial
	for len(trials) == 0 || (o.Trials <= 0 || len(trials) < o.Trials) && (o.Budget <= 0 || time.Since(start) < o.Budget) {
		t, err := try(ctx, f, g.next(trials), func(score float64, round int) bool { return behind(score, round, trials) })
		if err != nil && errors.Is(context.Cause(ctx), errOver) {
			err = nil // The trial keeps what it reported.
			if len(t.curve) == 0 {
				break
			}
		}
		if err != nil {
			return best(trials), fmt.Errorf("search: try %v: %w", t.Params, err)
		}
		trials = append(trials, t)
		if o.Done != nil {
			o.Done(t)
		}
	}
	if len(trials) == 0 {
		return nil, fmt.Errorf("search: the budget of %v is too short for one round of one trial", o.Budget)
	}
	return best(trials), nil
}

// best puts the trials in order, best first.
func best(trials []Trial) []Trial {
	slices.SortStableFunc(trials, func(a, b Trial) int { return cmp.Compare(b.Score, a.Score) })
	return trials
}

var errOver = errors.New("the search's time is over")

// try makes a trial; stop says whether a score at a round has fallen behind.
func try(ctx context.Context, f Objective, p Params, stop func(score float64, round int) bool) (Trial, error) {
	t := Trial{Params: maps.Clone(p), Score: math.Inf(-1), curve: map[int]float64{}}
	start := time.Now()
	worse := 0
	err := f(ctx, p, func(round int, score float64) bool {
		if math.IsNaN(score) {
			score = math.Inf(-1)
		}
		t.curve[round] = score
		if score > t.Score {
			t.Score, t.Round, worse = score, round, 0
		} else {
			worse++
		}
		t.Stopped = stop(score, round)
		return !t.Stopped && worse < patience && ctx.Err() == nil
	})
	t.Seconds = time.Since(start).Seconds()
	return t, err
}

// behind reports whether a score is below the median of earlier trials at that round, four or more having got so far.
func behind(score float64, round int, before []Trial) bool {
	var others []float64
	for _, t := range before {
		if v, ok := t.curve[round]; ok {
			others = append(others, v)
		}
	}
	if len(others) < 4 {
		return false
	}
	slices.Sort(others)
	return score < others[len(others)/2]
}

// generator proposes points of the unit cube.
type generator struct {
	space Space
	first []Params
	rng   *rand.Rand
	shift []float64
	n     int
}

func newGenerator(s Space, o Options) *generator {
	g := &generator{space: s, first: o.First, rng: rand.New(rand.NewPCG(o.Seed, 0x74756e65))}
	for range s {
		g.shift = append(g.shift, g.rng.Float64())
	}
	return g
}

func (g *generator) next(done []Trial) Params {
	if len(g.first) > 0 {
		p := g.first[0]
		g.first = g.first[1:]
		return p
	}
	unit := make([]float64, len(g.space))
	if len(done) >= 8 && len(done)%2 == 0 {
		best := slices.MaxFunc(done, func(a, b Trial) int { return cmp.Compare(a.Score, b.Score) })
		reach := 0.25 / math.Sqrt(float64(len(done))/8)
		for i, at := range g.space.unit(best.Params) {
			unit[i] = min(max(at+g.rng.NormFloat64()*reach, 0), 1)
		}
		return g.space.at(unit)
	}
	g.n++
	for i := range unit {
		_, unit[i] = math.Modf(halton(g.n, prime(i)) + g.shift[i])
	}
	return g.space.at(unit)
}

// halton is the radical inverse of n in a base.
func halton(n, base int) float64 {
	out, f := 0.0, 1/float64(base)
	for ; n > 0; n /= base {
		out += float64(n%base) * f
		f /= float64(base)
	}
	return out
}

// prime is the i-th prime number, from 0.
func prime(i int) int {
	for p := 2; ; p++ {
		isPrime := true
		for d := 2; d*d <= p; d++ {
			isPrime = isPrime && p%d != 0
		}
		if isPrime {
			if i == 0 {
				return p
			}
			i--
		}
	}
}
