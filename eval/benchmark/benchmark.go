// Package benchmark reads the layouts in which papers publish their splits, so that a number of ours stands beside theirs:
// the same train side, the same test titles, the same candidates. Layouts are read strictly: a line that is not what the
// layout says, or a split that leaks, is an error that names file and line.
package benchmark

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"marquee/eval/metric/judge"
	"marquee/internal/sparse"
)

// ErrFormat is wrapped by every error about a file that is not what its layout says.
var ErrFormat = errors.New("not in this layout")

// Benchmark is a published split.
type Benchmark struct {
	// Format is the layout's name, Dir the folder it was read from.
	Format, Dir string
	// Fit is what models are fitted to: users x titles, ones. Holdout.Train, what is known of a user when judged and what is
	// masked, may hold more: layouts for sequential models tell it apart.
	Fit *sparse.CSR
	// Sequences are the users' titles of Holdout.Train in order of time; nil where the layout has no order.
	Sequences [][]uint32
	Holdout   *judge.Holdout
	// Cutoffs are the lengths of list its papers report.
	Cutoffs []int
	// Notes say what was set right while reading.
	Notes []string
}

// Formats are the layouts known, in the order of help texts.
func Formats() []string { return []string{"lightgcn", "ncf", "sasrec"} }

// Load reads the split of the layout from dir.
func Load(format, dir string) (*Benchmark, error) {
	load := map[string]func(string) (*Benchmark, error){"lightgcn": loadLightGCN, "ncf": loadNCF, "sasrec": loadSASRec}[format]
	if load == nil {
		return nil, fmt.Errorf("there is no format %q; there are %s", format, strings.Join(Formats(), ", "))
	}
	b, err := load(dir)
	if err != nil {
		return nil, fmt.Errorf("read %s split: %w", format, err)
	}
	b.Format, b.Dir = format, filepath.Clean(dir)
	if err := b.Holdout.Validate(); err != nil {
		return nil, fmt.Errorf("read %s split from %s: %w", format, dir, err)
	}
	return b, nil
}

// pairs gathers interactions.
type pairs struct {
	user, title []uint32
	users       int
	titles      int
}

func (p *pairs) add(u, t uint32) {
	p.user, p.title = append(p.user, u), append(p.title, t)
	p.meet(u, t)
}

// meet makes room for a user and a title that may have no interaction.
func (p *pairs) meet(u, t uint32) {
	p.users, p.titles = max(p.users, int(u)+1), max(p.titles, int(t)+1)
}

// matrix makes the pairs a matrix of ones; a pair that occurs twice counts once, and repeats counts them.
func (p *pairs) matrix(users, titles int) (m *sparse.CSR, repeats int, err error) {
	m, err = sparse.FromTriplets(users, titles, p.user, p.title, nil, sparse.Max)
	if err != nil {
		return nil, 0, err
	}
	return m, len(p.user) - m.NNZ(), nil
}

// holdout gathers what is judged.
type holdout map[uint32][]uint32

// lists returns the users that have titles, ascending, and their titles, ascending and each once.
func (h holdout) lists() (users []uint32, titles [][]uint32) {
	for u, l := range h {
		if len(l) > 0 {
			users = append(users, u)
		}
	}
	slices.Sort(users)
	for _, u := range users {
		l := h[u]
		slices.Sort(l)
		titles = append(titles, slices.Compact(l))
	}
	return users, titles
}
