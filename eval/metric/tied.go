package metric

// TieGroup is a run of titles with one score in a ranking: how many, and how many of them are relevant.
type TieGroup struct{ Size, Relevant int }

// TieList is a ranking as its groups of equal score, best first. It reaches at least as far as the metrics taken of it. The expected
// values are those over all orders of tied titles, in closed form (McSherry and Najork, Computing information retrieval
// performance measures efficiently in the presence of tied scores, 2008).
type TieList []TieGroup

// TieGroups appends the groups of a ranking to dst. scores are those of all titles, masked ones -Inf; list is the top of it,
// best first, as Selector.Top gives it; relevant is sorted ascending. The last group is counted whole, beyond the list's end.
func TieGroups(dst TieList, scores []float32, list, relevant []uint32) TieList {
	for i := 0; i < len(list); {
		g := TieGroup{}
		score := scores[list[i]]
		for i < len(list) && scores[list[i]] == score {
			if contains(relevant, list[i]) {
				g.Relevant++
			}
			g.Size++
			i++
		}
		if i == len(list) {
			g = wholeGroup(scores, score, relevant)
		}
		dst = append(dst, g)
	}
	return dst
}

func wholeGroup(scores []float32, score float32, relevant []uint32) (g TieGroup) {
	for _, s := range scores {
		if s == score {
			g.Size++
		}
	}
	for _, t := range relevant {
		if int64(t) < int64(len(scores)) && scores[t] == score {
			g.Relevant++
		}
	}
	return g
}

// walk calls f for each group that begins within the first k places: before and hits are the places and relevant titles of
// the groups above, take is how many of the group's places are within k.
func (l TieList) walk(k int, f func(g TieGroup, before, hits, take int)) {
	before, hits := 0, 0
	for _, g := range l {
		if before >= k {
			return
		}
		f(g, before, hits, min(g.Size, k-before))
		before += g.Size
		hits += g.Relevant
	}
}

// positions are the places below k at which relevant titles stand, behind (Worst) or before (Best) those they tie with.
func (l TieList) positions(k int, t Ties) []int {
	var out []int
	l.walk(k, func(g TieGroup, before, _, take int) {
		first := before
		if t == Worst {
			first += g.Size - g.Relevant
		}
		for pos := first; pos < first+g.Relevant && pos < before+take; pos++ {
			out = append(out, pos)
		}
	})
	return out
}

// found is the number of relevant titles within the first k, expected or under an order of ties.
func (l TieList) found(k int, t Ties) float64 {
	if t != Expected {
		return float64(len(l.positions(k, t)))
	}
	var sum float64
	l.walk(k, func(g TieGroup, _, _, take int) {
		sum += float64(g.Relevant) * float64(take) / float64(g.Size)
	})
	return sum
}

// Precision is Precision with ties as t says.
func (l TieList) Precision(k int, t Ties) float64 {
	if k < 1 {
		return 0
	}
	return l.found(k, t) / float64(k)
}

// Recall is Recall with ties as t says.
func (l TieList) Recall(relevant, k int, t Ties) float64 {
	if relevant < 1 {
		return 0
	}
	return l.found(k, t) / float64(relevant)
}

// CappedRecall is CappedRecall with ties as t says.
func (l TieList) CappedRecall(relevant, k int, t Ties) float64 {
	if relevant < 1 || k < 1 {
		return 0
	}
	return l.found(k, t) / float64(min(k, relevant))
}

// HitRate is HitRate with ties as t says; expected, it is the probability of a hit.
func (l TieList) HitRate(k int, t Ties) float64 {
	if t != Expected {
		return HitRate(l.positions(k, t), k)
	}
	miss := 1.0
	l.walk(k, func(g TieGroup, _, _, take int) {
		// The probability that take draws of the group without replacement are all irrelevant.
		for i := range take {
			miss *= max(0, float64(g.Size-g.Relevant-i)) / float64(g.Size-i)
		}
	})
	return 1 - miss
}

// NDCG is NDCG with ties as t says.
func (l TieList) NDCG(relevant, k int, t Ties) float64 {
	if t != Expected {
		return NDCG(l.positions(k, t), relevant, k)
	}
	var dcg, ideal float64
	l.walk(k, func(g TieGroup, before, _, take int) {
		p := float64(g.Relevant) / float64(g.Size)
		for i := range take {
			dcg += p * discount(before+i)
		}
	})
	for i := range min(k, relevant) {
		ideal += discount(i)
	}
	if ideal == 0 {
		return 0
	}
	return dcg / ideal
}

// ReciprocalRank is ReciprocalRank with ties as t says.
func (l TieList) ReciprocalRank(k int, t Ties) float64 {
	if t != Expected {
		return ReciprocalRank(l.positions(k, t), k)
	}
	var sum float64
	l.walk(k, func(g TieGroup, before, hits, take int) {
		if hits > 0 {
			return
		}
		none := 1.0 // the probability that no relevant title is among the i places above
		for i := range take {
			p := float64(g.Relevant) / float64(g.Size-i)
			if g.Size-i < g.Relevant {
				p = 1
			}
			sum += none * p / float64(before+i+1)
			none *= max(0, 1-p)
		}
	})
	return sum
}

// AveragePrecision is AveragePrecision with ties as t says.
func (l TieList) AveragePrecision(relevant, k int, t Ties) float64 {
	if t != Expected {
		return AveragePrecision(l.positions(k, t), relevant, k)
	}
	if relevant < 1 || k < 1 {
		return 0
	}
	var sum float64
	l.walk(k, func(g TieGroup, before, hits, take int) {
		p, others := float64(g.Relevant)/float64(g.Size), 0.0
		if g.Size > 1 {
			others = float64(g.Relevant-1) / float64(g.Size-1)
		}
		if g.Relevant == 0 {
			return
		}
		for i := range take {
			sum += p * (float64(hits+1) + float64(i)*others) / float64(before+i+1)
		}
	})
	return sum / float64(min(k, relevant))
}
