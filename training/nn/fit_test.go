package nn

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// walker is a model whose only number goes down by one an epoch; scores are what the test says.
type walker struct {
	p      *Param
	adam   *Adam
	scores []float64
	epochs int
	loss   float64
	fail   error
}

func newWalker(scores ...float64) *walker {
	return &walker{p: NewParam("x", 2), adam: NewAdam(1), scores: scores, loss: 1}
}

func (w *walker) Params() []*Param     { return []*Param{w.p} }
func (w *walker) Optimizer() Optimizer { return w.adam }
func (w *walker) Epoch(_ context.Context, epoch int, report func(done, total int)) (float64, error) {
	w.epochs++
	w.p.Grad[0] = 1
	w.adam.Step(NewTeam(1), w.Params())
	w.p.Value[1] = float32(epoch)
	report(1, 2)
	report(2, 2)
	return w.loss, w.fail
}
func (w *walker) Validate(context.Context) (float64, error) { return w.scores[w.epochs-1], nil }

func TestFitStopsEarlyAtTheBest(t *testing.T) {
	w := newWalker(0.1, 0.3, 0.2, 0.3, 0.9)
	var seen []Progress
	epochs, err := Fit(t.Context(), w, Schedule{Epochs: 5, Patience: 2, ValidateEvery: 1, Progress: func(p Progress) { seen = append(seen, p) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(epochs) != 4 || w.p.Value[1] != 2 {
		t.Errorf("%d epochs, parameters of epoch %v; want 4 and the best's, 2", len(epochs), w.p.Value[1])
	}
	last := seen[len(seen)-1]
	if !last.Done || last.Epoch != 4 || last.Best != 0.3 || last.Score != 0.3 || len(seen) != 12 {
		t.Errorf("last of %d reports: %+v", len(seen), last)
	}
	if !math.IsNaN(seen[0].Score) || seen[0].Step != 1 || seen[0].Steps != 2 || seen[0].Done {
		t.Errorf("first report: %+v", seen[0])
	}
}

func TestFitWithoutValidation(t *testing.T) {
	w := newWalker()
	if _, err := Fit(t.Context(), w, Schedule{Epochs: 3}); err != nil || w.p.Value[1] != 3 {
		t.Errorf("%v after %v epochs", err, w.p.Value[1])
	}
}

func TestFitReportsWhatFails(t *testing.T) {
	w := newWalker(1)
	w.loss = math.NaN()
	if _, err := Fit(t.Context(), w, Schedule{Epochs: 1}); !errors.Is(err, ErrDiverged) {
		t.Errorf("a loss of NaN: %v", err)
	}
	w = newWalker(1)
	w.p.Value[0] = float32(math.Inf(1))
	if _, err := Fit(t.Context(), w, Schedule{Epochs: 1, ValidateEvery: 1}); !errors.Is(err, ErrDiverged) {
		t.Errorf("an infinite parameter: %v", err)
	}
	w = newWalker(1)
	w.fail = context.Canceled
	if _, err := Fit(t.Context(), w, Schedule{Epochs: 1}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "epoch 1 of 1") {
		t.Errorf("%v", err)
	}
	if _, err := Fit(t.Context(), newWalker(1), Schedule{Epochs: 1, Checkpoint: filepath.Join(t.TempDir(), "no", "file")}); err == nil {
		t.Error("a folder that is not there was written to")
	}
}

func TestFitResumes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	s := Schedule{Epochs: 2, Patience: 9, ValidateEvery: 1, Checkpoint: path, Fingerprint: "f"}
	if _, err := Fit(t.Context(), newWalker(0.5, 0.4), s); err != nil {
		t.Fatal(err)
	}
	s.Epochs = 4
	w := newWalker(0.1, 0.2)
	epochs, err := Fit(t.Context(), w, s)
	if err != nil {
		t.Fatal(err)
	}
	if len(epochs) != 4 || w.epochs != 2 || w.p.Value[1] != 1 || w.adam.Steps() != 4 {
		t.Errorf("%d epochs, %d of them now, %d steps, best of epoch %v", len(epochs), w.epochs, w.adam.Steps(), w.p.Value[1])
	}
	s.Fingerprint = "g"
	if _, err := Fit(t.Context(), newWalker(), s); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("another fingerprint: %v", err)
	}
}

// TestDamagedCheckpoints is that no cut and no other model is taken for a checkpoint.
func TestDamagedCheckpoints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	s := Schedule{Epochs: 1, ValidateEvery: 1, Checkpoint: path}
	if _, err := Fit(t.Context(), newWalker(0.5), s); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := newFitting(newWalker()).read(bytes.NewReader(whole[:n])); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(whole), err)
		}
	}
	if err := newFitting(newWalker()).read(bytes.NewReader(append(slices.Clone(whole), 0))); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("a byte too many: %v", err)
	}
	other := newWalker()
	other.p = NewParam("x", 3)
	if err := newFitting(other).read(bytes.NewReader(whole)); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("of another shape: %v", err)
	}
}

func newFitting(m Trainee) *fitting { return &fitting{model: m} }

func FuzzReadCheckpoint(f *testing.F) {
	var buf bytes.Buffer
	fit := newFitting(newWalker())
	fit.epochs = []Epoch{{Epoch: 1, Loss: 2, Validated: true}}
	fit.keep()
	if err := fit.write(&buf); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add([]byte(magic + "\x02\x00\x00\x00{}"))
	f.Add([]byte(magic + "\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWalker()
		if err := newFitting(w).read(bytes.NewReader(data)); err != nil && !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("%v", err)
		}
	})
}
