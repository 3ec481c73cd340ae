package benchmark

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"marquee/eval/metric/judge"
	"marquee/internal/testkit"
)

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func small(format string) map[string]string {
	return map[string]map[string]string{
		"lightgcn": {"train.txt": "0 1 2\n1 0 2 2\n2 3\n", "test.txt": "0 3 0\n1 1\n2\n"},
		"ncf": {
			"train.tsv": "#user\titem\tposition\n0\t2\t0\n0\t1\t1\n1\t0\t0\n", "ml-1m.test.rating": "0\t3\t5\t978824351\n1\t2\t3\t978300174\n",
			"ml-1m.test.negative": "(0,3)\t0\t3\t5\n(1,2)\t1\t4\t5\n",
		},
		"sasrec": {"train_input.txt": "3 1\n2\n", "test_input.txt": "3 1 4\n2 3\n", "test_output.txt": "2\n4\n"},
	}[format]
}

func TestSmallSplits(t *testing.T) {
	type want struct {
		users, titles, fit, known int
		relevant                  [][]uint32
		candidates                [][]uint32
		sequence                  []uint32
		notes                     int
	}
	for format, w := range map[string]want{
		"lightgcn": {3, 4, 5, 5, [][]uint32{{0, 3}, {1}}, nil, nil, 1},
		"ncf":      {2, 6, 3, 3, [][]uint32{{3}, {2}}, [][]uint32{{0, 3, 5}, {1, 2, 4, 5}}, []uint32{2, 1}, 1},
		"sasrec":   {2, 4, 3, 5, [][]uint32{{1}, {3}}, nil, []uint32{2, 0, 3}, 0},
	} {
		t.Run(format, func(t *testing.T) {
			b, err := Load(format, folder(t, small(format)))
			if err != nil {
				t.Fatal(err)
			}
			if got := (want{b.Fit.Rows, b.Fit.Cols, b.Fit.NNZ(), b.Holdout.Train.NNZ(), nil, nil, nil, len(b.Notes)}); got.users != w.users || got.titles != w.titles || got.fit != w.fit || got.known != w.known || got.notes != w.notes {
				t.Errorf("%+v, want %+v; notes %v", got, w, b.Notes)
			}
			same := func(a, b [][]uint32) bool { return slices.EqualFunc(a, b, slices.Equal[[]uint32]) }
			if !same(b.Holdout.Relevant, w.relevant) || !same(b.Holdout.Candidates, w.candidates) {
				t.Errorf("relevant %v, candidates %v", b.Holdout.Relevant, b.Holdout.Candidates)
			}
			if w.sequence != nil && !slices.Equal(b.Sequences[0], w.sequence) {
				t.Errorf("sequence %v, want %v", b.Sequences[0], w.sequence)
			}
		})
	}
}

// TestWhatIsNoSplit spoils one file at a time: the error says where, and what would be right.
func TestWhatIsNoSplit(t *testing.T) {
	for _, c := range []struct{ format, file, text, want string }{
		{"lightgcn", "train.txt", "0 1 x\n", `train.txt:1: not in this layout: title "x" is not a whole number from 0`},
		{"lightgcn", "train.txt", "0 1\n-1 2\n", `train.txt:2: not in this layout: user "-1"`},
		{"lightgcn", "train.txt", "0 1\n\n2 1\n", "train.txt:2: not in this layout: an empty line"},
		{"lightgcn", "train.txt", "0 99999999999\n", `title "99999999999"`},
		{"lightgcn", "train.txt", "", "train.txt: not in this layout: it is empty"},
		{"lightgcn", "test.txt", "0 1\n", "leaks: user 0 has title 1 in train and in test"},
		{"lightgcn", "test.txt", "0\n", "nobody to judge by"},
		{"ncf", "train.tsv", "0\n", "want user and title, has 1 fields"},
		{"ncf", "ml-1m.test.rating", "0\t3\n0\t4\n", "a second test title of user 0"},
		{"ncf", "ml-1m.test.negative", "(0,4)\t1\n", "negatives for title 4 of user 0, whose test title is [3]"},
		{"ncf", "ml-1m.test.negative", "0 4\t1\n", "want (user,title)"},
		{"ncf", "ml-1m.test.negative", "(0,3)\t0\n", "2 users in ml-1m.test.rating and 1 in ml-1m.test.negative"},
		{"sasrec", "train_input.txt", "0 1\n2\n", `title "0" is not a whole number from 1`},
		{"sasrec", "test_output.txt", "2\n", "want as many in each"},
		{"sasrec", "test_output.txt", "2 1\n1\n", "test_output.txt:1: not in this layout: 2 titles, want one"},
		{"sasrec", "test_output.txt", "1\n4\n", "leaks: user 0 has title 0"},
	} {
		files := small(c.format)
		files[c.file] = c.text
		if _, err := Load(c.format, folder(t, files)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s %q: %v, want %q", c.format, c.file, c.text, err, c.want)
		}
	}
	if _, err := Load("lightgcn", t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := Load("csv", "."); err == nil || !strings.Contains(err.Error(), "lightgcn, ncf, sasrec") {
		t.Errorf("an unknown format: %v", err)
	}
}

// TestThePublishedSplits holds what is read to the published sizes.
func TestThePublishedSplits(t *testing.T) {
	for _, c := range []struct {
		format, dir                     string
		users, titles, fit, test, tests int
	}{
		{"lightgcn", "gowalla", 29858, 40981, 810128, 217242, 29858},
		{"ncf", "ncf-ml-1m", 6040, 3706, 994169, 6040, 6040},
		{"sasrec", "ml-1m-gsasrec", 6040, 3416, 987019, 6040, 6040},
	} {
		t.Run(c.dir, func(t *testing.T) {
			b, err := Load(c.format, testkit.DataDir(t, c.dir))
			if err != nil {
				t.Fatal(err)
			}
			test := 0
			for _, l := range b.Holdout.Relevant {
				test += len(l)
			}
			if b.Fit.Rows != c.users || b.Fit.Cols != c.titles || b.Fit.NNZ() != c.fit || test != c.test || len(b.Holdout.Users) != c.tests {
				t.Errorf("%d users, %d titles, %d to fit, %d to judge %d by; want %+v", b.Fit.Rows, b.Fit.Cols, b.Fit.NNZ(), test, len(b.Holdout.Users), c)
			}
		})
	}
}

func popularity(_ context.Context, b *Benchmark, _ uint64) (judge.Scorer, error) {
	count := make([]float32, b.Fit.Cols)
	for _, t := range b.Fit.Indices {
		count[t]++
	}
	return judge.Constant(count), nil
}

// TestPopularityOnGowalla reproduces a published row: MostPop of the BARS leaderboard has Recall@20 .0416 and NDCG@20 .0317.
func TestPopularityOnGowalla(t *testing.T) {
	b, err := Load("lightgcn", testkit.DataDir(t, "gowalla"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), b, Model{Name: "popular", Fit: popularity}, Options{Seeds: []uint64{1}, Resamples: 100})
	if err != nil {
		t.Fatal(err)
	}
	if recall, ndcg := r.Mean["recall@20"], r.Mean["ndcg@20"]; math.Abs(recall-0.0416) > 5e-5 || math.Abs(ndcg-0.0317) > 5e-5 {
		t.Errorf("recall@20 %.5f and ndcg@20 %.5f, want .0416 and .0317", recall, ndcg)
	}
}

func TestARunMeasuresSeedsAndBaselines(t *testing.T) {
	b, err := Load("lightgcn", folder(t, small("lightgcn")))
	if err != nil {
		t.Fatal(err)
	}
	fits := 0
	seeded := Model{Name: "seeded", Seeded: true, Fit: func(_ context.Context, b *Benchmark, seed uint64) (judge.Scorer, error) {
		fits++
		return judge.Func(func(_ uint32, scores []float32) error {
			for i := range scores {
				scores[i] = float32((i + int(seed)) % 4)
			}
			return nil
		}), nil
	}}
	r, err := Run(t.Context(), b, seeded, Options{Seeds: []uint64{1, 2, 3}, Baselines: []Model{{Name: "popular", Fit: popularity}, seeded}, Resamples: 100})
	if err != nil {
		t.Fatal(err)
	}
	if fits != 3 || len(r.Results) != 3 || len(r.Baselines) != 1 || len(r.Comparisons) != 1 || r.Comparisons[0].Against != "popular" {
		t.Errorf("%d fits, %+v", fits, r)
	}
	if r.SplitHash != b.Holdout.Hash() || r.Protocol != "lightgcn" {
		t.Errorf("%s of %s", r.Protocol, r.SplitHash)
	}
	var sum float64
	for _, m := range r.Results {
		sum += m.Metrics["recall@10"]
	}
	if math.Abs(r.Mean["recall@10"]-sum/3) > 1e-12 {
		t.Errorf("mean %g", r.Mean["recall@10"])
	}
	if _, err := Run(t.Context(), b, seeded, Options{}); err == nil {
		t.Error("a run without a seed was accepted")
	}
	broken := errors.New("broken")
	if _, err := Run(t.Context(), b, Model{Name: "x", Fit: func(context.Context, *Benchmark, uint64) (judge.Scorer, error) { return nil, broken }}, Options{Seeds: []uint64{1}}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestValidationIsCutFromWhatTrains(t *testing.T) {
	for _, format := range Formats() {
		files := small(format)
		if format == "ncf" {
			files["train.tsv"] = "0\t2\t0\n0\t1\t1\n1\t0\t0\n1\t5\t1\n"
			files["ml-1m.test.negative"] = "(0,3)\t0\t3\n(1,2)\t1\t4\n"
		}
		b, err := Load(format, folder(t, files))
		if err != nil {
			t.Fatal(err)
		}
		v, err := b.Validation(3)
		if err != nil {
			t.Fatal(err)
		}
		held := 0
		for i, u := range v.Holdout.Users {
			for _, title := range v.Holdout.Relevant[i] {
				if !b.Fit.Has(int(u), title) || v.Fit.Has(int(u), title) {
					t.Errorf("%s: title %d of user %d is not held out of what trains", format, title, u)
				}
				held++
			}
			if b.Sequences != nil && v.Holdout.Relevant[i][0] != lastFitted(b, int(u)) {
				t.Errorf("%s: user %d is judged by %d, not by the last", format, u, v.Holdout.Relevant[i][0])
			}
		}
		if v.Fit.NNZ()+held != b.Fit.NNZ() || held == 0 {
			t.Errorf("%s: %d held out, %d left of %d", format, held, v.Fit.NNZ(), b.Fit.NNZ())
		}
		if (v.Holdout.Candidates == nil) != (b.Holdout.Candidates == nil) {
			t.Errorf("%s: candidates %v", format, v.Holdout.Candidates)
		}
		again, err := b.Validation(3)
		if err != nil || again.Holdout.Hash() != v.Holdout.Hash() {
			t.Errorf("%s: the same seed cut another split: %v", format, err)
		}
	}
}

func lastFitted(b *Benchmark, u int) uint32 {
	s := slices.DeleteFunc(slices.Clone(b.Sequences[u]), func(t uint32) bool { return !b.Fit.Has(u, t) })
	return s[len(s)-1]
}

// step scores user by user from a table, so that what a study must find is known.
func step(scores map[uint32][]float32) func(context.Context, *Benchmark, uint64) (judge.Scorer, error) {
	return func(context.Context, *Benchmark, uint64) (judge.Scorer, error) {
		return judge.Func(func(user uint32, out []float32) error { copy(out, scores[user]); return nil }), nil
	}
}

func TestAStudyComparesEachPairOnce(t *testing.T) {
	b, err := Load("lightgcn", folder(t, small("lightgcn")))
	if err != nil {
		t.Fatal(err)
	}
	good := map[uint32][]float32{0: {3, 0, 0, 4}, 1: {0, 9, 0, 1}}
	bad := map[uint32][]float32{0: {-3, 0, 0, -4}, 1: {0, -9, 0, 1}}
	models := []Model{{Name: "a", Fit: step(bad)}, {Name: "b", Fit: step(bad)}, {Name: "c", Fit: step(good)}}
	b.Cutoffs = []int{1}
	s, err := RunStudy(t.Context(), b, models, []string{"a", "b", "absent"}, "ndcg@1", Options{Seeds: []uint64{1}, Resamples: 200})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Results[0].Against) != 0 || len(s.Results[1].Against) != 1 || len(s.Results[2].Against) != 2 {
		t.Fatalf("%+v", s.Results)
	}
	d := s.Results[2].Against[0]
	if d.Reference != "a" || d.Mean != 0.5 || d.P != 1 || d.PHolm != 1 {
		t.Errorf("%+v", d) // User 0 has two titles left, both relevant: all do alike. One difference proves nothing.
	}
	if same := s.Results[1].Against[0]; same.Mean != 0 || same.P != 1 || same.Effect != 0 {
		t.Errorf("%+v", same)
	}
	if i := s.Results[2].Interval; i.Mean != 1 || i.Low != 1 {
		t.Errorf("%+v", i)
	}
	if _, err := RunStudy(t.Context(), b, models, nil, "ndcg@7", Options{Seeds: []uint64{1}, Resamples: 200}); err == nil {
		t.Error("a study by a metric that is not taken was accepted")
	}
}

func FuzzLoad(f *testing.F) {
	for _, format := range Formats() {
		files := small(format)
		for name, text := range files {
			f.Add(format, name, []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, format, name string, text []byte) {
		files := small(format)
		if _, ok := files[name]; !ok || len(text) > 1<<16 {
			return
		}
		for _, w := range strings.Fields(string(text)) {
			if len(w) > 4 { // A number that is large and legal makes a matrix as large.
				return
			}
		}
		files[name] = string(text)
		b, err := Load(format, folder(t, files))
		if err != nil {
			return
		}
		if err := b.Fit.Validate(); err != nil {
			t.Fatal(err)
		}
		if err := b.Holdout.Validate(); err != nil {
			t.Fatal(err)
		}
	})
}
