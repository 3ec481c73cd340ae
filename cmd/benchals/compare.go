package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"marquee/internal/sparse"
	"marquee/training/als"
)

//go:embed peer.py
var peerScript string

// The loss both sides minimise: confidence 1 where nothing was watched and 1+alpha where something was.
const (
	alpha          = 20
	regularization = 5
	cgSteps        = 3
)

// measured is one solver on one set in one dimension.
type measured struct {
	Set    string `json:"set"`
	Dim    int    `json:"dim"`
	Solver string `json:"solver"`
	// Ours and Theirs are the median seconds of an iteration, Ratio theirs by ours.
	Ours   float64 `json:"marquee_seconds"`
	Theirs float64 `json:"implicit_seconds"`
	Ratio  float64 `json:"ratio"`
	// CPURatio is the same of processor time, which a machine that is shared disturbs less.
	CPURatio float64 `json:"cpu_ratio"`
	// OurLoss and TheirLoss are after the last of equally many iterations.
	OurLoss   float64 `json:"marquee_loss"`
	TheirLoss float64 `json:"implicit_loss"`
}

func config(dim, iterations, threads int, solver string) als.Config {
	c := als.DefaultConfig()
	c.Dim, c.Epochs, c.Workers, c.Solver, c.CGSteps = dim, iterations, threads, solver, cgSteps
	c.ReplaceUnobserved, c.UnobservedWeight, c.Alpha = true, 1, alpha
	c.Regularization, c.RegularizationExponent, c.TrackLoss = regularization, 0, false
	return c
}

// start is where both sides begin: small and positive, as implicit draws it.
func start(titles, dim int) []float32 {
	rng := rand.New(rand.NewPCG(uint64(titles), uint64(dim)))
	out := make([]float32, titles*dim)
	for i := range out {
		out[i] = rng.Float32() / 100
	}
	return out
}

// compare trains on both sides and holds their losses to each other.
func (o options) compare(ctx context.Context, dir, name string, m *sparse.CSR, dim int, solver string) (*measured, error) {
	begin := start(m.Cols, dim)
	if err := handOver(dir, m, begin); err != nil {
		return nil, err
	}
	cfg := config(dim, o.iterations, o.threads, solver)
	r := &measured{Set: name, Dim: dim, Solver: solver}
	us, err := ours(ctx, m, cfg, begin)
	if err != nil {
		return nil, fmt.Errorf("train on %s: %w", name, err)
	}
	peer, err := o.theirs(ctx, dir, m, cfg)
	if err != nil {
		return nil, fmt.Errorf("implicit on %s: %w", name, err)
	}
	r.Ours, r.Theirs, r.OurLoss = us.seconds, peer.seconds, us.loss
	r.Ratio, r.CPURatio = peer.seconds/us.seconds, peer.cpu/us.cpu
	them := &als.Model{Dim: dim, Params: cfg.Params()}
	if them.Users, err = factors(dir, "users.out", m.Rows*dim); err != nil {
		return nil, err
	}
	if them.Items, err = factors(dir, "items.out", m.Cols*dim); err != nil {
		return nil, err
	}
	if r.TheirLoss, err = als.Loss(m, them, o.threads); err != nil {
		return nil, err
	}
	if !(r.OurLoss <= r.TheirLoss*(1+lossAgreement)) {
		return r, fmt.Errorf("%s d=%d %s: our loss is %.6g, implicit's %.6g: no comparison", name, dim, solver, r.OurLoss, r.TheirLoss)
	}
	return r, nil
}

// lossAgreement is how much above implicit's our loss may be after as many iterations.
const lossAgreement = 1e-3

// side is what one side took: medians over iterations.
type side struct{ seconds, cpu, loss float64 }

// ours returns the time of an iteration and the loss after the last. The clock holds no loss: a second training takes it, by the function
// that takes implicit's.
func ours(ctx context.Context, m *sparse.CSR, cfg als.Config, begin []float32) (*side, error) {
	s, err := timed(ctx, m, cfg, als.Options{WarmItems: begin})
	if err != nil {
		return nil, err
	}
	cfg.TrackLoss = true
	_, err = als.Train(ctx, m, cfg, als.Options{WarmItems: begin, Progress: func(p als.Progress) { s.loss = p.Loss }})
	return s, err
}

// timed trains and returns the time of an epoch.
func timed(ctx context.Context, m *sparse.CSR, cfg als.Config, opts als.Options) (*side, error) {
	var took, cpu []float64
	var last time.Duration
	var failed error
	lastCPU, err := processorTime()
	if err != nil {
		return nil, err
	}
	opts.Progress = func(p als.Progress) {
		now, err := processorTime()
		failed = errors.Join(failed, err)
		took, cpu = append(took, (p.Elapsed-last).Seconds()), append(cpu, now-lastCPU)
		last, lastCPU = p.Elapsed, now
	}
	if _, err := als.Train(ctx, m, cfg, opts); err != nil {
		return nil, err
	}
	return &side{seconds: median(took), cpu: median(cpu)}, failed
}

// processorTime is what this process has had, in seconds.
func processorTime() (float64, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("read the processor's time: %w", err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9, nil
}

// theirs returns the time of implicit's iteration, by its own clock, and leaves its factors in dir.
func (o options) theirs(ctx context.Context, dir string, m *sparse.CSR, cfg als.Config) (*side, error) {
	cmd := exec.CommandContext(ctx, o.python, "-c", peerScript, dir, strconv.Itoa(m.Rows), strconv.Itoa(m.Cols), strconv.Itoa(cfg.Dim), strconv.Itoa(cfg.Epochs),
		strconv.Itoa(o.threads), strconv.Itoa(1+alpha), strconv.Itoa(regularization), cfg.Solver)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS="+strconv.Itoa(o.threads), "MKL_NUM_THREADS=1")
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var r struct {
		Version string    `json:"version"`
		Seconds []float64 `json:"seconds"`
		CPU     []float64 `json:"cpu"`
		CGSteps int       `json:"cg_steps"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("understand %q: %w", out, err)
	}
	if len(r.Seconds) != cfg.Epochs || len(r.CPU) != cfg.Epochs || r.CGSteps != cgSteps {
		return nil, fmt.Errorf("%d iterations of %d steps, want %d of %d", len(r.Seconds), r.CGSteps, cfg.Epochs, cgSteps)
	}
	return &side{seconds: median(r.Seconds), cpu: median(r.CPU)}, nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func geometricMean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += math.Log(x)
	}
	return math.Exp(sum / float64(len(v)))
}
