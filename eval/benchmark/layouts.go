package benchmark

import (
	"fmt"
	"strings"

	"marquee/eval/metric/judge"
	"marquee/internal/sparse"
)

// loadLightGCN reads train.txt and test.txt: a line a user, the user's number and then the titles', all from 0. All titles
// are ranked, those of train masked.
func loadLightGCN(dir string) (*Benchmark, error) {
	var train pairs
	test := holdout{}
	read := func(name string, f func(u, t uint32)) error {
		return readLines(dir, name, func(fields []string) error {
			u, err := id("user", fields[0], 0)
			if err != nil {
				return err
			}
			for _, s := range fields[1:] {
				t, err := id("title", s, 0)
				if err != nil {
					return err
				}
				f(u, t)
			}
			return nil
		}, " \t")
	}
	if err := read("train.txt", train.add); err != nil {
		return nil, err
	}
	tested := 0
	if err := read("test.txt", func(u, t uint32) {
		train.meet(u, t)
		test[u] = append(test[u], t)
		tested++
	}); err != nil {
		return nil, err
	}
	m, repeats, err := train.matrix(train.users, train.titles)
	if err != nil {
		return nil, err
	}
	b := &Benchmark{Fit: m, Holdout: &judge.Holdout{Train: m}, Cutoffs: []int{10, 20, 50}}
	b.Holdout.Users, b.Holdout.Relevant = test.lists()
	b.noteRepeats("train.txt", repeats)
	for _, l := range b.Holdout.Relevant {
		tested -= len(l)
	}
	b.noteRepeats("test.txt", tested)
	return b, nil
}

func (b *Benchmark) noteRepeats(name string, n int) {
	if n > 0 {
		b.Notes = append(b.Notes, fmt.Sprintf("%s repeats %d pairs; each counts once", name, n))
	}
}

// loadNCF reads train.tsv (user, title, position in time, ascending within a user), ml-1m.test.rating (user, title, …) and
// ml-1m.test.negative ("(user,title)" and the sampled others); numbers from 0. A test title that is among its own negatives
// is ranked once.
func loadNCF(dir string) (*Benchmark, error) {
	var train pairs
	if err := readLines(dir, "train.tsv", func(fields []string) error {
		if len(fields) < 2 {
			return fmt.Errorf("%w: want user and title, has %d fields", ErrFormat, len(fields))
		}
		u, err := id("user", fields[0], 0)
		if err != nil {
			return err
		}
		t, err := id("title", fields[1], 0)
		if err != nil {
			return err
		}
		train.add(u, t)
		return nil
	}, " \t"); err != nil {
		return nil, err
	}
	test := holdout{}
	if err := readLines(dir, "ml-1m.test.rating", func(fields []string) error {
		if len(fields) < 2 {
			return fmt.Errorf("%w: want user and title, has %d fields", ErrFormat, len(fields))
		}
		u, err := id("user", fields[0], 0)
		if err != nil {
			return err
		}
		t, err := id("title", fields[1], 0)
		if err != nil {
			return err
		}
		if len(test[u]) > 0 {
			return fmt.Errorf("%w: a second test title of user %d", ErrFormat, u)
		}
		train.meet(u, t)
		test[u] = []uint32{t}
		return nil
	}, " \t"); err != nil {
		return nil, err
	}
	b := &Benchmark{Cutoffs: []int{10}}
	candidates, err := readNegatives(dir, test, &train, b)
	if err != nil {
		return nil, err
	}
	m, repeats, err := train.matrix(train.users, train.titles)
	if err != nil {
		return nil, err
	}
	b.noteRepeats("train.tsv", repeats)
	b.Fit, b.Holdout = m, &judge.Holdout{Train: m}
	b.Holdout.Users, b.Holdout.Relevant = test.lists()
	var lists [][]uint32
	if users, l := candidates.lists(); len(users) == len(b.Holdout.Users) {
		lists = l
	} else {
		return nil, fmt.Errorf("%w: %d users in ml-1m.test.rating and %d in ml-1m.test.negative", ErrFormat, len(b.Holdout.Users), len(users))
	}
	b.Holdout.Candidates = lists
	b.Sequences = sequences(&train)
	return b, nil
}

// readNegatives reads the candidates of each test user, its test title among them.
func readNegatives(dir string, test holdout, train *pairs, b *Benchmark) (holdout, error) {
	candidates, own := holdout{}, 0
	err := readLines(dir, "ml-1m.test.negative", func(fields []string) error {
		user, title, ok := strings.Cut(strings.Trim(fields[0], "()"), ",")
		if !ok {
			return fmt.Errorf("%w: begins with %q, want (user,title)", ErrFormat, fields[0])
		}
		u, err := id("user", user, 0)
		if err != nil {
			return err
		}
		t, err := id("title", title, 0)
		if err != nil {
			return err
		}
		if len(test[u]) != 1 || test[u][0] != t {
			return fmt.Errorf("%w: negatives for title %d of user %d, whose test title is %v", ErrFormat, t, u, test[u])
		}
		candidates[u] = append(candidates[u], t)
		for _, s := range fields[1:] {
			n, err := id("title", s, 0)
			if err != nil {
				return err
			}
			if n == t {
				own++
			}
			train.meet(u, n)
			candidates[u] = append(candidates[u], n)
		}
		return nil
	}, " \t")
	if own > 0 {
		b.Notes = append(b.Notes, fmt.Sprintf("%d test titles are among their own sampled others; each is ranked once", own))
	}
	return candidates, err
}

// sequences are the pairs by user, in the order they were added.
func sequences(p *pairs) [][]uint32 {
	out := make([][]uint32, p.users)
	for i, u := range p.user {
		out[u] = append(out[u], p.title[i])
	}
	return out
}

// loadSASRec reads train_input.txt, test_input.txt and test_output.txt: a line a user, titles from 1 in order of time. Models are
// fitted to train_input; test_input is what is known of the user before the title of the same line of test_output. All
// titles are ranked, those of test_input masked.
func loadSASRec(dir string) (*Benchmark, error) {
	fit, err := readSequences(dir, "train_input.txt")
	if err != nil {
		return nil, err
	}
	known, err := readSequences(dir, "test_input.txt")
	if err != nil {
		return nil, err
	}
	target, err := readSequences(dir, "test_output.txt")
	if err != nil {
		return nil, err
	}
	if len(known) != len(fit) || len(target) != len(fit) {
		return nil, fmt.Errorf("%w: %d lines in train_input.txt, %d in test_input.txt and %d in test_output.txt, want as many in each", ErrFormat, len(fit), len(known), len(target))
	}
	titles := 0
	for _, s := range [][][]uint32{fit, known, target} {
		for _, l := range s {
			for _, t := range l {
				titles = max(titles, int(t)+1)
			}
		}
	}
	b := &Benchmark{Sequences: known, Cutoffs: []int{10}, Holdout: &judge.Holdout{}}
	if b.Fit, err = sequenceMatrix(fit, titles); err != nil {
		return nil, err
	}
	if b.Holdout.Train, err = sequenceMatrix(known, titles); err != nil {
		return nil, err
	}
	test := holdout{}
	for u, l := range target {
		if len(l) != 1 {
			return nil, fmt.Errorf("test_output.txt:%d: %w: %d titles, want one", u+1, ErrFormat, len(l))
		}
		test[uint32(u)] = l
	}
	b.Holdout.Users, b.Holdout.Relevant = test.lists()
	return b, nil
}

func readSequences(dir, name string) ([][]uint32, error) {
	var out [][]uint32
	err := readLines(dir, name, func(fields []string) error {
		l := make([]uint32, 0, len(fields))
		for _, s := range fields {
			t, err := id("title", s, 1)
			if err != nil {
				return err
			}
			l = append(l, t)
		}
		out = append(out, l)
		return nil
	}, " \t")
	return out, err
}

func sequenceMatrix(seqs [][]uint32, titles int) (*sparse.CSR, error) {
	var p pairs
	for u, l := range seqs {
		for _, t := range l {
			p.add(uint32(u), t)
		}
	}
	m, _, err := p.matrix(len(seqs), titles)
	return m, err
}
