package nn

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors to be matched with errors.Is.
var (
	// ErrDiverged is a loss or a parameter that is no longer finite.
	ErrDiverged = errors.New("training diverged")
	// ErrCheckpoint is wrapped by every error about a checkpoint that cannot be resumed from.
	ErrCheckpoint = errors.New("not a checkpoint of this training")
)

// Trainee is a model as Fit trains it.
type Trainee interface {
	Params() []*Param
	Optimizer() Optimizer
	// Epoch trains one epoch, from 1, and returns its mean loss. It is a function of the parameters and of epoch alone. It calls report
	// between steps and stops with the context's error.
	Epoch(ctx context.Context, epoch int, report func(done, total int)) (loss float64, err error)
	// Validate measures the parameters; more is better.
	Validate(ctx context.Context) (float64, error)
}

// Schedule says for how long Fit trains.
type Schedule struct {
	// Epochs bounds the epochs. Patience, where above 0, ends training after so many validations in a row without a new best; the best
	// parameters are kept then. ValidateEvery is the number of epochs from one validation to the next; 0 validates never.
	Epochs, Patience, ValidateEvery int
	// Checkpoint, where set, is a file that is replaced after each epoch and resumed from where it is there. Fingerprint is of all that decides
	// the training: a checkpoint of another is refused.
	Checkpoint, Fingerprint string
	// Progress, where set, is called between steps and after each epoch, from Fit's goroutine.
	Progress func(Progress)
}

// Progress is where a training is.
type Progress struct {
	Epoch, Epochs int
	Step, Steps   int  // within the epoch
	Done          bool // the epoch is over, its validation included
	// Loss and Score are of the last whole epoch and the last validation; NaN before there is one.
	Loss, Score, Best float64
	Elapsed, Left     time.Duration // Left is for all epochs; training may end before
}

// Epoch is what one epoch came to.
type Epoch struct {
	Epoch     int     `json:"epoch"`
	Loss      float64 `json:"loss"`
	Score     float64 `json:"score,omitempty"` // of a validation after it; 0 without
	Validated bool    `json:"validated,omitempty"`
	Seconds   float64 `json:"seconds"`
}

// Fit trains m and returns what each epoch came to. With validation the parameters end as the best validated, otherwise as the last.
func Fit(ctx context.Context, m Trainee, s Schedule) ([]Epoch, error) {
	f := &fitting{model: m, schedule: s, began: time.Now()}
	if s.Checkpoint != "" {
		if err := f.resume(); err != nil {
			return nil, fmt.Errorf("resume from %s: %w", s.Checkpoint, err)
		}
	}
	f.first = len(f.epochs)
	for epoch := len(f.epochs) + 1; epoch <= s.Epochs && !f.patienceSpent(); epoch++ {
		if err := f.epoch(ctx, epoch); err != nil {
			return nil, fmt.Errorf("epoch %d of %d: %w", epoch, s.Epochs, err)
		}
		if s.Checkpoint != "" {
			if err := f.save(); err != nil {
				return nil, fmt.Errorf("write checkpoint %s: %w", s.Checkpoint, err)
			}
		}
	}
	if f.best != nil {
		for i, p := range m.Params() {
			copy(p.Value, f.best[i])
		}
	}
	return f.epochs, nil
}

type fitting struct {
	model    Trainee
	schedule Schedule
	began    time.Time
	first    int // epochs that were done before this run
	epochs   []Epoch
	best     [][]float32
}

func (f *fitting) epoch(ctx context.Context, epoch int) error {
	began := time.Now()
	loss, err := f.model.Epoch(ctx, epoch, func(done, total int) { f.report(epoch, done, total, false) })
	if err != nil {
		return err
	}
	if loss-loss != 0 {
		return fmt.Errorf("%w: the loss is %v; lower the learning rate", ErrDiverged, loss)
	}
	e := Epoch{Epoch: epoch, Loss: loss}
	if every := f.schedule.ValidateEvery; every > 0 && (epoch%every == 0 || epoch == f.schedule.Epochs) {
		for _, p := range f.model.Params() {
			if !p.Finite() {
				return fmt.Errorf("%w: %s is not finite; lower the learning rate", ErrDiverged, p.Name)
			}
		}
		best, _ := f.bestScore()
		if e.Score, err = f.model.Validate(ctx); err != nil {
			return fmt.Errorf("validate: %w", err)
		}
		e.Validated = true
		if f.best == nil || e.Score > best {
			f.keep()
		}
	}
	e.Seconds = time.Since(began).Seconds()
	f.epochs = append(f.epochs, e)
	f.report(epoch, 1, 1, true)
	return nil
}

func (f *fitting) keep() {
	params := f.model.Params()
	if f.best == nil {
		f.best = make([][]float32, len(params))
	}
	for i, p := range params {
		f.best[i] = append(f.best[i][:0], p.Value...)
	}
}

// bestScore is the best validation's, and how many there were since.
func (f *fitting) bestScore() (best float64, since int) {
	any := false
	for _, e := range f.epochs {
		switch {
		case !e.Validated:
		case !any || e.Score > best:
			any, best, since = true, e.Score, 0
		default:
			since++
		}
	}
	return best, since
}

func (f *fitting) patienceSpent() bool {
	_, since := f.bestScore()
	return f.schedule.Patience > 0 && since >= f.schedule.Patience
}

func (f *fitting) report(epoch, done, total int, over bool) {
	if f.schedule.Progress == nil {
		return
	}
	p := Progress{Epoch: epoch, Epochs: f.schedule.Epochs, Step: done, Steps: total, Done: over, Loss: nan(), Score: nan(), Best: nan(), Elapsed: time.Since(f.began)}
	for _, e := range f.epochs {
		p.Loss = e.Loss
		if e.Validated {
			p.Score = e.Score
		}
	}
	if f.best != nil {
		p.Best, _ = f.bestScore()
	}
	share := (float64(epoch-1-f.first) + float64(done)/float64(total)) / float64(max(f.schedule.Epochs-f.first, 1))
	if share > 0 {
		p.Left = time.Duration(float64(p.Elapsed) * (1 - share) / share)
	}
	f.schedule.Progress(p)
}
