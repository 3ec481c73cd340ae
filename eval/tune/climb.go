package tune

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Ladder is a hyper-parameter that makes a model dearer and, up to a point, better, such as a dimension. What else is good changes
// little from one value to the next, so it is searched where trials are cheap and carried upwards.
type Ladder struct {
	Name   string
	Values []float64 // ascending
}

const (
	// firstShare is the share of the budget that the search on the first rung may take, and firstTrials its largest number.
	firstShare, firstTrials = 0.3, 32
	// worthIt is how much better a rung must be for the next one to be tried, as a share of the score.
	worthIt = 0.003
	// firstStep is how far around the best a rung is looked at, in sides of the unit cube; lastStep is too near to matter.
	firstStep, lastStep = 0.1, 0.02
	// far is how much a trial may lie behind the best of its rung at the same round, as a share of the score.
	far = 0.03
)

// Climb searches s on the first rung of the ladder, then goes up for as long as scores grow and the budget allows, beginning on each
// rung at the best point of the one below, and spends what is left around the best point of the best rung, by pattern search
// (Hooke and Jeeves 1961). It returns the trials, best first; their parameters hold the ladder's value as well. No trial runs beyond
// the budget: one that is under way is cut off and counts for what it reported. With an error, such as that of a cancelled
// context, come the trials made until then.
func Climb(ctx context.Context, s Space, l Ladder, f Objective, o Options) ([]Trial, error) {
	if err := errors.Join(s.Validate(), l.validate(s)); err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	if o.Budget <= 0 && o.Trials <= 0 {
		return nil, errors.New("search: give a budget of time or a number of trials")
	}
	c := &climber{ctx: ctx, space: s, ladder: l, f: f, o: o, start: time.Now(), rungs: make([][]Trial, len(l.Values))}
	err := c.climb()
	trials := best(slices.Concat(c.rungs...))
	switch {
	case errors.Is(err, errOver) && len(trials) > 0:
		err = nil
	case errors.Is(err, errOver):
		err = fmt.Errorf("the budget of %v is too short for one round of one trial", o.Budget)
	}
	if err != nil {
		return trials, fmt.Errorf("search: %w", err)
	}
	return trials, nil
}

func (l Ladder) validate(s Space) error {
	if len(l.Values) == 0 || !slices.IsSorted(l.Values) || l.Values[0] <= 0 || len(slices.Compact(slices.Clone(l.Values))) < len(l.Values) {
		return fmt.Errorf("%s: %v is no ladder, want values above 0 that ascend", l.Name, l.Values)
	}
	if l.Name == "" || slices.ContainsFunc(s, func(r Range) bool { return r.Name == l.Name }) {
		return fmt.Errorf("hyper-parameter %q is named twice or not at all", l.Name)
	}
	return nil
}

type climber struct {
	ctx    context.Context
	space  Space
	ladder Ladder
	f      Objective
	o      Options
	start  time.Time
	rungs  [][]Trial // in the order they were made
	made   int
}

func (c *climber) climb() error {
	if err := c.first(); err != nil {
		return err
	}
	top := 0
	for rung := 1; rung < len(c.rungs) && c.affords(rung); rung++ {
		before := c.best(top)
		if err := c.try(rung, before.Params); err != nil {
			return err
		}
		// What was best below may not be best here: look around before the rung is judged.
		if !c.better(rung, top) && c.affords(rung) {
			if err := c.refine(rung, 2*len(c.space)); err != nil {
				return err
			}
		}
		if !c.better(rung, top) {
			break
		}
		top = rung
	}
	for rung := range c.rungs {
		if len(c.rungs[rung]) > 0 && c.best(rung).Score > c.best(top).Score {
			top = rung
		}
	}
	return c.refine(top, math.MaxInt)
}

// first searches the whole space on the lowest rung.
func (c *climber) first() error {
	g := newGenerator(c.space, c.o)
	for n := 0; n < firstTrials; n++ {
		if n > 0 && (c.spent() || c.o.Budget > 0 && time.Since(c.start) > time.Duration(firstShare*float64(c.o.Budget))) {
			return nil
		}
		if err := c.try(0, g.next(c.rungs[0])); err != nil {
			return err
		}
	}
	return nil
}

// refine looks around the best point of a rung, at most so many times, until nothing nearby is better or the budget is spent.
func (c *climber) refine(rung, moves int) error {
	for step := firstStep; step >= lastStep; step /= 2 {
		for improved := true; improved; {
			improved = false
			for i := range c.space {
				for _, sign := range []float64{1, -1} {
					p, fresh := c.move(rung, i, sign*step)
					if !fresh {
						continue
					}
					if moves == 0 || c.spent() || !c.affords(rung) {
						return nil
					}
					moves--
					before := c.best(rung).Score
					if err := c.try(rung, p); err != nil {
						return err
					}
					improved = improved || c.best(rung).Score > before
				}
			}
		}
	}
	return nil
}

// move is the point one step from the rung's best, and whether it was not tried yet.
func (c *climber) move(rung, dimension int, step float64) (Params, bool) {
	unit := c.space.unit(c.best(rung).Params)
	unit[dimension] = min(max(unit[dimension]+step, 0), 1)
	p := c.space.at(unit)
	return p, !slices.ContainsFunc(c.rungs[rung], func(t Trial) bool {
		for i, u := range c.space.unit(t.Params) {
			if math.Abs(u-unit[i]) > lastStep/4 {
				return false
			}
		}
		return true
	})
}

func (c *climber) try(rung int, p Params) error {
	p = maps.Clone(p)
	p[c.ladder.Name] = c.ladder.Values[rung]
	ctx := c.ctx
	if c.o.Budget > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, c.start.Add(c.o.Budget-c.reserve(rung)), errOver)
		defer cancel()
	}
	stop := func(score float64, round int) bool {
		if rung == 0 {
			return behind(score, round, c.rungs[0])
		}
		return c.farBehind(rung, score, round)
	}
	t, err := try(ctx, c.f, p, stop)
	over := ctx.Err() != nil && errors.Is(context.Cause(ctx), errOver)
	if len(t.curve) > 0 && (err == nil || ctx.Err() != nil) {
		c.rungs[rung] = append(c.rungs[rung], t)
		c.made++
		if c.o.Done != nil {
			c.o.Done(t)
		}
	}
	switch {
	case over && err != nil:
		return errOver
	case err != nil:
		return fmt.Errorf("try %v: %w", t.Params, err)
	}
	return nil
}

// farBehind compares with the rung's best at the same round. A first round says too little.
func (c *climber) farBehind(rung int, score float64, round int) bool {
	if len(c.rungs[rung]) == 0 {
		return false
	}
	curve := c.best(rung).curve
	at, ok := curve[round]
	first := math.MaxInt
	for r := range curve {
		first = min(first, r)
	}
	return ok && round > first && score < at-far*math.Abs(at)
}

// best is the best trial of a rung that has one.
func (c *climber) best(rung int) Trial {
	return slices.MaxFunc(c.rungs[rung], func(a, b Trial) int {
		switch {
		case a.Score < b.Score:
			return -1
		case a.Score > b.Score:
			return 1
		}
		return 0
	})
}

// better reports whether a rung is better than a lower one by enough to go on.
func (c *climber) better(rung, than int) bool {
	if len(c.rungs[rung]) == 0 {
		return false
	}
	old := c.best(than).Score
	return c.best(rung).Score > old+worthIt*math.Abs(old)
}

// spent reports whether no more trials may be made.
func (c *climber) spent() bool {
	return c.o.Trials > 0 && c.made >= c.o.Trials || c.o.Budget > 0 && time.Since(c.start) >= c.o.Budget
}

// affords reports whether there is time for a trial on the rung and what comes after it.
func (c *climber) affords(rung int) bool {
	if c.spent() {
		return false
	}
	left := c.o.Budget - time.Since(c.start)
	return c.o.Budget <= 0 || left >= c.takes(rung)+c.reserve(rung)
}

// reserve is what must be left of the budget after the last trial, should the rung be the best.
func (c *climber) reserve(rung int) time.Duration {
	if rung == 0 && len(c.rungs[0]) == 0 {
		return 0
	}
	return time.Duration(c.o.Reserve * float64(c.takes(rung)))
}

// takes is how long a trial on the rung takes: its longest yet or, before the first, the last rung's by the growth of the ladder.
func (c *climber) takes(rung int) time.Duration {
	longest := 0.0
	for _, t := range c.rungs[rung] {
		longest = max(longest, t.Seconds)
	}
	if longest > 0 || rung == 0 {
		return time.Duration(longest * float64(time.Second))
	}
	below := c.takes(rung - 1)
	ratio := c.ladder.Values[rung] / c.ladder.Values[rung-1]
	growth := ratio * ratio
	if rung > 1 && c.takes(rung-2) > 0 {
		growth = min(max(1.2*float64(below)/float64(c.takes(rung-2)), ratio), ratio*ratio*ratio)
	}
	return time.Duration(growth * float64(below))
}
