package split

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"marquee/eval/metric/judge"
)

// random is a log in which times tie often and pairs repeat.
func random(seed uint64) *Log {
	rng := rand.New(rand.NewPCG(seed, 2))
	l := &Log{Users: 40, Titles: 80}
	for range 900 {
		l.User, l.Title = append(l.User, uint32(rng.IntN(40))), append(l.Title, uint32(rng.IntN(80)))
		l.At = append(l.At, int64(rng.IntN(120)))
	}
	return l
}

func strategies(l *Log) map[string]func() ([]*Split, error) {
	one := func(s *Split, err error) ([]*Split, error) { return []*Split{s}, err }
	released := make([]int64, l.Titles)
	for t := range released {
		released[t] = int64(t)
	}
	return map[string]func() ([]*Split, error){
		"global time": func() ([]*Split, error) { return one(l.GlobalTime(0.8, 3)) },
		"rolling":     func() ([]*Split, error) { return l.Rolling(3, 0.3, 3) },
		"leave last":  func() ([]*Split, error) { return one(l.LeaveLast(2, 3)) },
		"ratio":       func() ([]*Split, error) { return one(l.Ratio(0.2, 3, 5)) },
		"folds":       func() ([]*Split, error) { return l.KFold(4, 3, 5) },
		"cold users":  func() ([]*Split, error) { return one(l.ColdUsers(0.3, 3, 5)) },
		"cold titles": func() ([]*Split, error) { return one(l.ColdTitles(released, 60, 3)) },
	}
}

// TestNoStrategyLeaks: whatever the strategy, a split validates, a pair is on one side, and the same seed gives the same split.
func TestNoStrategyLeaks(t *testing.T) {
	for seed := range uint64(20) {
		l := random(seed)
		for name, make := range strategies(l) {
			splits, err := make()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			again, err := make()
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range splits {
				if err := s.Holdout.Validate(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if s.Holdout.Hash() != again[i].Holdout.Hash() {
					t.Errorf("%s is another split the second time", name)
				}
				for j, u := range s.Holdout.Users {
					for _, title := range s.Holdout.Relevant[j] {
						if s.Fit.Has(int(u), title) {
							t.Errorf("%s: user %d trains on title %d", name, u, title)
						}
					}
				}
			}
		}
	}
}

func TestTimeIsOneCutForEverybody(t *testing.T) {
	l := random(3)
	s, err := l.GlobalTime(0.8, 1)
	if err != nil {
		t.Fatal(err)
	}
	cut := l.quantile(0.8)
	before, after := map[[2]uint32]bool{}, map[[2]uint32]bool{}
	for i := range l.User {
		p := [2]uint32{l.User[i], l.Title[i]}
		if l.At[i] <= cut {
			before[p] = true
		} else {
			after[p] = true
		}
	}
	if s.Fit.NNZ() != len(before) {
		t.Errorf("%d pairs train, %d happened by the cut", s.Fit.NNZ(), len(before))
	}
	n := 0
	for i, u := range s.Holdout.Users {
		for _, title := range s.Holdout.Relevant[i] {
			if p := [2]uint32{u, title}; !after[p] || before[p] {
				t.Errorf("user %d is judged by title %d", u, title)
			}
			n++
		}
	}
	for p := range after {
		if !before[p] && s.Fit.RowLen(int(p[0])) > 0 {
			n--
		}
	}
	if n != 0 {
		t.Errorf("the test has %d titles too many", n)
	}
}

func TestWindowsFollowEachOther(t *testing.T) {
	l := random(4)
	splits, err := l.Rolling(3, 0.3, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(splits); i++ {
		if splits[i].Fit.NNZ() <= splits[i-1].Fit.NNZ() {
			t.Errorf("window %d fits to %d pairs, the one before to %d", i, splits[i].Fit.NNZ(), splits[i-1].Fit.NNZ())
		}
	}
}

func TestTheLogsOrderBreaksTies(t *testing.T) {
	l := &Log{
		Users: 2, Titles: 6,
		User: []uint32{0, 0, 0, 1, 1, 1}, Title: []uint32{3, 1, 2, 0, 4, 5}, At: []int64{5, 7, 7, 1, 2, 3},
	}
	s, err := l.LeaveLast(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Holdout.Relevant[0], []uint32{2}) || !slices.Equal(s.Holdout.Relevant[1], []uint32{5}) {
		t.Errorf("judged by %v", s.Holdout.Relevant)
	}
	if s.Ambiguous != 1 {
		t.Errorf("%d users are ambiguous, want one", s.Ambiguous)
	}
}

func TestRepeatsAreNoTest(t *testing.T) {
	l := &Log{Users: 1, Titles: 3, User: []uint32{0, 0, 0, 0}, Title: []uint32{0, 1, 1, 2}, At: []int64{1, 2, 3, 4}}
	s, err := l.LeaveLast(2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Holdout.Relevant[0], []uint32{2}) || s.Repeats != 1 {
		t.Errorf("judged by %v, %d repeats", s.Holdout.Relevant, s.Repeats)
	}
}

func TestEveryFoldTestsItsShare(t *testing.T) {
	l := random(6)
	splits, err := l.KFold(4, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, s := range splits {
		for _, r := range s.Holdout.Relevant {
			total += len(r)
		}
		total += s.Repeats
	}
	// A title that repeats within a fold of a user counts once there.
	if total < 800 || total > len(l.User) {
		t.Errorf("the folds test %d of %d interactions", total, len(l.User))
	}
}

func TestColdMeansNeverFittedTo(t *testing.T) {
	l := random(7)
	s, err := l.ColdUsers(0.4, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range s.Holdout.Users {
		if s.Fit.RowLen(int(u)) != 0 || s.Holdout.Train.RowLen(int(u)) == 0 {
			t.Errorf("cold user %d: %d fitted to, %d known", u, s.Fit.RowLen(int(u)), s.Holdout.Train.RowLen(int(u)))
		}
	}
	if n := len(s.Holdout.Users); n < 5 || n > 30 {
		t.Errorf("%d of 40 users are cold", n)
	}
	released := make([]int64, l.Titles)
	for i := range released {
		released[i] = int64(i)
	}
	c, err := l.ColdTitles(released, 59, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, title := range c.Fit.Indices {
		if title > 59 {
			t.Fatalf("cold title %d trains", title)
		}
	}
	if len(c.Holdout.Candidates[0]) != 20 {
		t.Errorf("%d titles are ranked, want the 20 cold ones", len(c.Holdout.Candidates[0]))
	}
}

func TestWhatCannotBeSplit(t *testing.T) {
	good := random(1)
	for name, l := range map[string]*Log{
		"empty":   {Users: 1, Titles: 1},
		"lengths": {Users: 1, Titles: 1, User: []uint32{0}, Title: []uint32{0}},
		"user":    {Users: 1, Titles: 1, User: []uint32{1}, Title: []uint32{0}, At: []int64{0}},
		"title":   {Users: 1, Titles: 1, User: []uint32{0}, Title: []uint32{1}, At: []int64{0}},
	} {
		for strategy, make := range strategies(l) {
			if _, err := make(); !errors.Is(err, ErrLog) {
				t.Errorf("%s of a log with wrong %s: %v", strategy, name, err)
			}
		}
	}
	for name, f := range map[string]func() error{
		"share":    func() error { _, err := good.GlobalTime(1, 1); return err },
		"windows":  func() error { _, err := good.Rolling(0, 0.5, 1); return err },
		"none":     func() error { _, err := good.LeaveLast(0, 1); return err },
		"ratio":    func() error { _, err := good.Ratio(0, 1, 1); return err },
		"one fold": func() error { _, err := good.KFold(1, 1, 1); return err },
		"all cold": func() error { _, err := good.ColdUsers(1, 1, 1); return err },
		"dates":    func() error { _, err := good.ColdTitles(nil, 1, 1); return err },
	} {
		if err := f(); !errors.Is(err, ErrLog) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := good.LeaveLast(1, 10_000); !errors.Is(err, judge.ErrSplit) {
		t.Errorf("nobody has enough history: %v", err)
	}
}
