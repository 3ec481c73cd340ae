package content

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func films() []Title {
	return []Title{
		{ID: "toy", Name: "Toy Story", Genres: []string{"Animation", "Comedy"}, People: []string{"Tom Hanks"}, Year: 1995, Maturity: 0, Language: "en"},
		{ID: "toy2", Name: "Toy Story 2", Genres: []string{"Animation", "Comedy"}, People: []string{"Tom Hanks"}, Year: 1999, Maturity: 0, Language: "en"},
		{ID: "bug", Name: "A Bug's Life", Genres: []string{"Animation"}, Year: 1998, Maturity: 0, Language: "en"},
		{ID: "heat", Name: "Heat", Description: "A thief and a detective.", Genres: []string{"Crime"}, People: []string{"Al Pacino"}, Year: 1995, Maturity: 16, Language: "en"},
		{ID: "scar", Name: "Scarface", Description: "The rise of a thief", Genres: []string{"Crime"}, People: []string{"AL PACINO"}, Year: 1983, Maturity: 16, Language: "en"},
		{ID: "bare", Name: "Untitled", Maturity: -1},
	}
}

func build(t testing.TB, titles []Title) *Model {
	t.Helper()
	m, err := Build(titles, DefaultWeights())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// likeness is every title's with one of them.
func likeness(m *Model, id string) map[string]float32 {
	row, _ := m.Row(id)
	scores := make([]float32, m.Len())
	m.Add(scores, 1, m.Vector(row))
	out := map[string]float32{}
	for i, s := range scores {
		out[m.TitleID(uint32(i))] = s
	}
	return out
}

func TestWhatIsAlike(t *testing.T) {
	m := build(t, films())
	toy, heat := likeness(m, "toy"), likeness(m, "heat")
	if !(toy["toy2"] > toy["bug"] && toy["bug"] > toy["scar"]) {
		t.Errorf("to Toy Story: %v", toy)
	}
	if !(heat["scar"] > heat["toy"]) || heat["bare"] != 0 {
		t.Errorf("to Heat: %v", heat)
	}
	for id, s := range toy {
		if s < 0 || s > 1.0001 || id == "toy" && math.Abs(float64(s)-1) > 1e-5 {
			t.Errorf("Toy Story and %s: %g", id, s)
		}
	}
	if v := m.Encode(Title{ID: "x", Maturity: -1}); len(v.Terms) != 0 {
		t.Errorf("a title nothing is known of has %v", v)
	}
	// One the catalogue does not have is compared by what it shares.
	v := m.Encode(Title{ID: "toy3", Name: "Toy Story 3", Genres: []string{"animation", "comedy"}, Maturity: -1, Year: 2001})
	scores := make([]float32, m.Len())
	m.Add(scores, 2, v)
	if row, _ := m.Row("toy2"); slices.Max(scores) != scores[row] {
		t.Errorf("to Toy Story 3: %v", scores)
	}
}

// TestVectorsAreOfUnitLength in every case, those with more terms than are kept among them.
func TestVectorsAreOfUnitLength(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var titles []Title
	for i := range 50 {
		var words []string
		for range rng.IntN(400) {
			words = append(words, fmt.Sprintf("word%d", rng.IntN(500)))
		}
		titles = append(titles, Title{ID: fmt.Sprint(i), Description: strings.Join(words, " "), Genres: []string{fmt.Sprint("g", i%4)}, Year: 1950 + i, Maturity: i%5 - 1})
	}
	m := build(t, titles)
	for row := range m.Len() {
		v := m.Vector(uint32(row))
		var norm float64
		for _, w := range v.Weights {
			norm += float64(w) * float64(w)
		}
		if math.Abs(norm-1) > 1e-5 || len(v.Terms) > MaxTerms || !slices.IsSorted(v.Terms) {
			t.Errorf("row %d: %d terms of length %g", row, len(v.Terms), norm)
		}
		fresh := m.Encode(titles[row])
		if !slices.Equal(fresh.Terms, v.Terms) || !slices.Equal(fresh.Weights, v.Weights) {
			t.Errorf("row %d is encoded otherwise the second time", row)
		}
	}
	again, err := Open(m.Table())
	if err != nil {
		t.Fatal(err)
	}
	if v := again.Encode(titles[3]); !slices.Equal(v.Weights, m.Vector(3).Weights) {
		t.Error("a stored model encodes otherwise")
	}
}

// TestTextIsWeighedByHand computes one likeness on paper: two titles share a word and nothing else.
func TestTextIsWeighedByHand(t *testing.T) {
	m := build(t, []Title{
		{ID: "a", Name: "red house", Maturity: -1}, {ID: "b", Name: "red", Maturity: -1}, {ID: "c", Name: "house", Maturity: -1}, {ID: "d", Name: "boat", Maturity: -1},
	})
	// Both words are in two of four titles, so a is half way between b and c.
	if got := likeness(m, "a"); math.Abs(float64(got["b"])-1/math.Sqrt2) > 1e-6 || got["d"] != 0 {
		t.Errorf("%v", got)
	}
}

func TestWhatMakesNoModel(t *testing.T) {
	bad := DefaultWeights()
	bad.Text = math.NaN()
	for name, err := range map[string]error{
		"no titles": second(Build(nil, DefaultWeights())),
		"twice":     second(Build([]Title{{ID: "a"}, {ID: "a"}}, DefaultWeights())),
		"no id":     second(Build([]Title{{Name: "a"}}, DefaultWeights())),
		"weights":   second(Build(films(), bad)),
	} {
		if !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if m := build(t, films()[:1]); len(m.Vector(0).Terms) != 0 {
		t.Error("one title alone is like nothing")
	}
	good := build(t, films()).Table()
	for name, spoil := range map[string]func(*Table){
		"no titles":  func(x *Table) { x.Titles = nil },
		"short":      func(x *Table) { x.Weight = x.Weight[1:] },
		"scales":     func(x *Table) { x.Scales = x.Scales[1:] },
		"NaN scale":  func(x *Table) { x.Scales[0] = float32(math.NaN()) },
		"unordered":  func(x *Table) { x.Terms[0], x.Terms[1] = x.Terms[1], x.Terms[0] },
		"outside":    func(x *Table) { x.Term[0] = 1 << 30 },
		"NaN weight": func(x *Table) { x.Weight[0] = float32(math.NaN()) },
		"heavy":      func(x *Table) { x.Weight[0] = 7 },
		"twice":      func(x *Table) { x.Titles[1] = x.Titles[0] },
	} {
		x := Table{
			Titles: slices.Clone(good.Titles), Term: slices.Clone(good.Term), Weight: slices.Clone(good.Weight),
			Terms: slices.Clone(good.Terms), Scales: slices.Clone(good.Scales),
		}
		spoil(&x)
		if _, err := Open(x); !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ *Model, err error) error { return err }

func FuzzEncode(f *testing.F) {
	m := build(f, films())
	f.Add("Toy Story", "a \xff thief", "Crime", 1995, 16)
	f.Add("", "", "", -4, -1)
	f.Fuzz(func(t *testing.T, name, description, genre string, year, maturity int) {
		v := m.Encode(Title{Name: name, Description: description, Genres: []string{genre}, Year: year, Maturity: maturity})
		scores := make([]float32, m.Len())
		m.Add(scores, 1, v)
		for _, s := range scores {
			if !(s >= 0 && s < 1.001) {
				t.Fatalf("likeness %v", s)
			}
		}
	})
}
