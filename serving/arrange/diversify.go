package arrange

import "marquee/serving/retrieve"

// spare is how many candidates beyond twice the list's length compete for its places.
const spare = 100

// diversify puts the best candidates in the order of maximal marginal relevance (Carbonell and Goldstein, "The Use of MMR,
// Diversity-Based Reranking for Reordering Documents and Producing Summaries", SIGIR 1998): every place goes to the title with the
// most of (1-diversity) x relevance - diversity x likeness, where relevance is the score on a scale from 0 for the least of those that
// compete to 1 for the best, and likeness, 0 to 1, that to the most alike of the titles before it. Candidates must be ranked.
func diversify(q *retrieve.Query, count int, diversity float32) {
	pool := q.Candidates[:min(len(q.Candidates), 2*count+spare)]
	if len(pool) < 3 || diversity <= 0 {
		return
	}
	best, least := pool[0].Score, pool[len(pool)-1].Score
	scale := float32(0)
	if best > least {
		scale = 1 / (best - least)
	}
	likest := make([]float32, len(pool))
	for place := range min(count, len(pool)) {
		at := place
		most := float32(-2)
		for i := place; i < len(pool); i++ {
			// The first of equals stays first.
			if worth := (1-diversity)*(pool[i].Score-least)*scale - diversity*likest[i]; worth > most {
				at, most = i, worth
			}
		}
		// What was skipped keeps its order.
		c, l := pool[at], likest[at]
		copy(pool[place+1:at+1], pool[place:at])
		copy(likest[place+1:at+1], likest[place:at])
		pool[place], likest[place] = c, l
		for i := place + 1; i < len(pool); i++ {
			likest[i] = max(likest[i], q.Picture.Alike(c.Row, pool[i].Row))
		}
	}
}
