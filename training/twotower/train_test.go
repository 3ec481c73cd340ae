package twotower

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"marquee/internal/sparse"
	"marquee/internal/vec"
	"marquee/training/nn"
)

// tastes is data in which user u watches titles of the group u%groups alone; a title's content says its group.
func tastes(rng *rand.Rand, users, titles, groups int) *Data {
	d := &Data{Titles: titles, Content: &sparse.CSR{Rows: titles, Cols: groups, Indptr: []int64{0}}}
	for t := range titles {
		d.Content.Indices, d.Content.Values = append(d.Content.Indices, uint32(t%groups)), append(d.Content.Values, 1)
		d.Content.Indptr = append(d.Content.Indptr, int64(t+1))
	}
	for u := range users {
		var h History
		for _, k := range rng.Perm(titles / groups)[:6] {
			h.Titles = append(h.Titles, uint32(k*groups+u%groups))
		}
		d.Histories = append(d.Histories, h)
	}
	return d
}

func TestLearnsTastes(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"cosine contrastive": func(*Config) {},
		"sampled softmax":    func(c *Config) { c.Loss = LossSoftmax },
		"sets": func(c *Config) {
			c.Loss, c.SetShare, c.PopularityPower, c.Epochs, c.Batch = LossSoftmax, 0.5, 0.1, 60, 16
		},
		"spectral start": func(c *Config) { c.Start, c.Epochs = StartSpectral, 4 },
		"neighbours":     func(c *Config) { c.Neighbours = 5 },
		"attention":      func(c *Config) { c.Pooling = PoolAttention },
		"user ids":       func(c *Config) { c.UserIDs = true },
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, 1))
			const groups, titles = 4, 80
			data := tastes(rng, 200, titles, groups)
			cfg := smallConfig()
			cfg.Dim, cfg.Batch, cfg.Epochs, cfg.Negatives, cfg.ValidationUsers = 12, 64, 12, 30, 50
			set(&cfg)
			m, err := Train(t.Context(), data, cfg, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if last := m.Epochs[len(m.Epochs)-1]; !(last.Score > 0.25) { // 20 titles of a group of which 6 are seen: by chance within the group .25
				t.Errorf("validation came to %+v", m.Epochs)
			}
			// Somebody new, by three watches, and a new title, by its content.
			u, err := m.UserVectors([]User{{Number: -1, Context: -1, History: History{Titles: []uint32{2, 6, 10}}}})
			if err != nil {
				t.Fatal(err)
			}
			fresh, err := m.NewTitleVectors(&sparse.CSR{Rows: groups, Cols: groups, Indptr: []int64{0, 1, 2, 3, 4}, Indices: []uint32{0, 1, 2, 3}, Values: []float32{1, 1, 1, 1}})
			if err != nil {
				t.Fatal(err)
			}
			scores := make([]float32, groups)
			vec.Gemv(scores, fresh, u)
			if best := slices.Index(scores, slices.Max(scores)); best != 2 {
				t.Errorf("a watcher of group 2 is shown new titles as %v", scores)
			}
		})
	}
}

func all(m *Model) []float32 {
	var out []float32
	for _, p := range m.Params() {
		out = append(out, p.Value...)
	}
	return out
}

// TestResumedIsUninterrupted stops a training in every epoch, resumes it with another number of workers, and compares to the bit.
func TestResumedIsUninterrupted(t *testing.T) {
	data := smallData(rand.New(rand.NewPCG(5, 2)), 40, 25)
	cfg := smallConfig()
	cfg.Epochs, cfg.ValidationUsers, cfg.Dropout, cfg.UserIDs, cfg.Neighbours, cfg.Pooling, cfg.Start, cfg.Workers = 4, 8, 0.2, true, 3, PoolAttention, StartSpectral, 1
	dir := t.TempDir()
	whole, err := Train(t.Context(), data, cfg, Options{Checkpoint: filepath.Join(dir, "whole")})
	if err != nil {
		t.Fatal(err)
	}
	for stop := 1; stop < 4; stop++ {
		path := filepath.Join(dir, "part")
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Train(ctx, data, cfg, Options{Checkpoint: path, Progress: func(p nn.Progress) {
			if p.Epoch == stop+1 && p.Step == 2 {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted after epoch %d: %v", stop, err)
		}
		again := cfg
		again.Workers = 3
		resumed, err := Train(t.Context(), data, again, Options{Checkpoint: path})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(all(whole), all(resumed)) {
			t.Fatalf("resumed after epoch %d, the parameters are others", stop)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWarmStart(t *testing.T) {
	data := tastes(rand.New(rand.NewPCG(5, 3)), 100, 40, 4)
	cfg := smallConfig()
	cfg.Epochs = 10
	cold, err := Train(t.Context(), data, cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	warm := map[string][]float32{}
	for _, p := range cold.Params() {
		warm[p.Name] = slices.Clone(p.Value)
	}
	cfg.Epochs = 1
	next, err := Train(t.Context(), data, cfg, Options{Warm: warm})
	if err != nil {
		t.Fatal(err)
	}
	if !(next.Epochs[0].Loss < cold.Epochs[0].Loss) {
		t.Errorf("first epoch's loss %v warm, %v cold", next.Epochs[0].Loss, cold.Epochs[0].Loss)
	}
	bad := slices.Clone(warm["titles"])
	bad[7] = float32(math.Inf(1))
	for name, w := range map[string]map[string][]float32{
		`"genres", which the model has not`: {"genres": {1}},
		"want [40 6]":                       {"titles": {1}},
		"+Inf in row 1 of titles":           {"titles": bad},
	} {
		if _, err := Train(t.Context(), data, cfg, Options{Warm: w}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
}

func TestRefuses(t *testing.T) {
	nan := float32(math.NaN())
	one := func(h History) *Data { return &Data{Titles: 5, Histories: []History{{Titles: []uint32{1}}, h}} }
	for want, d := range map[string]*Data{
		"none of 0 users": {Titles: 5},
		"0 titles":        {},
		"user 1: title 5 at place 1, there are 5 titles":      one(History{Titles: []uint32{0, 5}}),
		"user 1: strength NaN at place 0":                     one(History{Titles: []uint32{0}, Strength: []float32{nan}}),
		"user 1: strength 0 at place 0":                       one(History{Titles: []uint32{0}, Strength: []float32{0}}),
		"user 1: age NaN at place 0":                          one(History{Titles: []uint32{0}, Age: []float32{nan}}),
		"user 1: context 0 at place 0, there are 0":           one(History{Titles: []uint32{0}, Context: []uint32{0}}),
		"user 1: 1 titles with 2 strengths":                   one(History{Titles: []uint32{0}, Strength: []float32{1, 1}}),
		"content of 4 rows, want 5":                           {Titles: 5, Histories: []History{{Titles: []uint32{1}}}, Content: &sparse.CSR{Rows: 4, Cols: 1, Indptr: make([]int64, 5)}},
		"attributes: invalid sparse matrix: 2 row pointers f": {Titles: 5, Histories: []History{{Titles: []uint32{1}}}, Attributes: &sparse.CSR{Rows: 2, Cols: 1, Indptr: make([]int64, 2)}},
	} {
		if _, err := Train(t.Context(), d, smallConfig(), Options{}); !errors.Is(err, ErrData) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	data := smallData(rand.New(rand.NewPCG(5, 4)), 9, 9)
	for want, set := range map[string]func(*Config){
		"training.twotower.dim must be":       func(c *Config) { c.Dim = 0 },
		"training.twotower.gate must be":      func(c *Config) { c.Gate = math.NaN() },
		"training.twotower.loss must be one":  func(c *Config) { c.Loss = "hinge" },
		"negatives must be 1 or more":         func(c *Config) { c.Negatives = 0 },
		"training.twotower.set_share must be": func(c *Config) { c.SetShare = 0.5 },
		"training.twotower.rate must be abov": func(c *Config) { c.Rate = 0 },
	} {
		cfg := smallConfig()
		set(&cfg)
		if _, err := Train(t.Context(), data, cfg, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	m, err := Train(t.Context(), data, smallConfig(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []User{{Number: 9}, {Context: 3}, {History: History{Titles: []uint32{9}}}} {
		if _, err := m.UserVectors([]User{u}); !errors.Is(err, ErrData) {
			t.Errorf("%+v: %v", u, err)
		}
	}
	if _, err := m.NewTitleVectors(&sparse.CSR{Rows: 1, Cols: 2, Indptr: []int64{0, 0}}); !errors.Is(err, ErrData) {
		t.Errorf("content of other terms: %v", err)
	}
}

// TestSpectralFindsTheSpace compares the start with what the matrix was made of: users of three groups, so that three singular values
// are 1 and the rows of a group's titles are alike.
func TestSpectralFindsTheSpace(t *testing.T) {
	d := &Data{Titles: 30}
	for u := range 60 {
		var h History
		for i := range 10 {
			h.Titles = append(h.Titles, uint32(i*3+u%3))
		}
		d.Histories = append(d.Histories, h)
	}
	cfg := smallConfig()
	cfg.Dim, cfg.Start = 3, StartSpectral
	tr, err := newTrainer(t.Context(), d, cfg)
	if err != nil {
		t.Fatal(err)
	}
	table := tr.towers.titles
	for a := range 30 {
		for b := range 30 {
			x, y := table.Row(a), table.Row(b)
			cosine := vec.Dot(x, y) / float32(math.Sqrt(float64(vec.Dot(x, x)*vec.Dot(y, y))))
			want := float32(0)
			if a%3 == b%3 {
				want = 1
			}
			if math.Abs(float64(cosine-want)) > 1e-3 {
				t.Fatalf("titles %d and %d have cosine %v, want %v", a, b, cosine, want)
			}
		}
	}
}

func TestExamplesReadOnlyWhatTheyMay(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	h := &History{Titles: make([]uint32, 12)}
	for _, ordered := range []bool{false, true} {
		cfg := smallConfig()
		cfg.Ordered = ordered
		a := newAssembler(&Data{Titles: 1}, cfg, nil)
		for at := range 12 {
			keep := a.keep(nil, h, at, rng)
			if slices.Contains(keep, at) || !slices.IsSorted(keep) || len(keep) > cfg.MaxHistory {
				t.Errorf("ordered %v: example %d reads %v", ordered, at, keep)
			}
			if ordered && len(keep) > 0 && (keep[len(keep)-1] != at-1 || len(keep) != min(at, cfg.MaxHistory)) {
				t.Errorf("example %d reads %v, want the last before it", at, keep)
			}
		}
	}
}

func TestRecencyBuckets(t *testing.T) {
	h := &History{Titles: make([]uint32, 6), Age: []float32{1000, 65, 9.5, 5, 4.5, 3}}
	for i, want := range []uint32{3, 3, 3, 2, 1, 0} {
		if got := h.bucket(i, 3, 4); got != want {
			t.Errorf("%v days before an age of 3: bucket %d, want %d", h.Age[i], got, want)
		}
	}
	if got := (&History{}).bucket(0, 0, 4); got != 3 {
		t.Errorf("an unknown age is in bucket %d", got)
	}
}
