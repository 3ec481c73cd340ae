package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"marquee/ann"
)

// memoryEF is the efConstruction of the indexes whose memory is measured: that of a graph depends on M alone, so it need not be
// a good one.
const memoryEF = 16

// footprint is what an index file takes to open, in a process of its own.
type footprint struct {
	Open     []time.Duration `json:"open"`     // ann.Open, each on a mapping of its own
	Resident int64           `json:"resident"` // bytes of memory added once every page has been read
}

// memory compares what indexes of one set take in memory after they were loaded from files, each in a process of its own that
// has done nothing else, and says how long opening takes.
func (o options) memory(ctx context.Context, p *peer, s *set) error {
	if _, err := p.load(s); err != nil {
		return err
	}
	saved := p.file("hnswlib")
	if _, err := p.ask(command{Do: "build", Engine: "hnswlib", M: m, EFConstruction: memoryEF, Threads: o.threads}); err != nil {
		return err
	}
	if _, err := p.ask(command{Do: "save", Out: saved}); err != nil {
		return err
	}
	base, err := o.restored(ctx, p.dir, command{Do: "restore", Out: saved, Metric: s.metricName(), Dim: s.dim})
	if err != nil {
		return err
	}
	fmt.Printf("%-24s %-16s %9s %6s %9s\n", "set", "engine", "MB", "ratio", "open ms")
	fmt.Printf("%-24s %-16s %9.1f %6.2f\n", s.name, "hnswlib", float64(base)/1e6, 1.0)
	for _, int8s := range []bool{false, true} {
		name := map[bool]string{false: "marquee float32", true: "marquee int8"}[int8s]
		f, err := o.opened(ctx, s, p.file("index"), int8s)
		if err != nil {
			return fmt.Errorf("%s on %s: %w", name, s.name, err)
		}
		fmt.Printf("%-24s %-16s %9.1f %6.2f %9.2f (longest of %d: %.2f)\n", s.name, name, float64(f.Resident)/1e6,
			float64(f.Resident)/float64(base), millis(median(f.Open)), len(f.Open), millis(slices.Max(f.Open)))
	}
	return nil
}

func millis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// restored is what an hnswlib index takes in a peer of its own.
func (o options) restored(ctx context.Context, dir string, c command) (_ int64, err error) {
	fresh, err := startPeer(ctx, o.python, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, fresh.close()) }()
	a, err := fresh.exchange(c)
	return a.Resident, err
}

// opened builds an index, writes it, and has another process of this program open it.
func (o options) opened(ctx context.Context, s *set, path string, int8s bool) (f footprint, err error) {
	ix, err := ann.Build(ctx, s.vectors, s.dim, ann.Options{
		Metric: s.metric, Kind: ann.HNSW, Int8: int8s, M: m, EFConstruction: memoryEF, Threads: o.threads,
	})
	if err != nil {
		return f, fmt.Errorf("build: %w", err)
	}
	if err := ann.WriteFile(path, ix); err != nil {
		return f, err
	}
	self, err := os.Executable()
	if err != nil {
		return f, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "-open", path)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return f, fmt.Errorf("open %s in another process: %w", filepath.Base(path), err)
	}
	if err := json.Unmarshal(out, &f); err != nil {
		return f, fmt.Errorf("what another process measured: %w", err)
	}
	return f, nil
}

// printFootprint is what that process does.
func printFootprint(path string) error {
	f, err := measureOpen(path)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// measureOpen opens the file some times, the last time reading all of it.
func measureOpen(path string) (f footprint, err error) {
	const times = 21
	before, err := resident()
	if err != nil {
		return f, err
	}
	for range times - 1 {
		file, err := f.open(path)
		if err != nil {
			return f, err
		}
		if err := file.Close(); err != nil {
			return f, err
		}
	}
	file, err := f.open(path)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := file.Verify(); err != nil {
		return f, err
	}
	after, err := resident()
	f.Resident = after - before
	return f, err
}

func (f *footprint) open(path string) (*ann.File, error) {
	start := time.Now()
	file, err := ann.Open(path)
	f.Open = append(f.Open, time.Since(start))
	return file, err
}

// resident is what of this process is in memory, in bytes.
func resident() (int64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("how much memory this takes: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("how much memory this takes: %w", err)
			}
			return kb * 1024, nil
		}
	}
	return 0, errors.New("/proc/self/status has no VmRSS")
}
