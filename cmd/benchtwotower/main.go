// Command benchtwotower measures how fast two towers train, beside PyTorch (PyPI) on the processor in the same run: the same model (a user's own
// embedding and the mean of 50 watched titles through a matrix, cosines), the same loss (a softmax over the batch's titles and as many sampled
// ones, corrected for popularity), the same optimiser (Adam, lazy on embeddings) and number of threads. PyTorch is measured with sparse embeddings
// and SparseAdam, eager and with torch.compile, and with dense embeddings and its fused Adam; the best of them counts, by the clock and by
// processor time each. Its batches are made before the clock starts, ours while it runs. The sides take turns, PyTorch's variants in processes that
// stay: compiling and warming up are not measured. That both train the same is shown by the mean losses of two epochs on a smaller set. One line of
// JSON comes last.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

type options struct {
	python                 string
	quick                  bool
	threads, steps, rounds int
	turn                   time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.python, "python", "", "an interpreter that has torch (make bench-twotower makes one)")
	flag.BoolVar(&o.quick, "quick", false, "fewer steps, one round")
	flag.IntVar(&o.threads, "threads", 2, "threads of each side")
	flag.IntVar(&o.steps, "steps", 40, "steps of each side and round, 20 with -quick")
	flag.DurationVar(&o.turn, "turn", 10*time.Second, "what the steps of PyTorch in a round may last; three are taken at least")
	flag.IntVar(&o.rounds, "rounds", 3, "turns of each side")
	flag.Parse()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "benchtwotower:", err)
		os.Exit(1)
	}
}

// variants are the ways PyTorch is run; the quickest counts.
var variants = [...]string{"sparse", "sparse-compiled", "dense", "dense-compiled"}

// summary is the last line of output.
type summary struct {
	// StepRatio is PyTorch's time of a step by ours: how many times its examples a second we train.
	StepRatio float64 `json:"step_ratio"`
	// CPURatio is the same by processor time, which a busy machine does not change much; the best there may be another variant.
	CPURatio float64 `json:"cpu_ratio"`
	Ours     float64 `json:"marquee_examples_per_s"`
	Theirs   float64 `json:"torch_examples_per_s"`
	Variant  string  `json:"torch_variant"`
	Version  string  `json:"torch_version"`
	// Steps are the median seconds of PyTorch's variants and ours.
	Steps      map[string]float64 `json:"step_seconds"`
	CPU        map[string]float64 `json:"step_cpu_seconds"`
	OurLosses  []float64          `json:"marquee_losses"`
	TorchLoses []float64          `json:"torch_losses"`
}

func run(ctx context.Context, o options, w io.Writer) (err error) {
	if o.python == "" {
		return errors.New("-python is missing: an interpreter that has torch (make bench-twotower makes one)")
	}
	if o.steps < 1 || o.threads < 1 || o.rounds < 1 || o.turn <= 0 {
		return errors.New("-steps, -threads and -rounds must be 1 or more, -turn above 0")
	}
	if o.quick {
		o.steps, o.rounds = 20, 1
	}
	dir, err := os.MkdirTemp("", "benchtwotower-")
	if err != nil {
		return fmt.Errorf("a folder to hand the histories over in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := summary{Steps: map[string]float64{}, CPU: map[string]float64{}}
	if s.OurLosses, s.TorchLoses, err = o.losses(ctx, dir); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(w, "mean losses of two epochs of a small set: ours %.4f, PyTorch's %.4f\n", s.OurLosses, s.TorchLoses)
	big := measuredWorld()
	data := big.histories()
	if err := writeHistories(dir, data); err != nil {
		return err
	}
	peers, err := o.peers(ctx, dir, big)
	defer func() {
		for _, p := range peers {
			err = errors.Join(err, p.close())
		}
	}()
	if err != nil {
		return err
	}
	s.Version = peers[0].first.Version
	var us timing
	them := map[string]*timing{}
	for round := range o.rounds {
		one, err := ours(ctx, big, data, o.threads, o.steps)
		if err != nil {
			return err
		}
		us.add(one)
		_, _ = fmt.Fprintf(w, "round %d: ours %s\n", round+1, one)
		for _, p := range peers {
			t, err := p.turn(o.steps, o.turn)
			if err != nil {
				return err
			}
			if them[p.variant] == nil {
				them[p.variant] = &timing{}
			}
			them[p.variant].add(t)
			_, _ = fmt.Fprintf(w, "round %d: PyTorch %s %s\n", round+1, p.variant, t)
		}
	}
	s.conclude(us, them, big.batch)
	return json.NewEncoder(w).Encode(s)
}

// peers are PyTorch's variants, ready; with an error those that are.
func (o options) peers(ctx context.Context, dir string, w world) ([]*peer, error) {
	var out []*peer
	for _, v := range variants {
		p, err := o.start(ctx, dir, w, warmUp, v)
		if err != nil {
			return out, err
		}
		out = append(out, p)
	}
	return out, nil
}

// conclude takes the best of PyTorch's variants by their medians.
func (s *summary) conclude(us timing, them map[string]*timing, batch int) {
	ours, cpu := median(us.Seconds), median(us.CPU)
	s.Steps["marquee"], s.CPU["marquee"] = ours, cpu
	best, bestCPU := math.Inf(1), math.Inf(1)
	for v, t := range them {
		s.Steps[v], s.CPU[v] = median(t.Seconds), median(t.CPU)
		if s.Steps[v] < best {
			best, s.Variant = s.Steps[v], v
		}
		bestCPU = min(bestCPU, s.CPU[v])
	}
	s.StepRatio, s.CPURatio, s.Ours, s.Theirs = best/ours, bestCPU/cpu, float64(batch)/ours, float64(batch)/best
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	if len(sorted) == 0 {
		return 0
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
