package arrange

import (
	"fmt"
	"math/rand/v2"

	"marquee/serving/retrieve"
)

// explore gives places away by lot. Place after place, of the candidates that are left, the first in order gets it with probability
// 1-share and one drawn evenly from all of them with probability share: an epsilon-greedy choice without replacement (Sutton and
// Barto, "Reinforcement Learning", 2018, 2.2; for slates, Swaminathan et al., "Off-policy Evaluation for Slate Recommendation",
// NeurIPS 2017, whose weights stay bounded because no candidate's chance is ever below share divided by their number). The chance
// each had given those before it is exact, and is kept with it.
//
// Only the first pool candidates take part, and only places from first on are explored; in those before, the first in order stands.
// cold is how many titles unknown to the release may be placed: when they have been, the others go on by themselves.
func explore(q *retrieve.Query, count, cold int, cfg Config, seed uint64) {
	window := q.Candidates[:min(len(q.Candidates), max(cfg.ExplorePool, count))]
	var source rand.PCG
	source.Seed(seed, exploreStream)
	for place := range min(count, len(window)) {
		left := window[place:]
		may := func(c *retrieve.Candidate) bool {
			return q.Open.Has(c.Row) && (cold > 0 || q.Picture.InModel(c.Row))
		}
		first, n := -1, 0
		for i := range left {
			if may(&left[i]) {
				if n++; first < 0 {
					first = i
				}
			}
		}
		if n == 0 {
			return
		}
		at, chance := first, 1.
		if place >= cfg.ExploreFrom {
			// Both numbers are drawn each time, so that one place's draw does not hang on another's outcome.
			lot, which := uniform(&source), int(uniform(&source)*float64(n))
			chance = cfg.Exploration / float64(n)
			if lot < cfg.Exploration {
				at = nth(left, which, may)
			}
			if at == first {
				chance += 1 - cfg.Exploration
			}
		}
		c := left[at]
		c.Propensity = chance
		copy(left[1:at+1], left[:at])
		left[0] = c
		if !q.Picture.InModel(c.Row) {
			cold--
		}
	}
}

// exploreStream keeps these draws apart from others of the same seed.
const exploreStream = 0x9e3779b97f4a7c15

// nth is the index of the n-th candidate, from 0, that may be placed.
func nth(list []retrieve.Candidate, n int, may func(*retrieve.Candidate) bool) int {
	for i := range list {
		if !may(&list[i]) {
			continue
		}
		if n == 0 {
			return i
		}
		n--
	}
	return 0
}

// uniform draws from [0, 1).
func uniform(source *rand.PCG) float64 { return float64(source.Uint64()>>11) / (1 << 53) }

// Policy names how places are given away, as the served log has it.
func (c Config) Policy() string {
	if c.Exploration <= 0 {
		return "greedy"
	}
	return fmt.Sprintf("epsilon_greedy(%g,%d)", c.Exploration, c.ExplorePool)
}
