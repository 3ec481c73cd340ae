package twotower

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"math/rand/v2"
	"slices"

	"marquee/internal/sparse"
	"marquee/internal/vec"
	"marquee/training/nn"
)

// Options are the parts of a run that do not decide its meaning, and a start other than the configured one.
type Options struct {
	// Progress, where set, is called between steps, from Train's goroutine.
	Progress func(nn.Progress)
	// Checkpoint, where set, is a file replaced after each epoch and resumed from.
	Checkpoint string
	// Warm, where set, are values to begin from by the names of Params, such as the last release's. A table's rows that are all zero (titles the
	// last release did not know) begin as without. Names that the model does not have are an error.
	Warm map[string][]float32
}

// Model is a trained pair of towers. Vectors may be asked for by one goroutine at a time.
type Model struct {
	Config Config
	Epochs []nn.Epoch // what training came to

	data   *Data
	towers *towers
	team   *nn.Team
	make   *assembler
	batch  batch
}

// Params are the parameters by name: titles, users, terms, neighbours, attributes, contexts (tables of rows x dim), project.weight, query, recency,
// wide and close (weight, bias); those there are. A weight is in x out.
func (m *Model) Params() []*nn.Param { return m.towers.params() }

// Train fits the towers. Cancelling the context stops it between steps with the context's error.
func Train(ctx context.Context, data *Data, cfg Config, opts Options) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := data.Validate(); err != nil {
		return nil, err
	}
	t, err := newTrainer(ctx, data, cfg)
	if err != nil {
		return nil, err
	}
	if err := t.warm(opts.Warm); err != nil {
		return nil, err
	}
	s := nn.Schedule{Epochs: cfg.Epochs, Patience: cfg.Patience, Checkpoint: opts.Checkpoint, Progress: opts.Progress}
	if len(t.validation) > 0 {
		s.ValidateEvery = cfg.ValidateEvery
	}
	if opts.Checkpoint != "" {
		s.Fingerprint = t.fingerprint()
	}
	epochs, err := nn.Fit(ctx, t, s)
	if err != nil {
		return nil, err
	}
	m := t.model()
	m.Epochs = epochs
	return m, nil
}

type trainer struct {
	cfg        Config
	data       *Data // what is trained on
	validation []held
	towers     *towers
	team       *nn.Team
	adam       *nn.Adam
	make       *assembler
	examples   []example
	tiles      nn.Tiles

	grad, own, ownGrad, candidates, candidatesGrad []float32
}

// held is a user and the titles held out.
type held struct {
	user   int
	titles []uint32
}

func newTrainer(ctx context.Context, data *Data, cfg Config) (*trainer, error) {
	t := &trainer{cfg: cfg, team: nn.NewTeam(cfg.Workers), adam: nn.NewAdam(cfg.Rate)}
	t.adam.Decay = cfg.Decay
	t.holdOut(data)
	share, watches := make([]float32, data.Titles), 0
	for u := range t.data.Histories {
		if cfg.SetShare > 0 && len(t.data.Histories[u].Titles) > 1 {
			t.examples = append(t.examples, example{user: uint32(u)})
		}
		for i, title := range t.data.Histories[u].Titles {
			if cfg.SetShare == 0 {
				t.examples = append(t.examples, example{uint32(u), uint32(i)})
			}
			share[title]++
			watches++
		}
	}
	if len(t.examples) == 0 {
		return nil, fmt.Errorf("%w: nothing is left beside validation", ErrData)
	}
	vec.Scale(1/float32(watches), share)
	t.make = newAssembler(t.data, cfg, share)
	if cfg.Neighbours > 0 {
		t.make.near = coWatched(t.team, t.data, cfg.Neighbours)
	}
	t.towers = newTowers(t.data, cfg)
	if cfg.Start == StartSpectral {
		if err := t.spectral(ctx); err != nil {
			return nil, fmt.Errorf("start from singular vectors: %w", err)
		}
	}
	return t, nil
}

// holdOut parts data into what trains and what validates: a tenth of the titles, one at least, of users with three or more; the last where
// histories are ordered.
func (t *trainer) holdOut(data *Data) {
	part := *data
	part.Histories = slices.Clone(data.Histories)
	t.data = &part
	rng := rand.New(rand.NewPCG(t.cfg.Seed, 0x7a2))
	order := rng.Perm(len(data.Histories))
	for _, u := range order {
		h := &data.Histories[u]
		n := len(h.Titles)
		if len(t.validation) == t.cfg.ValidationUsers || len(t.validation) >= (len(data.Histories)+1)/2 {
			break
		}
		if n < 3 {
			continue
		}
		out := rng.Perm(n)[:max(n/10, 1)]
		if t.cfg.Ordered {
			out = []int{n - 1}
		}
		v := held{user: u}
		rest := History{}
		for i, title := range h.Titles {
			if slices.Contains(out, i) {
				v.titles = append(v.titles, title)
				continue
			}
			rest.Titles = append(rest.Titles, title)
			if h.Strength != nil {
				rest.Strength = append(rest.Strength, h.Strength[i])
			}
			if h.Age != nil {
				rest.Age = append(rest.Age, h.Age[i])
			}
			if h.Context != nil {
				rest.Context = append(rest.Context, h.Context[i])
			}
		}
		part.Histories[u] = rest
		t.validation = append(t.validation, v)
	}
}

func (t *trainer) warm(values map[string][]float32) error {
	known := map[string]*nn.Param{}
	for _, p := range t.towers.params() {
		known[p.Name] = p
	}
	for name, v := range values {
		p := known[name]
		if p == nil {
			return fmt.Errorf("warm start has %q, which the model has not", name)
		}
		if len(v) != len(p.Value) {
			return fmt.Errorf("warm start has %d values of %s, want %v", len(v), name, p.Shape)
		}
		for i, x := range v {
			if x-x != 0 {
				return fmt.Errorf("warm start has %v in row %d of %s, want finite numbers", x, i/p.Dim(), name)
			}
		}
		for r := 0; r < len(v); r += p.Dim() {
			if row := v[r : r+p.Dim()]; !p.Sparse || vec.Dot(row, row) > 0 {
				copy(p.Value[r:], row)
			}
		}
	}
	return nil
}

func (t *trainer) model() *Model {
	return &Model{Config: t.cfg, data: t.data, towers: t.towers, team: t.team, make: t.make}
}

// Params, Optimizer, Epoch and Validate make the trainer an nn.Trainee.
func (t *trainer) Params() []*nn.Param     { return t.towers.params() }
func (t *trainer) Optimizer() nn.Optimizer { return t.adam }

// Epoch trains on every watch once.
func (t *trainer) Epoch(ctx context.Context, epoch int, report func(done, total int)) (float64, error) {
	key := nn.Hash(t.cfg.Seed, uint64(epoch))
	rng := rand.New(rand.NewPCG(key, 1))
	order := slices.Clone(t.examples)
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	along := float64(epoch-1) / float64(t.cfg.Epochs)
	t.adam.Rate = t.cfg.Rate * (t.cfg.FinalRate + (1-t.cfg.FinalRate)*(1+math.Cos(math.Pi*along))/2)
	within, cancel := context.WithCancel(ctx)
	ready, back := t.make.prefetch(within, order, key)
	defer func() {
		cancel()
		for range ready { // until the goroutine that assembles has ended
		}
	}()
	var loss float64
	step, steps := 0, (len(order)+t.cfg.Batch-1)/t.cfg.Batch
	for b := range ready {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		loss += t.step(b)
		back <- b
		step++
		report(step, steps)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return loss / float64(len(order)), nil
}

// step takes one and returns the sum of the examples' losses.
func (t *trainer) step(b *batch) float64 {
	loss := t.gradients(b)
	t.adam.Step(t.team, t.towers.params())
	return loss * float64(len(b.users))
}

// gradients returns the mean loss of the batch.
func (t *trainer) gradients(b *batch) float64 {
	w, team, d := t.towers, t.team, t.cfg.Dim
	n := len(b.users)
	w.titleVectors(team, b)
	rows := w.userVectors(team, b, &b.key)
	clear(room(&w.dx, len(w.x)))
	clear(room(&w.dunit, len(w.x)))
	job := nn.Scoring{
		Dim: d, Scale: 1, Rows: rows, RowsGrad: room(&t.grad, n*d),
		Candidates: t.gathered(&t.candidates, b.candidates), CandidatesGrad: room(&t.candidatesGrad, len(b.candidates)*d),
	}
	clear(job.CandidatesGrad)
	weight := 1 / float32(n)
	var loss float64
	switch {
	case t.cfg.SetShare > 0:
		job.Scale = float32(1 / t.cfg.Temperature)
		loss = t.tiles.Run(team, job, b.setLoss())
	case t.cfg.Loss == LossSoftmax:
		job.Scale = float32(1 / t.cfg.Temperature)
		loss = t.tiles.Run(team, job, (&nn.SampledSoftmax{Titles: b.drawn, LogQ: b.logQ, Weight: weight}).Row)
	default:
		job.Own, job.OwnGrad = t.gathered(&t.own, b.targets), room(&t.ownGrad, n*d)
		ccl := nn.CosineContrastive{Margin: float32(t.cfg.Margin), Negative: float32(t.cfg.NegativeWeight), Weight: weight}
		loss = t.tiles.Run(team, job, ccl.Row)
		scatter(team, w.dunit, job.OwnGrad, b.targets, d)
	}
	scatter(team, w.dunit, job.CandidatesGrad, b.candidates, d)
	w.userBackward(team, b, job.RowsGrad, b.key)
	w.titleBackward(team, b)
	return loss
}

// gathered are the unit vectors at places.
func (t *trainer) gathered(buf *[]float32, places []uint32) []float32 {
	d := t.cfg.Dim
	out := room(buf, len(places)*d)
	t.team.Rows(len(places), 256, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			copy(out[i*d:(i+1)*d], t.towers.unit[int(places[i])*d:])
		}
	})
	return out
}

// scatter adds row i of from to row places[i] of to.
func scatter(team *nn.Team, to, from []float32, places []uint32, d int) {
	workers := uint32(team.Workers())
	team.Each(int(workers), func(_, piece int) {
		for i, p := range places {
			if p%workers == uint32(piece) {
				vec.Axpy(1, from[i*d:(i+1)*d], to[int(p)*d:][:d])
			}
		}
	})
}

// fingerprint is of all that decides the training, the start included.
func (t *trainer) fingerprint() string {
	h := sha256.New()
	cfg := t.cfg
	cfg.Workers = 0
	fmt.Fprintf(h, "%+v %d %d\n", cfg, t.data.Titles, t.data.Contexts)
	for i := range t.data.Histories {
		l := &t.data.Histories[i]
		write(h, []uint32{uint32(len(l.Titles))}, l.Titles, l.Context)
		write(h, l.Strength, l.Age)
	}
	for _, m := range []*sparse.CSR{t.data.Content, t.data.Attributes} {
		if m != nil {
			write(h, m.Indptr)
			write(h, m.Indices)
			write(h, m.Values)
		}
	}
	for _, p := range t.towers.params() {
		write(h, p.Value)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func write[T any](h hash.Hash, parts ...[]T) {
	for _, p := range parts {
		// A hash takes whatever it is given.
		if err := errors.Join(binary.Write(h, binary.LittleEndian, uint64(len(p))), binary.Write(h, binary.LittleEndian, p)); err != nil {
			panic(err)
		}
	}
}
