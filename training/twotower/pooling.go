package twotower

import (
	"math"

	"marquee/internal/vec"
	"marquee/training/nn"
)

// poolWeights sets the weights of the histories' titles from their strengths s: s_j / (sum of s)^HistoryPower of a mean; by attention a softmax of
// query . x_j + recency of its bucket + log s_j.
func (t *towers) poolWeights(team *nn.Team, b *batch) {
	d, h := t.cfg.Dim, &b.history
	attention := t.query != nil
	logits := room(&t.logits, len(h.IDs))
	team.Rows(h.Len(), 32, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			from, to := h.Offsets[i], h.Offsets[i+1]
			if from == to {
				continue
			}
			if !attention {
				var sum float32
				for _, s := range b.strengths[from:to] {
					sum += s
				}
				norm := float32(math.Pow(float64(sum), -t.cfg.HistoryPower))
				for j := from; j < to; j++ {
					h.Weights[j] = b.strengths[j] * norm
				}
				continue
			}
			for j := from; j < to; j++ {
				x := t.x[int(h.IDs[j])*d:][:d]
				logits[j] = vec.Dot(t.query.Value, x) + t.recency.Value[b.buckets[j]] + float32(math.Log(float64(b.strengths[j])))
			}
			own := h.Weights[from:to]
			vec.Scale(1/vec.ExpShift(own, logits[from:to], vec.Largest(logits[from:to])), own)
		}
	})
}

// attentionBackward adds the part of the histories' gradient that goes through the weights of attention: with g the pooled vector's gradient,
// dlogit_j = w_j (x_j . g - sum of w x . g).
func (t *towers) attentionBackward(team *nn.Team, b *batch) {
	if t.query == nil {
		return
	}
	d, h := t.cfg.Dim, &b.history
	dlogits := room(&t.dweights, len(h.IDs))
	team.Rows(h.Len(), 32, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			grad := t.dpu[i*d : (i+1)*d]
			var mean float32
			for j := h.Offsets[i]; j < h.Offsets[i+1]; j++ {
				dlogits[j] = vec.Dot(t.x[int(h.IDs[j])*d:][:d], grad)
				mean += h.Weights[j] * dlogits[j]
			}
			for j := h.Offsets[i]; j < h.Offsets[i+1]; j++ {
				dlogits[j] = h.Weights[j] * (dlogits[j] - mean)
			}
		}
	})
	workers := uint32(team.Workers())
	team.Each(int(workers), func(_, piece int) {
		for j, id := range h.IDs {
			if id%workers == uint32(piece) {
				vec.Axpy(dlogits[j], t.query.Value, t.dx[int(id)*d:][:d])
			}
		}
	})
	t.queryBackward(team, b, dlogits)
}

const queryGrain = 4096

// queryBackward adds to the gradients of query and recency, by pieces whose sums are added in order.
func (t *towers) queryBackward(team *nn.Team, b *batch, dlogits []float32) {
	d, n, buckets := t.cfg.Dim, len(dlogits), t.cfg.RecencyBuckets
	width := d + buckets
	pieces := (n + queryGrain - 1) / queryGrain
	partial := room(&t.partial, pieces*width)
	team.Each(pieces, func(_, piece int) {
		out := partial[piece*width : (piece+1)*width]
		clear(out)
		for j := piece * queryGrain; j < min((piece+1)*queryGrain, n); j++ {
			vec.Axpy(dlogits[j], t.x[int(b.history.IDs[j])*d:][:d], out[:d])
			out[d+int(b.buckets[j])] += dlogits[j]
		}
	})
	for piece := range pieces {
		vec.Axpy(1, partial[piece*width:piece*width+d], t.query.Grad)
		vec.Axpy(1, partial[piece*width+d:(piece+1)*width], t.recency.Grad)
	}
}
