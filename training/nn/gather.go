package nn

import "marquee/internal/vec"

// Gather sets row i of out to the table's row ids[i].
func Gather(t *Team, out []float32, table *Param, ids []uint32) {
	d := table.Dim()
	t.Rows(len(ids), rowGrain, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			copy(out[i*d:(i+1)*d], table.Row(int(ids[i])))
		}
	})
}

// GatherBackward adds row i of grad to the gradient of the table's row ids[i].
func GatherBackward(t *Team, table *Param, grad []float32, ids []uint32) {
	d := table.Dim()
	table.Touch(ids)
	workers := uint32(t.Workers())
	// Each worker has rows of its own and meets what belongs to them in the order of the batch.
	t.Each(int(workers), func(_, piece int) {
		for i, id := range ids {
			if id%workers == uint32(piece) {
				vec.Axpy(1, grad[i*d:(i+1)*d], table.GradRow(int(id)))
			}
		}
	})
}

// Bags are weighted sets of rows, one after the other: bag b holds entries Offsets[b] to Offsets[b+1] (exclusive).
type Bags struct {
	Offsets []int
	IDs     []uint32
	Weights []float32 // as long as IDs
}

// Len is the number of bags.
func (b *Bags) Len() int { return len(b.Offsets) - 1 }

// Reset empties b, keeping its memory.
func (b *Bags) Reset() {
	b.Offsets, b.IDs, b.Weights = append(b.Offsets[:0], 0), b.IDs[:0], b.Weights[:0]
}

// Add appends an entry to the bag being filled; Close ends it.
func (b *Bags) Add(id uint32, weight float32) {
	b.IDs, b.Weights = append(b.IDs, id), append(b.Weights, weight)
}

// Close ends the bag being filled and begins the next.
func (b *Bags) Close() { b.Offsets = append(b.Offsets, len(b.IDs)) }

// Pool adds to row b of out the weighted sum of the table's rows in bag b.
func (b *Bags) Pool(t *Team, out, table []float32, dim int) {
	t.Rows(b.Len(), rowGrain/4, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			to := out[i*dim : (i+1)*dim]
			for j := b.Offsets[i]; j < b.Offsets[i+1]; j++ {
				id := int(b.IDs[j])
				vec.Axpy(b.Weights[j], table[id*dim:(id+1)*dim], to)
			}
		}
	})
}

// PoolBackward adds to the rows of grad, of the table's form, what the pooled rows' gradients make of them.
func (b *Bags) PoolBackward(t *Team, grad, pooled []float32, dim int) {
	workers := uint32(t.Workers())
	t.Each(int(workers), func(_, piece int) {
		for i := range b.Len() {
			from := pooled[i*dim : (i+1)*dim]
			for j := b.Offsets[i]; j < b.Offsets[i+1]; j++ {
				if id := b.IDs[j]; id%workers == uint32(piece) {
					vec.Axpy(b.Weights[j], from, grad[int(id)*dim:(int(id)+1)*dim])
				}
			}
		}
	})
}
