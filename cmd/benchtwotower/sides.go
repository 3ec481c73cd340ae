package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"marquee/training/nn"
	"marquee/training/twotower"
)

// What both sides train with.
const (
	temperature = 0.1
	rate        = 1e-3
)

// world is synthetic viewers, each with width titles, one of which is predicted from the others.
type world struct{ users, width, titles, dim, batch, negatives int }

func measuredWorld() world {
	return world{users: 50_000, width: 51, titles: 20_000, dim: 64, batch: 1024, negatives: 1024}
}

// smallWorld is what the losses are compared on.
func smallWorld() world {
	return world{users: 1500, width: 11, titles: 2000, dim: 64, batch: 512, negatives: 256}
}

// histories draws them: most titles from the viewer's own part of the catalogue, popular ones more often than others.
func (w world) histories() [][]uint32 {
	rng := rand.New(rand.NewPCG(uint64(w.users), uint64(w.titles)))
	const parts = 50
	size := w.titles / parts
	out := make([][]uint32, w.users)
	for u := range out {
		part := rng.IntN(parts)
		met := map[uint32]bool{}
		for len(out[u]) < w.width {
			// The square of a uniform number favours the first.
			f := rng.Float64()
			t := uint32(f * f * float64(w.titles))
			if rng.IntN(4) > 0 {
				t = uint32(int(f*f*float64(size))*parts + part)
			}
			if !met[t] {
				met[t] = true
				out[u] = append(out[u], t)
			}
		}
	}
	return out
}

func writeHistories(dir string, histories [][]uint32) error {
	var buf []byte
	for _, h := range histories {
		for _, t := range h {
			buf = binary.LittleEndian.AppendUint32(buf, t)
		}
	}
	return os.WriteFile(filepath.Join(dir, "histories"), buf, 0o600)
}

func (w world) config(threads, epochs int) twotower.Config {
	c := twotower.DefaultConfig()
	c.Dim, c.Batch, c.Negatives, c.Epochs, c.Workers = w.dim, w.batch, w.negatives, epochs, threads
	c.UserIDs, c.Gate, c.Pooling, c.HistoryPower, c.MaxHistory = true, 0.5, twotower.PoolMean, 1, w.width
	c.Loss, c.Temperature, c.Dropout, c.Start = twotower.LossSoftmax, temperature, 0, twotower.StartNormal
	c.Rate, c.FinalRate, c.ValidationUsers = rate, 1, 0
	return c
}

func (w world) data(histories [][]uint32) *twotower.Data {
	d := &twotower.Data{Titles: w.titles, Histories: make([]twotower.History, len(histories))}
	for u, h := range histories {
		d.Histories[u].Titles = h
	}
	return d
}

// timing are the steps of one side.
type timing struct {
	Seconds []float64 `json:"seconds"`
	CPU     []float64 `json:"cpu"`
}

func (t *timing) add(o timing) {
	t.Seconds, t.CPU = append(t.Seconds, o.Seconds...), append(t.CPU, o.CPU...)
}

func (t timing) String() string {
	return fmt.Sprintf("%.1f ms a step, %.1f ms of processor time (medians of %d)", 1e3*median(t.Seconds), 1e3*median(t.CPU), len(t.Seconds))
}

// warmUp is the number of first steps that are not counted, on either side.
const warmUp = 3

// errEnough ends a training that has been measured.
var errEnough = errors.New("measured")

// ours trains so many steps and times each as training does it, its batch being made beside.
func ours(ctx context.Context, w world, histories [][]uint32, threads, steps int) (timing, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var t timing
	var last time.Time
	var clock time.Duration
	_, err := twotower.Train(ctx, w.data(histories), w.config(threads, 1), twotower.Options{Progress: func(p nn.Progress) {
		now, cpu := time.Now(), processorTime()
		if p.Step > warmUp && len(t.Seconds) < steps {
			t.Seconds, t.CPU = append(t.Seconds, now.Sub(last).Seconds()), append(t.CPU, (cpu-clock).Seconds())
		}
		last, clock = now, cpu
		if len(t.Seconds) == steps {
			stop(errEnough)
		}
	}})
	if err != nil && !errors.Is(context.Cause(ctx), errEnough) {
		return t, fmt.Errorf("train: %w", err)
	}
	return t, nil
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil { // Only of a bad address.
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// losses trains both sides two epochs of the small world.
func (o options) losses(ctx context.Context, dir string) (us, them []float64, err error) {
	w := smallWorld()
	histories := w.histories()
	m, err := twotower.Train(ctx, w.data(histories), w.config(o.threads, 2), twotower.Options{})
	if err != nil {
		return nil, nil, fmt.Errorf("train on the small set: %w", err)
	}
	for _, e := range m.Epochs {
		us = append(us, e.Loss)
	}
	if err := writeHistories(dir, histories); err != nil {
		return nil, nil, err
	}
	p, err := o.start(ctx, dir, w, 0, "sparse")
	if err != nil {
		return nil, nil, err
	}
	return us, p.first.Losses, p.close()
}
