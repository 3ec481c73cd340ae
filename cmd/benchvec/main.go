package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/cpu"

	"marquee/eval/report"
	"marquee/internal/vec"
)

//go:embed peer.c.txt
var peerSource string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	openblas := flag.String("openblas", "", "path of numpy's libscipy_openblas64_ (make bench-vec finds it)")
	flag.Parse()
	if err := run(ctx, *openblas, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "benchvec:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, openblas string, w io.Writer) error {
	if openblas == "" {
		return errors.New("-openblas is missing: numpy's libscipy_openblas64_ (make bench-vec finds it)")
	}
	all := kernels()
	theirs, err := peer(ctx, openblas, all)
	if err != nil {
		return err
	}
	// The first two of the peer's are the multipliers alone, on registers of 256 and 512 bits.
	peak := max(theirs[0], theirs[1])
	theirs = theirs[2:]
	t := report.Table{
		Title:  fmt.Sprintf("One thread, GFLOP/s, %s", time.Now().UTC().Format(time.DateOnly)),
		Header: []string{"kernel", "size", "marquee", "of peak", "gonum", "OpenBLAS", "marquee by gonum", "marquee by OpenBLAS"},
		Notes: []string{
			fmt.Sprintf("Peak: %.1f GFLOP/s of multiplications and additions in registers and nothing else.", peak),
			fmt.Sprintf("Memory: %s.", memory()),
			"100000 rows of 128: 51 MB of float32 come out of memory, where the bound is bandwidth; 13 MB of int8 stay in a third-level cache of 16 MB and more.",
			"Dot of one pair: OpenBLAS takes registers of 512 bits where there are any, marquee 256. Training and search multiply many rows at a time (gemv, gemm).",
			"Cholesky and solve are gonum's for float64: it has none for float32. Operations on int8 are counted as such.",
		},
	}
	for i, k := range all {
		us, gonum, blas := rate(k.flops, k.ours), 0.0, theirs[i]
		if k.gonum != nil {
			gonum = rate(k.flops, k.gonum)
		}
		t.Rows = append(t.Rows, []string{
			k.name, k.size(), fmt.Sprintf("%.1f", us), fmt.Sprintf("%.2f", us/peak), figure("%.1f", gonum), figure("%.1f", blas),
			figure("%.2f", ratio(us, gonum)), figure("%.2f", ratio(us, blas)),
		})
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return t.Write(w, "markdown")
}

const text = `# The kernels beside gonum and OpenBLAS

Written by ` + "`make bench-vec`" + `: the best of five runs each, one thread, operands in the caches where they fit.

`

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func figure(format string, v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf(format, v)
}

// rate is the most GFLOP/s of five runs of a thirtieth of a second or more.
func rate(flops float64, f func()) float64 {
	best, rounds := 0.0, 1
	for good := 0; good < 5; {
		begin := time.Now()
		for range rounds {
			f()
		}
		took := time.Since(begin).Seconds()
		if took < 0.03 {
			rounds *= 2
			continue
		}
		good++
		best = max(best, flops*float64(rounds)/took/1e9)
	}
	return best
}

// peer compiles the driver and returns GFLOP/s: of registers of 256 and of 512 bits, then of OpenBLAS at each kernel, 0 where it has none.
func peer(ctx context.Context, openblas string, all []kernel) (_ []float64, err error) {
	dir, err := os.MkdirTemp("", "benchvec-")
	if err != nil {
		return nil, fmt.Errorf("a folder for the driver: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	source, program := filepath.Join(dir, "peer.c"), filepath.Join(dir, "peer")
	if err := os.WriteFile(source, []byte(peerSource), 0o600); err != nil {
		return nil, fmt.Errorf("a folder for the driver: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "cc", "-O2", "-o", program, source, "-ldl").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile the driver of OpenBLAS: %w\n%s", err, out)
	}
	args := []string{openblas, "peak", "256", "0", "0", "0"}
	second := "256"
	if cpu.X86.HasAVX512F {
		second = "512"
	}
	args = append(args, "peak", second, "0", "0", "0")
	at := []int{}
	rates := make([]float64, 2+len(all))
	for i, k := range all {
		if !strings.HasPrefix(k.name, "int8") {
			at = append(at, i)
			args = append(args, k.name, strconv.Itoa(k.n), strconv.Itoa(k.m), strconv.Itoa(k.k), strconv.FormatFloat(k.flops, 'g', -1, 64))
		}
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "OPENBLAS_NUM_THREADS=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("drive OpenBLAS: %w", err)
	}
	lines := bytes.Fields(out)
	if len(lines) != 2+len(at) {
		return nil, fmt.Errorf("drive OpenBLAS: %d results, want %d", len(lines), 2+len(at))
	}
	for i, line := range lines {
		v, err := strconv.ParseFloat(string(line), 64)
		if err != nil {
			return nil, fmt.Errorf("drive OpenBLAS: %w", err)
		}
		if i < 2 {
			rates[i] = v
		} else {
			rates[2+at[i-2]] = v
		}
	}
	return rates, nil
}

// memory reads 512 MB in order by one thread and by two, and rows of 512 bytes at random.
func memory() string {
	const rows, cols = 1 << 20, 128
	m, x := vec.Large(rows*cols), floats(cols)
	for i := range m {
		m[i] = 1
	}
	dst := make([]float32, rows)
	ids := make([]uint32, 1<<16)
	rng := rand.New(rand.NewPCG(3, 3))
	for i := range ids {
		ids[i] = rng.Uint32N(rows)
	}
	half := rows / 2
	one := rate(rows*cols*4, func() { vec.Gemv(dst, m, x) })
	two := rate(rows*cols*4, func() {
		var wg sync.WaitGroup
		wg.Go(func() { vec.Gemv(dst[:half], m[:half*cols], x) })
		wg.Go(func() { vec.Gemv(dst[half:], m[half*cols:], x) })
		wg.Wait()
	})
	random := rate(float64(len(ids))*cols*4, func() { vec.GatherDot(dst, m, x, ids) })
	near := rate(256*cols*4, func() { vec.Gemv(dst[:256], m[:256*cols], x) })
	return fmt.Sprintf("%.1f GB/s read in order by one thread and %.1f by two, %.1f in rows of 512 bytes at random; %.1f out of the second-level cache", one, two, random, near)
}
