package split

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// GlobalTime cuts everybody's history at one instant: the share q of the interactions, in order of time, trains, and equal times
// are on one side (the train side). Users with minTrain titles before the cut are judged by the new titles after it.
func (l *Log) GlobalTime(q float64, minTrain int) (*Split, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	if !(q > 0 && q < 1) {
		return nil, fmt.Errorf("%w: the share before the cut must be between 0 and 1, is %g", ErrLog, q)
	}
	return l.cutAt(l.quantile(q), math.MaxInt64, minTrain)
}

// quantile is the time of interaction number ceil(q*n).
func (l *Log) quantile(q float64) int64 {
	times := slices.Clone(l.At)
	slices.Sort(times)
	return times[min(max(int(math.Ceil(q*float64(len(times)))), 1), len(times))-1]
}

// cutAt trains on what happened up to an instant and tests on what happened after it up to another.
func (l *Log) cutAt(cut, end int64, minTrain int) (*Split, error) {
	assigned := make([]side, len(l.User))
	for i, at := range l.At {
		switch {
		case at <= cut:
			assigned[i] = trains
		case at <= end:
			assigned[i] = tests
		}
	}
	return l.assemble(assigned, minTrain)
}

// Rolling cuts n times, the windows of test between the cuts covering the last share of the interactions evenly: a model is fitted
// anew for each, to everything before it. Windows in which nobody can be judged are an error.
func (l *Log) Rolling(n int, share float64, minTrain int) ([]*Split, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	if n < 1 || !(share > 0 && share < 1) {
		return nil, fmt.Errorf("%w: want 1 window or more and a share between 0 and 1, have %d and %g", ErrLog, n, share)
	}
	var out []*Split
	for w := range n {
		cut := l.quantile(1 - share + share*float64(w)/float64(n))
		end := int64(math.MaxInt64)
		if w+1 < n {
			end = l.quantile(1 - share + share*float64(w+1)/float64(n))
		}
		s, err := l.cutAt(cut, end, minTrain)
		if err != nil {
			return nil, fmt.Errorf("window %d of %d: %w", w+1, n, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// LeaveLast tests on each user's last n interactions, where minTrain or more are left to train. Where times tie, the log's
// order decides, and Ambiguous counts the users for whom it did.
func (l *Log) LeaveLast(n, minTrain int) (*Split, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, fmt.Errorf("%w: leave 1 interaction or more out, not %d", ErrLog, n)
	}
	assigned := make([]side, len(l.User))
	for _, h := range l.histories() {
		for at, i := range h {
			assigned[i] = trains
			if len(h)-at <= n && len(h)-n >= minTrain {
				assigned[i] = tests
			}
		}
	}
	return l.assemble(assigned, minTrain)
}

// Ratio tests on a share of every user's interactions, rounded down, drawn by chance.
func (l *Log) Ratio(share float64, minTrain int, seed uint64) (*Split, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	if !(share > 0 && share < 1) {
		return nil, fmt.Errorf("%w: the share tested must be between 0 and 1, is %g", ErrLog, share)
	}
	assigned := make([]side, len(l.User))
	for u, h := range l.histories() {
		shuffle(h, seed, u)
		test := int(share * float64(len(h)))
		for at, i := range h {
			assigned[i] = trains
			if at < test {
				assigned[i] = tests
			}
		}
	}
	return l.assemble(assigned, minTrain)
}

func shuffle(h []int, seed uint64, user int) {
	rng := rand.New(rand.NewPCG(seed, uint64(user)))
	rng.Shuffle(len(h), func(i, j int) { h[i], h[j] = h[j], h[i] })
}

// KFold deals every user's interactions into k parts by chance and tests on each in turn.
func (l *Log) KFold(k, minTrain int, seed uint64) ([]*Split, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	if k < 2 {
		return nil, fmt.Errorf("%w: want 2 folds or more, not %d", ErrLog, k)
	}
	fold := make([]int, len(l.User))
	for u, h := range l.histories() {
		shuffle(h, seed, u)
		for at, i := range h {
			fold[i] = (at + u) % k // Users with few interactions do not all fill the same folds.
		}
	}
	var out []*Split
	for f := range k {
		assigned := make([]side, len(l.User))
		for i := range assigned {
			assigned[i] = trains
			if fold[i] == f {
				assigned[i] = tests
			}
		}
		s, err := l.assemble(assigned, minTrain)
		if err != nil {
			return nil, fmt.Errorf("fold %d of %d: %w", f+1, k, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// ColdUsers keeps a share of the users from being fitted to at all. They are judged by the later half of their interactions, the
// earlier half being known of them.
func (l *Log) ColdUsers(share float64, minTrain int, seed uint64) (*Split, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	if !(share > 0 && share < 1) {
		return nil, fmt.Errorf("%w: the share of cold users must be between 0 and 1, is %g", ErrLog, share)
	}
	assigned := make([]side, len(l.User))
	for u, h := range l.histories() {
		cold := rand.New(rand.NewPCG(seed, uint64(u))).Float64() < share
		for at, i := range h {
			switch {
			case !cold:
				assigned[i] = trains
			case 2*at < len(h):
				assigned[i] = known
			default:
				assigned[i] = tests
			}
		}
	}
	return l.assemble(assigned, minTrain)
}

// ColdTitles keeps the titles released after an instant from being fitted to: released holds a time for each title, in
// microseconds since the Unix epoch. Users with minTrain older titles are judged by the new ones alone, and only those are ranked.
func (l *Log) ColdTitles(released []int64, after int64, minTrain int) (*Split, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	if len(released) != l.Titles {
		return nil, fmt.Errorf("%w: %d release dates for %d titles", ErrLog, len(released), l.Titles)
	}
	assigned := make([]side, len(l.User))
	for i, t := range l.Title {
		assigned[i] = trains
		if released[t] > after {
			assigned[i] = tests
		}
	}
	s, err := l.assemble(assigned, minTrain)
	if err != nil {
		return nil, err
	}
	var cold []uint32
	for t, at := range released {
		if at > after {
			cold = append(cold, uint32(t))
		}
	}
	for range s.Holdout.Users {
		s.Holdout.Candidates = append(s.Holdout.Candidates, cold)
	}
	return s, s.Holdout.Validate()
}
