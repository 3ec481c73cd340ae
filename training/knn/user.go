package knn

import (
	"sync"

	"marquee/internal/sparse"
)

// UserModel recommends what the profiles most alike watched. It keeps the profiles' histories and compares with them when it is
// asked, so that a profile that did not train is served as well; it is immutable and safe for concurrent use.
type UserModel struct {
	table  *table
	watch  *sparse.CSR // users x titles, strengths above 0
	memory sync.Pool   // of *query
}

// query is the working memory of one call of Score.
type query struct {
	*search
	cols []uint32
	vals []float32
}

// Stranger is the user of a history that did not train.
const Stranger = none

// TrainUsers prepares user-kNN of m, users x titles with strengths as values, those of 0 and below ignored: the similarity of users u
// and v is x_u.x_v / (|x_u|^2a * |x_v|^2(1-a) + shrinkage).
func TrainUsers(m *sparse.CSR, cfg Config) (*UserModel, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	watch, err := positive(m)
	if err != nil {
		return nil, err
	}
	weighed := *watch
	weighed.Values = append([]float32(nil), watch.Values...)
	model := &UserModel{table: newTable(&weighed, cfg), watch: watch}
	model.memory.New = func() any { return &query{search: model.table.newSearch()} }
	return model, nil
}

// Score sets scores[t] to the sum, over the Neighbours users most like the history, of their similarity times their strength for title
// t. Strengths of 0 and below in the history are ignored. user is the row the history is of, which is no neighbour of
// itself, or Stranger. A title no neighbour watched gets -Inf, it is not recommended.
func (m *UserModel) Score(user int, history []uint32, strength []float32, scores []float32) error {
	if err := checkHistory(history, strength, m.watch.Cols, len(scores)); err != nil {
		return err
	}
	q, ok := m.memory.Get().(*query)
	if !ok {
		q = &query{search: m.table.newSearch()}
	}
	defer m.memory.Put(q)
	q.cols, q.vals = q.cols[:0], q.vals[:0]
	for i, h := range history {
		if strength[i] > 0 {
			q.cols, q.vals = append(q.cols, h), append(q.vals, strength[i])
		}
	}
	norm := m.table.weights.weigh(q.cols, q.vals)
	clear(scores)
	for _, n := range m.table.nearest(q.search, user, q.cols, q.vals, norm) {
		titles, strengths := m.watch.Row(int(n.row))
		for k, t := range titles {
			scores[t] += n.sim * strengths[k]
		}
	}
	leaveOut(scores)
	return nil
}
