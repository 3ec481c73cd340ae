package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"marquee/eval/report"
	"marquee/internal/sparse"
	"marquee/training/als"
)

// scaled is what training took on a synthetic set of one size, in a process of its own.
type scaled struct {
	Solver       string  `json:"solver"`
	Interactions int     `json:"interactions"`
	Users        int     `json:"users"`
	Titles       int     `json:"titles"`
	Seconds      float64 `json:"seconds"` // an epoch's, the median
	CPU          float64 `json:"cpu_seconds"`
	// Matrix is the bytes of the interactions by user and by title (CSR and CSC), Peak those resident at most.
	Matrix int64 `json:"matrix_bytes"`
	Peak   int64 `json:"peak_bytes"`
}

// scale trains on ever larger sets and writes the table of what that took.
func (o options) scale(ctx context.Context, w io.Writer) error {
	var all []*scaled
	for _, solver := range []string{als.SolverCholesky, als.SolverCG} {
		for text := range strings.SplitSeq(o.sizes, ",") {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1000 || n > math.MaxInt32 {
				return fmt.Errorf("-scale takes numbers of interactions from 1000 to %d, not %q", math.MaxInt32, text)
			}
			one, err := o.scaleApart(ctx, n, solver)
			if err != nil {
				return fmt.Errorf("train on %d interactions: %w", n, err)
			}
			fmt.Fprintf(os.Stderr, "%s, %d interactions: %.2f s an epoch, %.2f GB\n", solver, one.Interactions, one.Seconds, float64(one.Peak)/1e9)
			all = append(all, one)
		}
	}
	if _, err := fmt.Fprintf(w, scaleText, o.sizes); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return scaleTable(all, o).Write(w, "markdown")
}

const scaleText = `# How training grows with the data

Written by ` + "`make bench-scale`" + ` (benchals -scale %s): each line is a process of its own that draws a synthetic set, whose shape is the
same at every size, and trains on it. Memory is what was resident at most, with the set itself, both factor matrices and the Go runtime.

`

// scaleApart runs this command again for one size: only a process of its own has a peak of memory of its own.
func (o options) scaleApart(ctx context.Context, n int, solver string) (*scaled, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this command: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "-one", strconv.Itoa(n), "-solver", solver, "-dim", strconv.Itoa(o.dim),
		"-threads", strconv.Itoa(o.threads), "-iterations", strconv.Itoa(o.iterations))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	s := new(scaled)
	if err := json.Unmarshal(out, s); err != nil {
		return nil, fmt.Errorf("understand %q: %w", out, err)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return nil, errors.New("this system does not say how much memory a process took")
	}
	s.Peak = usage.Maxrss << 10
	return s, nil
}

// scaleOne trains on n interactions and writes what that took as JSON, save for the memory.
func (o options) scaleOne(ctx context.Context, w io.Writer) error {
	m, err := grown(o.one)
	if err != nil {
		return err
	}
	cfg := als.DefaultConfig()
	cfg.Dim, cfg.Epochs, cfg.Workers, cfg.Solver, cfg.TrackLoss = o.dim, o.iterations, o.threads, o.solver, false
	us, err := timed(ctx, m, cfg, als.Options{})
	if err != nil {
		return err
	}
	runtime.KeepAlive(m)
	return json.NewEncoder(w).Encode(scaled{
		Solver: o.solver, Interactions: m.NNZ(), Users: m.Rows, Titles: m.Cols, Seconds: us.seconds, CPU: us.cpu,
		Matrix: int64(m.NNZ())*16 + 8*int64(m.Rows+m.Cols+2),
	})
}

// grown draws about n interactions of n/50 users with n/200 titles, row by row: nothing but the matrix itself is held. Whatever n is, the
// popularity that titles are drawn by has one shape and so has the activity of users: sets differ by their size, and the smaller by how soon a user
// has met all that is popular.
func grown(n int) (*sparse.CSR, error) {
	rng := rand.New(rand.NewPCG(20260712, uint64(n)))
	users, titles := n/50, n/200
	flat := float64(titles) / 400
	spread := math.Log((float64(titles) + flat) / flat)
	m := &sparse.CSR{Rows: users, Cols: titles, Indptr: make([]int64, 1, users+1), Indices: make([]uint32, 0, n)}
	met := make([]uint32, titles) // the last user who met a title, from 1
	for u := range users {
		begin := len(m.Indices)
		// Log-normal activity with a mean of 50 titles; one met already is drawn again.
		want := min(int(math.Round(50*math.Exp(rng.NormFloat64()-0.5))), cap(m.Indices)-begin, titles/2)
		for tries := 8 * want; tries > 0 && len(m.Indices) < begin+want; tries-- {
			title := min(uint32(flat*math.Exp(rng.Float64()*spread)-flat), uint32(titles-1))
			if met[title] != uint32(u+1) {
				met[title], m.Indices = uint32(u+1), append(m.Indices, title)
			}
		}
		slices.Sort(m.Indices[begin:])
		m.Indptr = append(m.Indptr, int64(len(m.Indices)))
	}
	m.Values = make([]float32, len(m.Indices))
	for i := range m.Values {
		m.Values[i] = 1
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("draw %d interactions: %w", n, err)
	}
	return m, nil
}

func scaleTable(all []*scaled, o options) report.Table {
	t := report.Table{
		Title: fmt.Sprintf("d=%d, %d threads, median of %d epochs, %s", o.dim, o.threads, o.iterations, time.Now().UTC().Format(time.DateOnly)),
		Header: []string{
			"solver", "interactions", "users", "titles", "epoch, s", "s a million", "processor s a million", "exponent", "CSR + CSC, GB", "peak resident, GB", "by CSR + CSC",
		},
		Notes: []string{"Exponent: of the power of the interactions that processor time grew by since the line above; 1 is linear."},
	}
	for i, s := range all {
		exponent := ""
		if i > 0 && all[i-1].Solver == s.Solver {
			before := all[i-1]
			exponent = fmt.Sprintf("%.2f", math.Log(s.CPU/before.CPU)/math.Log(float64(s.Interactions)/float64(before.Interactions)))
		}
		million := float64(s.Interactions) / 1e6
		t.Rows = append(t.Rows, []string{
			s.Solver, strconv.Itoa(s.Interactions), strconv.Itoa(s.Users), strconv.Itoa(s.Titles), fmt.Sprintf("%.2f", s.Seconds),
			fmt.Sprintf("%.3f", s.Seconds/million), fmt.Sprintf("%.3f", s.CPU/million), exponent,
			fmt.Sprintf("%.3f", float64(s.Matrix)/1e9), fmt.Sprintf("%.3f", float64(s.Peak)/1e9), fmt.Sprintf("%.2f", float64(s.Peak)/float64(s.Matrix)),
		})
	}
	return t
}
