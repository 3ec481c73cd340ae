package ann

import "fmt"

// Reasons given in plans.
const (
	reasonEmpty      = "nothing is eligible"
	reasonNoGraph    = "the index has no graph"
	reasonForced     = "forced by the caller"
	reasonFewVectors = "comparing all vectors costs less than a walk"
	reasonFewLeft    = "comparing the eligible vectors costs less than a walk that skips the others"
	reasonWalk       = "a walk compares far fewer vectors than there are"
	reasonWalkDrop   = "nearly all vectors are eligible: the walk drops the others from what it found"
	reasonWalkFilter = "enough vectors are eligible for a walk to meet them"
	reasonWalkMissed = "what a walk found was mostly not eligible: another kept only what is"
	reasonUnsettled  = "a filtered walk did not settle within the cost of comparing the eligible vectors"
)

// The cost of a search is counted in rows of a scan: the time it takes to score one row where all are scored in order.
// Measured at 64 dimensions, with m = 16 and ef 128, on a Zen 4: a row takes 4 to 6 ns in float32 and 1.2 to 1.8 ns in int8,
// and a walk 0.3 us for each candidate it keeps. BenchmarkCrossover and BenchmarkFilters measure it again; BENCHMARK.md has what
// they found.

// walkCost is what a walk costs for each candidate it keeps. One that keeps what a filter lets through never gives up
// before the end, and costs more; in float32 its cost is that of memory either way.
func walkCost(int8s, filtered bool) float64 {
	switch {
	case !int8s:
		return 80
	case filtered:
		return 350
	}
	return 190
}

// gatherCost is what scoring a row costs where rows are scored out of order.
func gatherCost(int8s bool) float64 {
	if int8s {
		return 4
	}
	return 2
}

// exactCost is what an exact search over the eligible rows costs; byGather is true if it does best to touch these alone.
func exactCost(eligible, n int, int8s bool) (cost float64, byGather bool) {
	if c := gatherCost(int8s) * float64(eligible); c < float64(n) {
		return c, true
	}
	return float64(n), false
}

// filteredWalkCost is what a walk with a filter costs: among n rows it meets an eligible one every n/eligible.
func filteredWalkCost(ef, eligible, n int, int8s bool) float64 {
	return walkCost(int8s, !nearlyAll(eligible, n)) * float64(ef) * float64(n) / float64(eligible)
}

// walkBudget is how many rows a filtered walk may score: twice what it does where the filter has nothing to do with
// the query, or what an exact search costs, if that is more. A row scored by a walk costs as much as 40 of a scan in int8,
// 10 in float32.
func (ix *index) walkBudget(plan Plan, opts SearchOptions) int {
	if opts.Force == HNSW {
		return 2 * ix.n // more than there are to score
	}
	int8s := plan.Rerank > 0
	exact, _ := exactCost(plan.Eligible, ix.n, int8s)
	perRow := 10.0
	if int8s {
		perRow = 40
	}
	return int(max(exact/perRow, 20*float64(plan.EF)*float64(ix.n)/float64(plan.Eligible))) + ix.graph.head
}

func (ix *index) Plan(k int, opts SearchOptions) (Plan, error) {
	eligible := opts.eligible
	if eligible == 0 {
		var err error
		if eligible, err = checkFilter(opts.Filter, ix.n); err != nil {
			return Plan{}, err
		}
	}
	if k < 1 {
		return Plan{}, fmt.Errorf("ann: k must be at least 1, is %d", k)
	}
	k = min(k, eligible)
	plan := Plan{Strategy: Exact, Eligible: eligible}
	switch {
	case opts.EF < 0 || opts.Rerank < 0:
		return Plan{}, fmt.Errorf("ann: EF and Rerank must not be negative, are %d and %d", opts.EF, opts.Rerank)
	case opts.Force > HNSW:
		return Plan{}, fmt.Errorf("ann: only exact and hnsw can be forced, not %v", opts.Force)
	case opts.Force == HNSW && ix.graph == nil:
		return Plan{}, fmt.Errorf("ann: hnsw forced on an index without a graph")
	case k == 0:
		plan.Reason = reasonEmpty
		return plan, nil
	}
	if ix.int8s() && !opts.Float32 {
		plan.Rerank = opts.Rerank
		if plan.Rerank == 0 {
			plan.Rerank = max(40, 4*k)
			if opts.EF > 0 {
				plan.Rerank = min(plan.Rerank, max(opts.EF, k)) // not more than a walk was asked to keep
			}
		}
		plan.Rerank = min(max(plan.Rerank, k), eligible)
	}
	ix.chooseStrategy(&plan, k, opts)
	return plan, nil
}

// chooseStrategy decides between exact and walk, and sets EF and Reason.
func (ix *index) chooseStrategy(plan *Plan, k int, opts SearchOptions) {
	ef := opts.EF
	if ef == 0 {
		ef = ix.defaultEF()
	}
	ef = min(max(ef, k, plan.Rerank), ix.n)
	filtered := plan.Eligible < ix.n
	int8s := plan.Rerank > 0
	exact, _ := exactCost(plan.Eligible, ix.n, int8s)
	switch {
	case ix.graph == nil:
		plan.Reason = reasonNoGraph
		return
	case opts.Force == Exact:
		plan.Reason = reasonForced
		return
	case opts.Force == HNSW:
		plan.Reason = reasonForced
	case exact <= filteredWalkCost(ef, plan.Eligible, ix.n, int8s):
		plan.Reason = reasonFewVectors
		if filtered {
			plan.Reason = reasonFewLeft
		}
		return
	case filtered && nearlyAll(plan.Eligible, ix.n):
		plan.Reason = reasonWalkDrop
	case filtered:
		plan.Reason = reasonWalkFilter
	default:
		plan.Reason = reasonWalk
	}
	plan.Strategy, plan.EF = HNSW, ef
	if !filtered {
		return
	}
	if nearlyAll(plan.Eligible, ix.n) {
		out := ix.n - plan.Eligible
		plan.spare = 2 + 2*k*out/ix.n
		plan.EF = min(ef+2*ef*out/ix.n, ix.n)
		return
	}
	plan.Strategy, plan.EF = FilteredHNSW, min(ef, plan.Eligible)
}

// nearlyAll reports whether so few of n vectors are not eligible that a walk may go as if there were no filter, and drop them from
// what it found: an index in which some vectors are out of date.
func nearlyAll(eligible, n int) bool { return eligible >= n-n/10 }
