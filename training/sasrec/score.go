package sasrec

import (
	"fmt"

	"marquee/internal/vec"
)

// Vectors returns the vectors of histories, one after the other, each of Config.Dim numbers: what titles' embeddings are multiplied with. Of a
// history the last MaxLength titles are read; an empty one has the vector 0.
func (m *Model) Vectors(histories [][]uint32) ([]float32, error) {
	d := m.Config.Dim
	out := make([]float32, len(histories)*d)
	var ids []uint32
	var who []int
	offsets := []int{0}
	for i, h := range histories {
		if len(h) == 0 {
			continue
		}
		for _, id := range h {
			if int64(id) >= int64(m.Titles) {
				return nil, fmt.Errorf("%w: title %d in history %d, there are %d titles", ErrData, id, i, m.Titles)
			}
		}
		ids, who = append(ids, h[max(0, len(h)-m.Config.MaxLength):]...), append(who, i)
		offsets = append(offsets, len(ids))
	}
	if len(ids) == 0 {
		return out, nil
	}
	rows := m.net.forward(m.team, ids, offsets, nil)
	for k, i := range who {
		copy(out[i*d:(i+1)*d], rows[(offsets[k+1]-1)*d:])
	}
	return out, nil
}

// Score sets scores[t] to title t's for a history.
func (m *Model) Score(history []uint32, scores []float32) error {
	if len(scores) != m.Titles {
		return fmt.Errorf("%d scores for %d titles", len(scores), m.Titles)
	}
	v, err := m.Vectors([][]uint32{history})
	if err != nil {
		return err
	}
	vec.Gemv(scores, m.net.titles.Value, v)
	return nil
}

// Embeddings are the titles' vectors, titles x Config.Dim, shared with the model.
func (m *Model) Embeddings() []float32 { return m.net.titles.Value }
