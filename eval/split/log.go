// Package split cuts a log of interactions into what a model may see and what it is judged by. Each strategy answers another
// question: time cuts, what the service would have got right on the day; leave-last, what comes next; ratio and folds,
// what is missing from a history (they leak the future, and belong beside a time cut, never in its place); cold users and
// titles, what a model does for those it has not met.
package split

import (
	"errors"
	"fmt"
	"slices"

	"marquee/eval/metric/judge"
	"marquee/internal/sparse"
)

// ErrLog is wrapped by every error about a log or about what is asked of it.
var ErrLog = errors.New("cannot split")

// Log is interactions by column, in the order in which they were recorded. Where times tie, that order decides: a re-sort
// would make "the last title" another one for every user whose timestamps tie.
type Log struct {
	Users, Titles int // numbers of rows and columns
	User, Title   []uint32
	At            []int64   // microseconds since the Unix epoch
	Value         []float32 // strengths; nil means 1 everywhere
}

// Validate reports a log that cannot be split.
func (l *Log) Validate() error {
	n := len(l.User)
	if n == 0 {
		return fmt.Errorf("%w: the log is empty", ErrLog)
	}
	if len(l.Title) != n || len(l.At) != n || l.Value != nil && len(l.Value) != n {
		return fmt.Errorf("%w: %d users, %d titles, %d times and %d values, want as many of each", ErrLog, n, len(l.Title), len(l.At), len(l.Value))
	}
	for i := range n {
		if int64(l.User[i]) >= int64(l.Users) || int64(l.Title[i]) >= int64(l.Titles) {
			return fmt.Errorf("%w: interaction %d is of user %d of %d and title %d of %d", ErrLog, i, l.User[i], l.Users, l.Title[i], l.Titles)
		}
	}
	return nil
}

// Split is a log that was cut.
type Split struct {
	// Fit is what models are fitted to. Holdout.Train may hold more: the histories of users that are cold.
	Fit     *sparse.CSR
	Holdout *judge.Holdout
	// Ambiguous is the number of users whose last train and first test interaction have one time, so that only the log's order
	// told them apart.
	Ambiguous int
	// Repeats is the number of interactions left out of the test side because the pair is in train already.
	Repeats int
}

// order is the numbers of the log's interactions by time, ties in the log's order.
func (l *Log) order() []int {
	out := make([]int, len(l.User))
	for i := range out {
		out[i] = i
	}
	slices.SortStableFunc(out, func(a, b int) int {
		switch {
		case l.At[a] < l.At[b]:
			return -1
		case l.At[a] > l.At[b]:
			return 1
		}
		return 0
	})
	return out
}

// histories are the numbers of each user's interactions by time.
func (l *Log) histories() [][]int {
	out := make([][]int, l.Users)
	for _, i := range l.order() {
		out[l.User[i]] = append(out[l.User[i]], i)
	}
	return out
}

// side says where an interaction goes.
type side uint8

const (
	dropped side = iota
	trains
	known // of a user that is judged, but not fitted to
	tests
)

// assemble makes the split of an assignment, for users with minTrain known titles or more.
func (l *Log) assemble(assigned []side, minTrain int) (*Split, error) {
	var fit, seen triplets
	test := make([][]uint32, l.Users)
	last, first := make([]int64, l.Users), make([]int64, l.Users)
	for _, i := range l.order() {
		u := l.User[i]
		switch assigned[i] {
		case trains:
			fit.add(l, i)
			seen.add(l, i)
			last[u] = l.At[i]
		case known:
			seen.add(l, i)
			last[u] = l.At[i]
		case tests:
			if len(test[u]) == 0 {
				first[u] = l.At[i]
			}
			test[u] = append(test[u], l.Title[i])
		}
	}
	s := &Split{Holdout: &judge.Holdout{}}
	var err error
	if s.Fit, err = fit.matrix(l); err != nil {
		return nil, err
	}
	if s.Holdout.Train, err = seen.matrix(l); err != nil {
		return nil, err
	}
	if s.Fit.NNZ() == 0 {
		return nil, fmt.Errorf("%w: nothing is left to fit to", ErrLog)
	}
	for u, list := range test {
		if s.Holdout.Train.RowLen(u) < minTrain || len(list) == 0 {
			continue
		}
		slices.Sort(list)
		list = slices.Compact(list)
		n := len(list)
		list = slices.DeleteFunc(list, func(t uint32) bool { return s.Holdout.Train.Has(u, t) })
		s.Repeats += n - len(list)
		if len(list) == 0 {
			continue
		}
		s.Holdout.Users, s.Holdout.Relevant = append(s.Holdout.Users, uint32(u)), append(s.Holdout.Relevant, list)
		if s.Holdout.Train.RowLen(u) > 0 && last[u] == first[u] {
			s.Ambiguous++
		}
	}
	if err := s.Holdout.Validate(); err != nil {
		return nil, err
	}
	return s, nil
}

type triplets struct {
	row, col []uint32
	val      []float32
}

func (t *triplets) add(l *Log, i int) {
	v := float32(1)
	if l.Value != nil {
		v = l.Value[i]
	}
	t.row, t.col, t.val = append(t.row, l.User[i]), append(t.col, l.Title[i]), append(t.val, v)
}

func (t *triplets) matrix(l *Log) (*sparse.CSR, error) {
	m, err := sparse.FromTriplets(l.Users, l.Titles, t.row, t.col, t.val, sparse.Max)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLog, err)
	}
	return m, nil
}
