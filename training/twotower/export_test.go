package twotower

import (
	"math"
	"math/rand/v2"
	"testing"

	"marquee/internal/ort"
	"marquee/training/onnx/onnxtest"
)

// open runs a model in ONNX Runtime.
func open(t *testing.T, model []byte, err error) *ort.Session {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ort.Open(model, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// vectors runs it on inputs by name.
func vectors(t *testing.T, s *ort.Session, batch, dim int, inputs map[string]ort.Tensor) []float32 {
	t.Helper()
	out := make([]float32, batch*dim)
	var in []ort.Tensor
	for _, p := range s.Inputs() {
		in = append(in, inputs[p.Name])
	}
	if err := s.Run(t.Context(), in, []ort.Tensor{{Shape: []int64{int64(batch), int64(dim)}, Floats: out}}); err != nil {
		t.Fatal(err)
	}
	return out
}

func apart(a, b []float32) float64 {
	var worst float64
	for i, v := range a {
		worst = max(worst, math.Abs(float64(v-b[i])))
	}
	return worst
}

// bags is rows of a matrix filled up with -1 and 0.
func bags(cols func(row int) ([]uint32, []float32), rows int) (ids, weights ort.Tensor) {
	width := 1
	for r := range rows {
		c, _ := cols(r)
		width = max(width, len(c))
	}
	shape := []int64{int64(rows), int64(width)}
	ids, weights = ort.Tensor{Shape: shape, Ints: make([]int64, rows*width)}, ort.Tensor{Shape: shape, Floats: make([]float32, rows*width)}
	for r := range rows {
		c, w := cols(r)
		for k := range width {
			ids.Ints[r*width+k] = -1
			if k < len(c) {
				ids.Ints[r*width+k], weights.Floats[r*width+k] = int64(c[k]), w[k]
			}
		}
	}
	return ids, weights
}

// forms are the towers with everything they may read and with little of it.
func forms() map[string]func(*Config, *Data) {
	return map[string]func(*Config, *Data){
		"neighbours": func(c *Config, _ *Data) { c.Neighbours = 3 },
		"mean":       func(*Config, *Data) {},
		"all":        func(c *Config, _ *Data) { c.Pooling, c.UserIDs, c.Hidden, c.Ordered = PoolAttention, true, 5, true },
		"bare":       func(_ *Config, d *Data) { d.Content, d.Attributes, d.Contexts = nil, nil, 0 },
		"mean, ids":  func(c *Config, _ *Data) { c.UserIDs, c.HistoryPower = true, 0.7 },
		"sets": func(c *Config, d *Data) {
			c.Loss, c.SetShare, c.PopularityPower, d.Contexts = LossSoftmax, 0.5, 0.3, 0
		},
	}
}

func trained(t *testing.T, set func(*Config, *Data)) (*Model, *Data) {
	t.Helper()
	cfg, data := smallConfig(), smallData(rand.New(rand.NewPCG(6, 1)), 9, 14)
	cfg.MaxHistory = 20
	set(&cfg, data)
	if data.Contexts == 0 {
		for u := range data.Histories {
			data.Histories[u].Context = nil
		}
	}
	m, err := Train(t.Context(), data, cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m, data
}

// TestExportedTowersGiveTheNumbersOfGo runs both towers, in every form, in ONNX Runtime.
func TestExportedTowersGiveTheNumbersOfGo(t *testing.T) {
	for name, set := range forms() {
		t.Run(name, func(t *testing.T) {
			m, data := trained(t, set)
			n, dim := data.Titles, m.Config.Dim
			model, err := m.ExportTitleTower()
			s := open(t, model, err)
			in := titleInputs(data)
			if d := apart(m.TitleVectors(), vectors(t, s, n, dim, in)); d > 1e-5 {
				t.Errorf("titles' vectors are up to %g from Go's", d)
			}
			if data.Content != nil { // new titles, by content alone
				want, err := m.NewTitleVectors(data.Content)
				if err != nil {
					t.Fatal(err)
				}
				for i := range n {
					in["title"].Ints[i] = -1
				}
				if d := apart(want, vectors(t, s, n, dim, in)); d > 1e-5 {
					t.Errorf("new titles' vectors are up to %g from Go's", d)
				}
			}
			users, in := userInputs(m, data)
			want, err := m.UserVectors(users)
			if err != nil {
				t.Fatal(err)
			}
			model, err = m.ExportUserTower()
			s = open(t, model, err)
			if d := apart(want, vectors(t, s, len(users), dim, in)); d > 1e-5 {
				t.Errorf("users' vectors are up to %g from Go's", d)
			}
		})
	}
}

// TestPythonRunsTheTowers is that they pass ONNX's checker and give Go's numbers outside of Go.
func TestPythonRunsTheTowers(t *testing.T) {
	var cases []onnxtest.Case
	for _, name := range []string{"all", "sets"} {
		m, data := trained(t, forms()[name])
		title, err := m.ExportTitleTower()
		if err != nil {
			t.Fatal(err)
		}
		user, err := m.ExportUserTower()
		if err != nil {
			t.Fatal(err)
		}
		users, in := userInputs(m, data)
		want, err := m.UserVectors(users)
		if err != nil {
			t.Fatal(err)
		}
		read := map[string]ort.Tensor{}
		for _, p := range open(t, user, nil).Inputs() {
			read[p.Name] = in[p.Name]
		}
		cases = append(cases, onnxtest.Case{Name: name + "-title", Model: title, Inputs: titleInputs(data), Want: m.TitleVectors()},
			onnxtest.Case{Name: name + "-user", Model: user, Inputs: read, Want: want})
	}
	onnxtest.CheckInPython(t, cases...)
}

func titleInputs(data *Data) map[string]ort.Tensor {
	n := data.Titles
	in := map[string]ort.Tensor{"title": {Shape: []int64{int64(n)}, Ints: make([]int64, n)}}
	for i := range n {
		in["title"].Ints[i] = int64(i)
	}
	if data.Content != nil {
		in["terms"], in["term_weights"] = bags(data.Content.Row, n)
	}
	return in
}

// userInputs are users with all that some form of the tower reads of them.
func userInputs(m *Model, data *Data) ([]User, map[string]ort.Tensor) {
	var users []User
	for u := range data.Histories {
		users = append(users, User{Number: u, History: data.Histories[u], Context: u%4 - 1})
		if data.Contexts == 0 {
			users[u].Context = -1
		}
	}
	users[4].History = History{} // of whom nothing is known but who they are
	n := len(users)
	in := map[string]ort.Tensor{}
	in["history"], in["strength"] = bags(func(r int) ([]uint32, []float32) { return users[r].History.Titles, users[r].History.Strength }, n)
	in["recency"], _ = bags(func(r int) ([]uint32, []float32) {
		h := &users[r].History
		var b []uint32
		for i := range h.Titles {
			b = append(b, h.bucket(i, 0, m.Config.RecencyBuckets))
		}
		return b, h.Strength
	}, n)
	who, where := ort.Tensor{Shape: []int64{int64(n)}}, ort.Tensor{Shape: []int64{int64(n)}}
	for _, u := range users {
		who.Ints, where.Ints = append(who.Ints, int64(u.Number)), append(where.Ints, int64(u.Context))
	}
	in["user"], in["context"] = who, where
	if data.Attributes != nil {
		in["attributes"], in["attribute_weights"] = bags(data.Attributes.Row, n)
	}
	return users, in
}
