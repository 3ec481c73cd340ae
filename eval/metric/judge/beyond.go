package judge

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"marquee/eval/metric"
)

// Attributes are what titles have, such as genres: Rows is titles x Width, 1 where the title has the attribute and 0 elsewhere.
type Attributes struct {
	Width int
	Rows  []uint8
}

// calibrationAlpha smooths a list's genres (Steck 2018).
const calibrationAlpha = 0.01

func (a *Attributes) validate(titles int) error {
	if a != nil && (a.Width < 1 || len(a.Rows) != titles*a.Width) {
		return fmt.Errorf("attributes: %d values of %d titles, %d wide", len(a.Rows), titles, a.Width)
	}
	return nil
}

// beyond takes what lists are besides accurate: novelty, popularity, serendipity, diversity and miscalibration a user; coverage,
// Gini coefficient and entropy of exposure over all. What a title is in training is its number of users there.
func (j *judgement) beyond(r *Result) {
	users := make([]float32, j.h.Train.Cols)
	for _, t := range j.h.Train.Indices {
		users[t]++
	}
	rank := popularityRank(users)
	for _, k := range j.opts.Cutoffs {
		at := "@" + strconv.Itoa(k)
		take := func(name string, of func(i int, list []uint32) float64) {
			values := make([]float64, len(r.Users))
			for i := range values {
				l := r.List(i)
				values[i] = of(i, l[:min(k, len(l))])
			}
			r.PerUser[name+at], r.Means[name+at] = values, metric.Mean(values)
		}
		take("novelty", func(_ int, l []uint32) float64 { return metric.Novelty(l, users, j.h.Train.Rows) })
		take("popularity", func(_ int, l []uint32) float64 { return metric.RecommendedPopularity(l, users) })
		take("serendipity", func(i int, l []uint32) float64 { return metric.Serendipity(l, j.h.Relevant[i], rank, k) })
		if a := j.opts.Attributes; a != nil {
			distance := metric.Hamming(a.Rows, a.Width)
			take("diversity", func(_ int, l []uint32) float64 { return metric.Diversity(l, distance) })
			take("miscalibration", j.miscalibration)
		}
		seen, exposure := metric.NewCoverage(j.h.Train.Cols), metric.NewExposure(j.h.Train.Cols)
		for i := range r.Users {
			l := r.List(i)
			seen.Add(l[:min(k, len(l))])
			exposure.Add(l[:min(k, len(l))])
		}
		r.Means["coverage"+at], r.Means["gini"+at], r.Means["entropy"+at] = seen.Value(), exposure.Gini(), exposure.Entropy()
	}
}

// popularityRank is each title's rank by users, 1 the most popular; ties share the mean of their ranks.
func popularityRank(users []float32) []float64 {
	order := make([]int, len(users))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(users[b], users[a]) })
	rank := make([]float64, len(users))
	for lo := 0; lo < len(order); {
		hi := lo
		for hi < len(order) && users[order[hi]] == users[order[lo]] {
			hi++
		}
		for _, t := range order[lo:hi] {
			rank[t] = float64(lo+1+hi) / 2
		}
		lo = hi
	}
	return rank
}

// miscalibration compares a list's attributes with the history's. Without attributes in the history there is nothing to keep to
// (0); a list without any is as far away as smoothing lets it be.
func (j *judgement) miscalibration(i int, list []uint32) float64 {
	seen, _ := j.h.Train.Row(int(j.h.Users[i]))
	history, shown := j.opts.Attributes.distribution(seen), j.opts.Attributes.distribution(list)
	if total(history) == 0 {
		return 0
	}
	if total(shown) == 0 {
		return -math.Log(calibrationAlpha)
	}
	v, err := metric.Miscalibration(history, shown, calibrationAlpha)
	if err != nil { // Only of distributions that are empty or of two lengths.
		panic(err)
	}
	return v
}

// distribution is the titles' attributes, each title's weight shared among its own.
func (a *Attributes) distribution(titles []uint32) []float64 {
	out := make([]float64, a.Width)
	for _, t := range titles {
		row := a.Rows[int(t)*a.Width : (int(t)+1)*a.Width]
		n := 0
		for _, v := range row {
			n += int(v)
		}
		for g, v := range row {
			if v > 0 {
				out[g] += 1 / float64(n)
			}
		}
	}
	return out
}

func total(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}
