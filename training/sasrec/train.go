package sasrec

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"marquee/internal/vec"
	"marquee/training/nn"
)

// Options are the parts of a run that do not decide its meaning, and a start other than a random one.
type Options struct {
	// Progress, where set, is called between steps, from Train's goroutine.
	Progress func(nn.Progress)
	// Checkpoint, where set, is a file replaced after each epoch and resumed from.
	Checkpoint string
	// WarmTitles, where set, are titles x Dim embeddings to begin from. A title with an all-zero vector is drawn at random.
	WarmTitles []float32
}

// Model is a trained network. Vectors and scores may be asked for by one goroutine at a time.
type Model struct {
	Config Config
	Titles int
	Epochs []nn.Epoch // what training came to

	net  *network
	team *nn.Team
}

// Params are the parameters by name: titles (titles x dim), positions (max_length x dim), blockI.norm1|norm2.gain|bias,
// blockI.attention.qkv|out.weight|bias, blockI.wide|close.weight|bias, last.gain|bias. A weight is in x out.
func (m *Model) Params() []*nn.Param { return m.net.params() }

// Train fits a model to histories: each is a user's titles, below titles, in order of time. Histories of one title teach nothing
// and are left out. Cancelling the context stops it between steps with the context's error.
func Train(ctx context.Context, histories [][]uint32, titles int, cfg Config, opts Options) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t, err := newTrainer(histories, titles, cfg)
	if err != nil {
		return nil, err
	}
	if err := t.warm(opts.WarmTitles); err != nil {
		return nil, err
	}
	s := nn.Schedule{Epochs: cfg.Epochs, Patience: cfg.Patience, Checkpoint: opts.Checkpoint, Progress: opts.Progress}
	if len(t.validation) > 0 {
		s.ValidateEvery = cfg.ValidateEvery
	}
	if opts.Checkpoint != "" {
		s.Fingerprint = t.fingerprint(opts.WarmTitles)
	}
	epochs, err := nn.Fit(ctx, t, s)
	if err != nil {
		return nil, err
	}
	return &Model{Config: cfg, Titles: titles, Epochs: epochs, net: t.net, team: t.team}, nil
}

type trainer struct {
	cfg        Config
	net        *network
	team       *nn.Team
	adam       *nn.Adam
	histories  [][]uint32 // what is trained on
	validation []held
	tiles      nn.Tiles

	ids, targets, negatives []uint32
	offsets                 []int
	grad, own, ownGrad      []float32
	chosen, chosenGrad      []float32
}

// held is a history whose last title is held out.
type held struct {
	history []uint32
	title   uint32
}

func newTrainer(histories [][]uint32, titles int, cfg Config) (*trainer, error) {
	if titles < 1 || titles > math.MaxInt32 {
		return nil, fmt.Errorf("%w: %d titles", ErrData, titles)
	}
	t := &trainer{cfg: cfg, team: nn.NewTeam(cfg.Workers), adam: nn.NewAdam(cfg.Rate)}
	var long []int
	for u, h := range histories {
		for i, id := range h {
			if int64(id) >= int64(titles) {
				return nil, fmt.Errorf("%w: title %d at place %d of history %d, there are %d titles", ErrData, id, i, u, titles)
			}
		}
		if len(h) > 2 {
			long = append(long, u)
		}
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x7a1))
	rng.Shuffle(len(long), func(i, j int) { long[i], long[j] = long[j], long[i] })
	out := map[int]bool{}
	// At most a tenth validates, however few there are.
	for _, u := range long[:min(cfg.ValidationUsers, len(long)/10)] {
		h := histories[u]
		out[u] = true
		t.validation = append(t.validation, held{h[:len(h)-1], h[len(h)-1]})
	}
	for u, h := range histories {
		if out[u] {
			h = h[:len(h)-1]
		}
		if len(h) > 1 {
			t.histories = append(t.histories, h)
		}
	}
	if len(t.histories) == 0 {
		return nil, fmt.Errorf("%w: none of %d has two titles", ErrData, len(histories))
	}
	t.net = newNetwork(titles, cfg)
	return t, nil
}

func (t *trainer) warm(titles []float32) error {
	if titles == nil {
		return nil
	}
	table := t.net.titles
	if len(titles) != len(table.Value) {
		return fmt.Errorf("warm start has %d values, want %d titles x %d", len(titles), table.Shape[0], table.Dim())
	}
	for r := range table.Shape[0] {
		row := titles[r*table.Dim() : (r+1)*table.Dim()]
		if n := vec.Dot(row, row); n-n != 0 {
			return fmt.Errorf("warm start has numbers that are not finite in row %d", r)
		} else if n > 0 {
			copy(table.Row(r), row)
		}
	}
	return nil
}

// fingerprint is of all that decides the training.
func (t *trainer) fingerprint(warm []float32) string {
	h := sha256.New()
	cfg := t.cfg
	cfg.Workers = 0
	fmt.Fprintf(h, "%+v %d\n", cfg, t.net.titles.Shape[0])
	buf := []byte{}
	for _, l := range t.histories {
		buf = binary.LittleEndian.AppendUint32(buf[:0], uint32(len(l)))
		for _, id := range l {
			buf = binary.LittleEndian.AppendUint32(buf, id)
		}
		h.Write(buf)
	}
	for _, v := range warm {
		buf = binary.LittleEndian.AppendUint32(buf[:0], math.Float32bits(v))
		h.Write(buf)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Params, Optimizer, Epoch and Validate make the trainer an nn.Trainee.
func (t *trainer) Params() []*nn.Param     { return t.net.params() }
func (t *trainer) Optimizer() nn.Optimizer { return t.adam }

// window is a part of a history that is trained on at once: titles lo to hi (exclusive) and the one after each.
type window struct{ history, lo, hi int }

// windows cuts histories into parts of at most MaxLength, so that every title but the first is predicted once. Where the cuts of a long one
// are differs from epoch to epoch.
func (t *trainer) windows(rng *rand.Rand) []window {
	var out []window
	n := t.cfg.MaxLength
	for i, h := range t.histories {
		for hi := len(h) - 1; hi > 0; {
			lo := max(hi-n, 0)
			if hi == len(h)-1 && lo > 0 {
				lo = hi - n + rng.IntN(n)/2
			}
			out = append(out, window{i, lo, hi})
			hi = lo
		}
	}
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// Epoch trains on every history once.
func (t *trainer) Epoch(ctx context.Context, epoch int, report func(done, total int)) (float64, error) {
	key := nn.Hash(t.cfg.Seed, uint64(epoch))
	windows := t.windows(rand.New(rand.NewPCG(key, 1)))
	along := float64(epoch-1) / float64(t.cfg.Epochs)
	t.adam.Rate = t.cfg.Rate * (t.cfg.FinalRate + (1-t.cfg.FinalRate)*(1+math.Cos(math.Pi*along))/2)
	var loss float64
	predicted, step, steps := 0, 0, (len(windows)+t.cfg.Batch-1)/t.cfg.Batch
	for batch := range slices.Chunk(windows, t.cfg.Batch) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		t.assemble(batch)
		loss += t.step(nn.Hash(key, uint64(step)+2)) * float64(len(t.ids))
		predicted += len(t.ids)
		step++
		report(step, steps)
	}
	return loss / float64(predicted), nil
}

func (t *trainer) assemble(batch []window) {
	t.ids, t.targets, t.offsets = t.ids[:0], t.targets[:0], append(t.offsets[:0], 0)
	for _, w := range batch {
		h := t.histories[w.history]
		t.ids, t.targets = append(t.ids, h[w.lo:w.hi]...), append(t.targets, h[w.lo+1:w.hi+1]...)
		t.offsets = append(t.offsets, len(t.ids))
	}
}

// step takes one over the assembled batch and returns its mean loss.
func (t *trainer) step(key uint64) float64 {
	loss := t.gradients(key)
	t.adam.Step(t.team, t.Params())
	return loss
}

func (t *trainer) gradients(key uint64) float64 {
	d := t.cfg.Dim
	out := t.net.forward(t.team, t.ids, t.offsets, &key)
	grad, table, weight := room(&t.grad, len(out)), t.net.titles, 1/float32(len(t.ids))
	job := nn.Scoring{Dim: d, Scale: 1, Rows: out, RowsGrad: grad, Candidates: table.Value, CandidatesGrad: table.Grad}
	var loss float64
	if t.cfg.Loss == LossSoftmax {
		loss = t.tiles.Run(t.team, job, (&nn.Softmax{Targets: t.targets, Weight: weight}).Row)
	} else {
		loss = t.sampled(job, weight, key)
	}
	t.net.backward(t.team, grad, t.ids, t.offsets, key)
	return loss
}

// sampled is gSASRec's loss, its negatives shared by the batch.
func (t *trainer) sampled(job nn.Scoring, weight float32, key uint64) float64 {
	table := t.net.titles
	count := t.cfg.Negatives
	rng := rand.New(rand.NewPCG(key, 3))
	t.negatives = t.negatives[:0]
	for range count {
		t.negatives = append(t.negatives, rng.Uint32N(uint32(table.Shape[0])))
	}
	job.Candidates, job.CandidatesGrad = room(&t.chosen, count*job.Dim), room(&t.chosenGrad, count*job.Dim)
	clear(job.CandidatesGrad)
	nn.Gather(t.team, job.Candidates, table, t.negatives)
	job.Own, job.OwnGrad = room(&t.own, len(job.Rows)), room(&t.ownGrad, len(job.Rows))
	nn.Gather(t.team, job.Own, table, t.targets)
	share := min(float64(count)/float64(max(table.Shape[0]-1, 1)), 1)
	bce := nn.BinaryCrossEntropy{Beta: nn.CalibratedBeta(share, t.cfg.Calibration), Weight: weight}
	loss := t.tiles.Run(t.team, job, bce.Row)
	nn.GatherBackward(t.team, table, job.CandidatesGrad, t.negatives)
	nn.GatherBackward(t.team, table, job.OwnGrad, t.targets)
	return loss
}

// Validate is the mean NDCG@10 of the held-out titles, titles of the history left out of the ranking.
func (t *trainer) Validate(ctx context.Context) (float64, error) {
	m := &Model{Config: t.cfg, Titles: t.net.titles.Shape[0], net: t.net, team: t.team}
	scores := make([]float32, m.Titles)
	var sum float64
	for _, v := range t.validation {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := m.Score(v.history, scores); err != nil {
			return 0, err
		}
		own := scores[v.title]
		for _, id := range v.history {
			scores[id] = float32(math.Inf(-1))
		}
		rank := -1 // The title itself is counted; a tie counts against it.
		for _, s := range scores {
			if s >= own {
				rank++
			}
		}
		if rank < 10 {
			sum += 1 / math.Log2(float64(rank)+2)
		}
	}
	return sum / float64(len(t.validation)), nil
}
