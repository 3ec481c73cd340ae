package sasrec

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

	"marquee/training/nn"
)

// cycles are histories in which title t is followed by t+1, of titles 0 to titles-1 in a circle.
func cycles(rng *rand.Rand, users, titles int) [][]uint32 {
	out := make([][]uint32, users)
	for u := range out {
		at := rng.IntN(titles)
		for i := range 4 + rng.IntN(12) {
			out[u] = append(out[u], uint32((at+i)%titles))
		}
	}
	return out
}

func TestLearnsWhatFollows(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	for _, loss := range []string{LossSoftmax, LossGBCE} {
		cfg := smallConfig()
		cfg.Loss, cfg.Dim, cfg.Epochs, cfg.ValidationUsers, cfg.Batch, cfg.Negatives = loss, 16, 30, 30, 8, 15
		m, err := Train(t.Context(), cycles(rng, 300, 20), 20, cfg, Options{})
		if err != nil {
			t.Fatal(err)
		}
		scores := make([]float32, 20)
		if err := m.Score([]uint32{11, 12, 13}, scores); err != nil {
			t.Fatal(err)
		}
		if best := slices.Index(scores, slices.Max(scores)); best != 14 {
			t.Errorf("%s: after 11, 12, 13 comes %d; %v", loss, best, scores)
		}
		if last := m.Epochs[len(m.Epochs)-1]; !(last.Score > 0.6) {
			t.Errorf("%s: validation came to %v", loss, m.Epochs)
		}
	}
}

// TestScoresAreThePlainNetworks is that batches of histories, short, long and empty, score as each alone by the definition.
func TestScoresAreThePlainNetworks(t *testing.T) {
	cfg := smallConfig()
	tr := smallTrainer(t, cfg)
	m := &Model{Config: cfg, Titles: 9, net: tr.net, team: tr.team}
	histories := [][]uint32{{1, 2, 3}, {}, {8}, {0, 1, 2, 3, 4, 5, 6, 7, 8}}
	got, err := m.Vectors(histories)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlain(m.Params(), cfg)
	for i, h := range histories {
		want := make([]float64, cfg.Dim)
		if len(h) > 0 {
			h = h[max(0, len(h)-cfg.MaxLength):]
			want = p.outputs(h)[len(h)-1]
		}
		for j, w := range want {
			if math.Abs(float64(got[i*cfg.Dim+j])-w) > 1e-5*(1+math.Abs(w)) {
				t.Fatalf("history %d: %v, want %v", i, got[i*cfg.Dim:(i+1)*cfg.Dim], want)
			}
		}
	}
	if _, err := m.Vectors([][]uint32{{9}}); !errors.Is(err, ErrData) {
		t.Errorf("title 9 of 9: %v", err)
	}
}

func values(m *Model) []float32 {
	var out []float32
	for _, p := range m.Params() {
		out = append(out, p.Value...)
	}
	return out
}

// TestResumedIsUninterrupted kills a training after each of its epochs, resumes it with another number of workers, and compares what
// comes out, and the checkpoints, to the bit.
func TestResumedIsUninterrupted(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 2))
	histories := cycles(rng, 60, 20)
	cfg := smallConfig()
	cfg.Epochs, cfg.ValidationUsers, cfg.Dropout, cfg.Workers = 4, 5, 0.2, 1
	dir := t.TempDir()
	whole, err := Train(t.Context(), histories, 20, cfg, Options{Checkpoint: filepath.Join(dir, "whole")})
	if err != nil {
		t.Fatal(err)
	}
	for stop := 1; stop < 4; stop++ {
		path := filepath.Join(dir, "part")
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Train(ctx, histories, 20, cfg, Options{Checkpoint: path, Progress: func(p nn.Progress) {
			if p.Epoch == stop+1 && p.Step == 2 {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted after epoch %d: %v", stop, err)
		}
		again := cfg
		again.Workers = 3
		resumed, err := Train(t.Context(), histories, 20, again, Options{Checkpoint: path})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(values(whole), values(resumed)) {
			t.Fatalf("resumed after epoch %d, the parameters are others", stop)
		}
		if len(resumed.Epochs) != len(whole.Epochs) || resumed.Epochs[3].Loss != whole.Epochs[3].Loss {
			t.Fatalf("resumed after epoch %d: %v, want %v", stop, resumed.Epochs, whole.Epochs)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckpointOfAnotherTraining(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	histories := cycles(rng, 30, 20)
	cfg := smallConfig()
	path := filepath.Join(t.TempDir(), "c")
	if _, err := Train(t.Context(), histories, 20, cfg, Options{Checkpoint: path}); err != nil {
		t.Fatal(err)
	}
	cfg.Seed = 2
	if _, err := Train(t.Context(), histories, 20, cfg, Options{Checkpoint: path}); !errors.Is(err, nn.ErrCheckpoint) || !strings.Contains(err.Error(), "another configuration") {
		t.Errorf("a checkpoint of another seed: %v", err)
	}
}

func TestWarmStart(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	histories := cycles(rng, 200, 20)
	cfg := smallConfig()
	cfg.Epochs = 15
	cold, err := Train(t.Context(), histories, 20, cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Epochs = 1
	fresh, err := Train(t.Context(), histories, 20, cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	warm, err := Train(t.Context(), histories, 20, cfg, Options{WarmTitles: slices.Clone(cold.Embeddings())})
	if err != nil {
		t.Fatal(err)
	}
	if !(warm.Epochs[0].Loss < fresh.Epochs[0].Loss) {
		t.Errorf("first epoch's loss %v warm, %v fresh", warm.Epochs[0].Loss, fresh.Epochs[0].Loss)
	}
	bad := slices.Clone(cold.Embeddings())
	bad[17] = float32(math.NaN())
	for _, w := range [][]float32{bad, bad[:5]} {
		if _, err := Train(t.Context(), histories, 20, cfg, Options{WarmTitles: w}); err == nil {
			t.Error("a warm start that does not fit was taken")
		}
	}
}

func TestRefuses(t *testing.T) {
	ok := [][]uint32{{1, 2, 3}}
	for name, c := range map[string]struct {
		histories [][]uint32
		titles    int
		set       func(*Config)
		want      string
	}{
		"nothing":             {nil, 5, nil, "none of 0 has two titles"},
		"short histories":     {[][]uint32{{1}, {}}, 5, nil, "none of 2 has two titles"},
		"title out of range":  {[][]uint32{{1, 2}, {1, 5}}, 5, nil, "title 5 at place 1 of history 1, there are 5 titles"},
		"no titles":           {ok, 0, nil, "0 titles"},
		"heads do not divide": {ok, 5, func(c *Config) { c.Heads = 3 }, "heads must divide dim"},
		"several at once":     {ok, 5, func(c *Config) { c.Dropout, c.Epochs = math.NaN(), 0 }, "training.sasrec.dropout must be"},
		"unknown loss":        {ok, 5, func(c *Config) { c.Loss = "hinge" }, `is "hinge"`},
		"unknown activation":  {ok, 5, func(c *Config) { c.Activation = "selu" }, `training.sasrec.activation must be relu or gelu, is "selu"`},
	} {
		cfg := smallConfig()
		if c.set != nil {
			c.set(&cfg)
		}
		if _, err := Train(t.Context(), c.histories, c.titles, cfg, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	cfg := smallConfig()
	cfg.Rate, cfg.FinalRate = 1e30, 1
	if _, err := Train(t.Context(), cycles(rand.New(rand.NewPCG(1, 1)), 50, 9), 9, cfg, Options{}); !errors.Is(err, nn.ErrDiverged) {
		t.Errorf("a rate of 1e30: %v", err)
	}
}

// TestWindowsPredictEveryTitleOnce is so of histories of any length.
func TestWindowsPredictEveryTitleOnce(t *testing.T) {
	cfg := smallConfig()
	for n := 2; n < 40; n++ {
		h := make([]uint32, n)
		tr, err := newTrainer([][]uint32{h}, 1, cfg)
		if err != nil {
			t.Fatal(err)
		}
		for round := range 20 {
			met := make([]int, n)
			for _, w := range tr.windows(rand.New(rand.NewPCG(1, uint64(round)))) {
				if w.hi-w.lo > cfg.MaxLength || w.lo < 0 || w.lo >= w.hi {
					t.Fatalf("window %v of %d", w, n)
				}
				for i := w.lo; i < w.hi; i++ {
					met[i+1]++
				}
			}
			if met[0] != 0 || slices.Min(met[1:]) != 1 || slices.Max(met) != 1 {
				t.Fatalf("titles predicted %v times", met)
			}
		}
	}
}
