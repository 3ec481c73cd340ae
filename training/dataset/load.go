package dataset

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"marquee/features/snapshot"
	"marquee/internal/lake"
	"marquee/internal/sparse"
)

// InteractionSet is the feature set that data sets are made of.
const InteractionSet = "interactions"

// Load reads the interactions of a snapshot, of the newest one when id is empty. Parts are read side by side, one a
// processor, straight into the arrays that are returned (25 bytes an entry), so memory at its peak is those arrays plus one
// part a processor. Errors wrap snapshot.ErrNotFound or snapshot.ErrCorrupt where that is what is wrong.
func Load(ctx context.Context, l *lake.Lake, id string) (*Interactions, error) {
	set, err := snapshot.Open(ctx, l, InteractionSet, id)
	if err != nil {
		return nil, err
	}
	x, err := FromSet(ctx, set)
	if err != nil {
		return nil, fmt.Errorf("load snapshot %s: %w", set.Snapshot, err)
	}
	return x, nil
}

// FromSet is Load for a set that is already open.
func FromSet(ctx context.Context, set *snapshot.Set) (*Interactions, error) {
	n := set.RowCount
	ld := &loader{
		x: &Interactions{
			Snapshot:  set.Snapshot,
			AsOf:      set.AsOf.UnixMicro(),
			ByProfile: &sparse.CSR{Indices: make([]uint32, n), Values: make([]float32, n)},
			FirstAt:   make([]int64, n),
			LastAt:    make([]int64, n),
			Flags:     make([]Flags, n),
		},
		numbers: map[string]uint32{},
		runs:    make([][]run, len(set.Parts)),
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	from := int64(0)
	for i, p := range set.Parts {
		start := from
		g.Go(func() error { return ld.part(gctx, set, i, start) })
		from += p.Rows
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := ld.profiles(); err != nil {
		return nil, err
	}
	ld.titles()
	if err := ld.x.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", snapshot.ErrCorrupt, err)
	}
	return ld.x, nil
}

// run is a profile and how many rows in a row are its.
type run struct {
	profile string
	rows    int64
}

// loader gathers the parts. Until all are read, Indices hold titles by order of first appearance.
type loader struct {
	x    *Interactions
	runs [][]run // a part

	mu      sync.Mutex
	words   []string
	numbers map[string]uint32
}

// part reads the i-th part into the entries from start on.
func (ld *loader) part(ctx context.Context, set *snapshot.Set, i int, start int64) error {
	c, err := set.ReadPart(ctx, i, "profile_id", "title_id", "strength", "first_at", "last_at", "abandoned", "disliked", "liked", "listed")
	if err != nil {
		return err
	}
	profiles, err1 := c.Strings("profile_id")
	titles, err2 := c.Strings("title_id")
	strengths, err3 := c.Int32s("strength")
	first, err4 := c.Int64s("first_at")
	last, err5 := c.Int64s("last_at")
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	ld.runs[i] = runsOf(profiles)
	numbers := ld.number(titles.Values)
	x := ld.x
	indices, values := x.ByProfile.Indices[start:], x.ByProfile.Values[start:]
	for r, id := range titles.IDs {
		indices[r] = numbers[id]
		values[r] = float32(strengths[r]) / 10000
	}
	copy(x.FirstAt[start:], first)
	copy(x.LastAt[start:], last)
	for name, flag := range map[string]Flags{"abandoned": Abandoned, "disliked": Disliked, "liked": Liked, "listed": Listed} {
		set, err := c.Bools(name)
		if err != nil {
			return err
		}
		for r, is := range set {
			if is {
				x.Flags[start+int64(r)] |= flag
			}
		}
	}
	return nil
}

func runsOf(profiles *snapshot.Dict) []run {
	var runs []run
	for r, id := range profiles.IDs {
		if r == 0 || profiles.IDs[r-1] != id {
			runs = append(runs, run{profile: profiles.Values[id]})
		}
		runs[len(runs)-1].rows++
	}
	return runs
}

// number gives every word its number among the words of all parts.
func (ld *loader) number(words []string) []uint32 {
	out := make([]uint32, len(words))
	ld.mu.Lock()
	defer ld.mu.Unlock()
	for i, w := range words {
		n, ok := ld.numbers[w]
		if !ok {
			n = uint32(len(ld.words))
			ld.numbers[w] = n
			ld.words = append(ld.words, w)
		}
		out[i] = n
	}
	return out
}

// profiles puts the parts' runs together into rows. A profile may begin in one part and go on in the next.
func (ld *loader) profiles() error {
	var ids []string
	ends := []int64{0}
	for _, part := range ld.runs {
		for _, r := range part {
			if n := len(ids); n == 0 || ids[n-1] != r.profile {
				ids = append(ids, r.profile)
				ends = append(ends, ends[len(ends)-1])
			}
			ends[len(ends)-1] += r.rows
		}
	}
	v, err := NewVocabulary(ids)
	if err != nil {
		return fmt.Errorf("%w: its profiles are out of order: %w", snapshot.ErrCorrupt, err)
	}
	ld.x.Profiles = v
	ld.x.ByProfile.Rows, ld.x.ByProfile.Indptr = v.Len(), ends
	return nil
}

// titles sorts the titles and renumbers the entries accordingly. Rows come by title, so their columns then ascend.
func (ld *loader) titles() {
	order := make([]uint32, len(ld.words))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int { return strings.Compare(ld.words[a], ld.words[b]) })
	ids, rank := make([]string, len(order)), make([]uint32, len(order))
	for to, from := range order {
		ids[to] = ld.words[from]
		rank[from] = uint32(to)
	}
	ld.x.Titles = &Vocabulary{ids: ids}
	ld.x.ByProfile.Cols = len(ids)
	workers := runtime.GOMAXPROCS(0)
	all := ld.x.ByProfile.Indices
	each(workers, func(w int) {
		for i := w * len(all) / workers; i < (w+1)*len(all)/workers; i++ {
			all[i] = rank[all[i]]
		}
	})
}
