package judge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"marquee/eval/metric"
)

// ErrNaN is wrapped where a model scores a title as NaN.
var ErrNaN = errors.New("NaN score")

// Options say how to judge.
type Options struct {
	// Cutoffs are the lengths of list to take metrics at, ascending. The longest is the length of the lists kept.
	Cutoffs []int
	// Ties says where relevant titles stand among candidates of equal score. Worst, unless a report asks for the others to
	// show what ties could hide.
	Ties metric.Ties
	// Attributes, where not nil, are the titles': diversity and miscalibration are taken by them.
	Attributes *Attributes
	// AUC takes the user-wise area under the ROC curve as well, over everything that may be ranked: the metric auc.
	AUC bool
	// Workers is the number of goroutines; 0 means one a processor. It does not affect the result.
	Workers int
}

// Result is how a model did on the judged users.
type Result struct {
	// Users are the judged users, in the order of every list below.
	Users []uint32
	// PerUser holds a value a user by metric's name, such as ndcg@10.
	PerUser map[string][]float64
	// Means are the means of PerUser, and coverage, gini and entropy of all lists at every cutoff.
	Means map[string]float64
	// Lists are the recommended titles, K a user; a list that is shorter is filled up with None.
	Lists []uint32
	K     int
	// Findings are what should be known before a number of this result is believed.
	Findings []Finding
	// Fingerprint says what the numbers are of.
	Fingerprint Fingerprint
}

// None fills a list that is shorter than K.
const None = math.MaxUint32

// List returns the recommended titles of the i-th judged user, best first.
func (r *Result) List(i int) []uint32 {
	l := r.Lists[i*r.K : (i+1)*r.K]
	if n := slices.Index(l, None); n >= 0 {
		return l[:n]
	}
	return l
}

// names lists the metrics taken at every cutoff, with how each is taken from a list.
func names() []string {
	return []string{"precision", "recall", "capped_recall", "hit_rate", "ndcg", "mrr", "map"}
}

// batch is how many users are scored in one call: enough to use a tile of title vectors well.
const batch = 32

// Judge ranks what the holdout says for every judged user and measures the lists. A split that Validate refuses and a score
// that is NaN are errors; what is merely suspicious is a finding.
func Judge(ctx context.Context, h *Holdout, s Scorer, opts Options) (*Result, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	if len(opts.Cutoffs) == 0 || opts.Cutoffs[0] < 1 || !slices.IsSorted(opts.Cutoffs) {
		return nil, fmt.Errorf("cutoffs must be ascending and 1 or more, are %v", opts.Cutoffs)
	}
	if err := opts.Attributes.validate(h.Train.Cols); err != nil {
		return nil, err
	}
	j := newJudgement(h, s, opts)
	workers := opts.Workers
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = min(workers, (len(h.Users)+batch-1)/batch)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			if errs[w] = j.work(ctx); errs[w] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	if err := firstCause(errs); err != nil {
		return nil, err
	}
	return j.result(), nil
}

// firstCause prefers the error that made a worker stop to those of workers stopped because of it.
func firstCause(errs []error) error {
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return errors.Join(errs...)
}

// judgement is a run of Judge.
type judgement struct {
	h       *Holdout
	s       Scorer
	opts    Options
	k       int
	metrics []string    // name@cutoff, cutoff by cutoff
	values  [][]float64 // by metric, then user
	lists   []uint32
	flat    []bool // by user: all ranked scores were alike
	mu      sync.Mutex
	next    int
}

func newJudgement(h *Holdout, s Scorer, opts Options) *judgement {
	n := len(h.Users)
	j := &judgement{h: h, s: s, opts: opts, k: opts.Cutoffs[len(opts.Cutoffs)-1], flat: make([]bool, n)}
	for _, k := range opts.Cutoffs {
		for _, name := range names() {
			j.metrics = append(j.metrics, name+"@"+strconv.Itoa(k))
			j.values = append(j.values, make([]float64, n))
		}
	}
	if opts.AUC {
		j.metrics, j.values = append(j.metrics, aucName), append(j.values, make([]float64, n))
	}
	j.lists = make([]uint32, n*j.k)
	return j
}

// take hands out the next users to score.
func (j *judgement) take() (lo, hi int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	lo = j.next
	j.next = min(lo+batch, len(j.h.Users))
	return lo, j.next
}

func (j *judgement) work(ctx context.Context) error {
	titles := j.h.Train.Cols
	w := worker{judgement: j, masked: make([]float32, titles)}
	scores := make([]float32, batch*titles)
	for {
		lo, hi := j.take()
		if lo == hi {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		block := scores[:(hi-lo)*titles]
		if err := j.s.Score(j.h.Users[lo:hi], block); err != nil {
			return err
		}
		for i := lo; i < hi; i++ {
			if err := w.judge(i, block[(i-lo)*titles:(i-lo+1)*titles]); err != nil {
				return err
			}
		}
	}
}

// worker holds what one goroutine reuses from user to user.
type worker struct {
	*judgement
	top    metric.Selector
	hits   []int
	masked []float32
	own    []float32
}

func (w *worker) judge(i int, scores []float32) error {
	scores, err := w.mask(i, scores)
	if err != nil {
		return err
	}
	relevant := w.h.Relevant[i]
	list := w.top.Top(scores, w.k, relevant)
	w.flat[i] = isFlat(scores)
	if w.opts.AUC {
		w.values[len(w.values)-1][i], w.own = auc(scores, relevant, w.own)
	}
	out := w.lists[i*w.k : (i+1)*w.k]
	for n := copy(out, list); n < w.k; n++ {
		out[n] = None
	}
	if w.opts.Ties != metric.Worst {
		w.measureTied(i, scores, list, relevant)
		return nil
	}
	w.hits = metric.Hits(w.hits[:0], list, relevant)
	w.measure(i, w.hits, len(relevant))
	return nil
}

// mask makes what must not be ranked -Inf and finds NaNs.
func (w *worker) mask(i int, scores []float32) ([]float32, error) {
	for t, s := range scores {
		if s != s {
			return nil, fmt.Errorf("%w: the model scores title %d for user %d as NaN", ErrNaN, t, w.h.Users[i])
		}
	}
	gone := float32(math.Inf(-1))
	if w.h.Candidates != nil {
		for t := range w.masked {
			w.masked[t] = gone
		}
		for _, t := range w.h.Candidates[i] {
			w.masked[t] = scores[t]
		}
		scores = w.masked
	}
	seen, _ := w.h.Train.Row(int(w.h.Users[i]))
	for _, t := range seen {
		scores[t] = gone
	}
	return scores, nil
}

// isFlat reports whether all titles that may be recommended have one score, two or more being there.
func isFlat(scores []float32) bool {
	first, n := float32(0), 0
	for _, s := range scores {
		if math.IsInf(float64(s), -1) {
			continue
		}
		if n > 0 && s != first {
			return false
		}
		first = s
		n++
	}
	return n > 1
}

func (w *worker) measure(i int, hits []int, relevant int) {
	at := 0
	set := func(v float64) { w.values[at][i] = v; at++ }
	for _, k := range w.opts.Cutoffs {
		set(metric.Precision(hits, k))
		set(metric.Recall(hits, relevant, k))
		set(metric.CappedRecall(hits, relevant, k))
		set(metric.HitRate(hits, k))
		set(metric.NDCG(hits, relevant, k))
		set(metric.ReciprocalRank(hits, k))
		set(metric.AveragePrecision(hits, relevant, k))
	}
}

func (w *worker) measureTied(i int, scores []float32, list, relevant []uint32) {
	groups := metric.TieGroups(nil, scores, list, relevant)
	at := 0
	set := func(v float64) { w.values[at][i] = v; at++ }
	n, t := len(relevant), w.opts.Ties
	for _, k := range w.opts.Cutoffs {
		set(groups.Precision(k, t))
		set(groups.Recall(n, k, t))
		set(groups.CappedRecall(n, k, t))
		set(groups.HitRate(k, t))
		set(groups.NDCG(n, k, t))
		set(groups.ReciprocalRank(k, t))
		set(groups.AveragePrecision(n, k, t))
	}
}

func (j *judgement) result() *Result {
	r := &Result{Users: j.h.Users, PerUser: map[string][]float64{}, Means: map[string]float64{}, Lists: j.lists, K: j.k}
	for m, name := range j.metrics {
		r.PerUser[name] = j.values[m]
		r.Means[name] = metric.Mean(j.values[m])
	}
	j.beyond(r)
	r.Fingerprint = fingerprint(j.h, j.opts)
	r.Findings = j.findings(r)
	return r
}
