package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"
)

//go:embed peer.py
var peerScript string

// peer is a process of PyTorch that has one variant compiled and warm, and waits for its turns.
type peer struct {
	variant string
	first   answer
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
}

// answer is a line of peer.py.
type answer struct {
	timing
	Version string    `json:"version"`
	Losses  []float64 `json:"losses"`
}

// start returns a peer that is ready; of a warm-up of 0 one that has answered with the losses of two epochs.
func (o options) start(ctx context.Context, dir string, w world, warm int, variant string) (*peer, error) {
	args := []string{"-c", peerScript, dir}
	for _, n := range []int{w.users, w.width, w.titles, w.dim, w.batch, w.negatives, warm, o.threads} {
		args = append(args, strconv.Itoa(n))
	}
	args = append(args, variant, strconv.FormatFloat(temperature, 'g', -1, 64), strconv.FormatFloat(rate, 'g', -1, 64))
	p := &peer{variant: variant, cmd: exec.CommandContext(ctx, o.python, args...)}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, p.failed(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, p.failed(err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, p.failed(err)
	}
	p.out = json.NewDecoder(out)
	if err := p.out.Decode(&p.first); err != nil {
		return nil, errors.Join(p.failed(fmt.Errorf("its first line: %w", err)), p.close())
	}
	return p, nil
}

func (p *peer) failed(err error) error { return fmt.Errorf("PyTorch, %s: %w", p.variant, err) }

// turn takes so many steps, or as many as limit has room for, and returns what each took.
func (p *peer) turn(steps int, limit time.Duration) (timing, error) {
	if _, err := fmt.Fprintf(p.in, "%d %g\n", steps, limit.Seconds()); err != nil {
		return timing{}, p.failed(err)
	}
	var a answer
	if err := p.out.Decode(&a); err != nil {
		return timing{}, p.failed(err)
	}
	if len(a.Seconds) == 0 || len(a.Seconds) != len(a.CPU) {
		return timing{}, p.failed(fmt.Errorf("%d steps and processor times of %d", len(a.Seconds), len(a.CPU)))
	}
	return a.timing, nil
}

// close ends the process.
func (p *peer) close() error {
	err := p.in.Close()
	if wait := p.cmd.Wait(); wait != nil {
		return p.failed(wait)
	}
	if err != nil {
		return p.failed(err)
	}
	return nil
}
