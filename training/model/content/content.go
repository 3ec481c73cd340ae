// Package content compares titles by what the catalogue says of them: genres, people, year, maturity, language and the words of
// name and description. It is for titles that nobody has watched, of which a model of watches knows nothing.
//
// A title is a sparse vector of unit length. Each kind of term is weighed by TF-IDF (Salton and Buckley 1988), brought to unit length
// by itself and given a weight, so that a long description does not drown the genres; two titles are as alike as the cosine of
// their vectors, 0 to 1.
package content

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// ErrInput is wrapped by every error about the titles or tables given.
var ErrInput = errors.New("cannot make a content model")

// MaxTerms is how many terms of a title are kept: those of the largest weight.
const MaxTerms = 64

// Title is what the catalogue says of a title. What is unknown is empty, and of Maturity below 0.
type Title struct {
	ID                string
	Name, Description string
	Genres, People    []string
	Language          string
	Year              int
	Maturity          int
}

// Weights are the shares of the kinds of terms in a title's vector, 0 or more; only their ratios matter.
type Weights struct {
	Genre    float64 `koanf:"genre"`
	People   float64 `koanf:"people"`
	Text     float64 `koanf:"text"`
	Year     float64 `koanf:"year"`
	Maturity float64 `koanf:"maturity"`
	Language float64 `koanf:"language"`
}

// DefaultWeights: those of genre, text and year did best on the films of MovieLens 1M released in 1998, watched by who had watched
// older ones. It knows no people, languages and ages; a shared person says much, the others little.
func DefaultWeights() Weights {
	return Weights{Genre: 1, People: 0.6, Text: 0.3, Year: 0.3, Maturity: 0.15, Language: 0.1}
}

// of is the weight of a kind of term, by its letter.
func (w Weights) of(kind byte) float64 {
	switch kind {
	case 'g':
		return w.Genre
	case 'p':
		return w.People
	case 'w':
		return w.Text
	case 'y':
		return w.Year
	case 'm':
		return w.Maturity
	case 'l':
		return w.Language
	}
	return 0
}

// kinds are the letters that terms begin with: genre, person, word, year, maturity, language.
const kinds = "gpwyml"

// Vector is a sparse vector, terms ascending.
type Vector struct {
	Terms   []uint32
	Weights []float32
}

// Model holds the vectors of a catalogue and what is needed to make those of other titles. It is immutable and safe for concurrent
// use.
type Model struct {
	table Table
	terms map[string]uint32
	rows  map[string]uint32
	// Term t is in the titles title[start[t]:start[t+1]], with these weights.
	start  []uint32
	title  []uint32
	weight []float32
}

// Table is a model as columns, for storing.
type Table struct {
	// Titles are the ids. The title of row i has places i*MaxTerms on in Term and Weight; those left over have the weight 0.
	Titles []string
	Term   []uint32
	Weight []float32
	// Terms are the vocabulary, ascending, and Scales how much each says: the logarithm of the share of titles that do not have it. The
	// letter of a kind alone stands for the kind, its scale being the root of the kind's weight.
	Terms  []string
	Scales []float32
}

// Build makes the model of a catalogue. Terms that only one title has, or that all have, make no titles alike and are left out.
func Build(titles []Title, w Weights) (*Model, error) {
	if len(titles) == 0 {
		return nil, fmt.Errorf("%w: no titles", ErrInput)
	}
	in := map[string]int{}
	for _, t := range titles {
		for term := range count(t) {
			in[term]++
		}
	}
	scale := map[string]float64{}
	for term, n := range in {
		if n > 1 && n < len(titles) {
			scale[term] = math.Log(float64(len(titles)+1) / float64(n))
		}
	}
	for _, kind := range kinds {
		v := w.of(byte(kind))
		if !(v >= 0) || math.IsInf(v, 1) {
			return nil, fmt.Errorf("%w: the weight of kind %q is %g, want 0 or more", ErrInput, kind, v)
		}
		scale[string(kind)] = math.Sqrt(v)
	}
	var t Table
	for _, term := range slices.Sorted(maps.Keys(scale)) {
		t.Terms, t.Scales = append(t.Terms, term), append(t.Scales, float32(scale[term]))
	}
	m := &Model{table: t, terms: numbers(t.Terms)}
	for _, title := range titles {
		v := m.Encode(title)
		m.table.Titles = append(m.table.Titles, title.ID)
		m.table.Term = append(m.table.Term, v.Terms...)
		m.table.Weight = append(m.table.Weight, v.Weights...)
		left := MaxTerms - len(v.Terms)
		m.table.Term, m.table.Weight = append(m.table.Term, make([]uint32, left)...), append(m.table.Weight, make([]float32, left)...)
	}
	if err := m.index(); err != nil {
		return nil, err
	}
	return m, nil
}

// Open makes the model of a stored table, whose slices it keeps.
func Open(t Table) (*Model, error) {
	if len(t.Titles) == 0 || len(t.Terms) != len(t.Scales) || len(t.Term) != len(t.Titles)*MaxTerms || len(t.Weight) != len(t.Term) {
		return nil, fmt.Errorf("%w: %d titles, %d terms with %d scales, %d places with %d weights", ErrInput,
			len(t.Titles), len(t.Terms), len(t.Scales), len(t.Term), len(t.Weight))
	}
	for i, s := range t.Scales {
		if !(s >= 0) || s > math.MaxFloat32 || t.Terms[i] == "" || i > 0 && t.Terms[i] <= t.Terms[i-1] {
			return nil, fmt.Errorf("%w: term %d is %q with scale %v, want terms that ascend and scales of 0 or more", ErrInput, i, t.Terms[i], s)
		}
	}
	for i, w := range t.Weight {
		// A hair above 1 is rounding.
		if !(w >= 0 && w < 1.001) || int64(t.Term[i]) >= int64(len(t.Terms)) && w > 0 {
			return nil, fmt.Errorf("%w: title %d has term %d of %d with weight %v", ErrInput, i/MaxTerms, t.Term[i], len(t.Terms), w)
		}
	}
	m := &Model{table: t, terms: numbers(t.Terms)}
	if err := m.index(); err != nil {
		return nil, err
	}
	return m, nil
}

func numbers(terms []string) map[string]uint32 {
	out := make(map[string]uint32, len(terms))
	for i, t := range terms {
		out[t] = uint32(i)
	}
	return out
}

// index lists the titles of each term.
func (m *Model) index() error {
	m.rows = make(map[string]uint32, len(m.table.Titles))
	for row, id := range m.table.Titles {
		if _, twice := m.rows[id]; twice || id == "" {
			return fmt.Errorf("%w: row %d: title %q is given twice or has no id", ErrInput, row, id)
		}
		m.rows[id] = uint32(row)
	}
	m.start = make([]uint32, len(m.table.Terms)+1)
	for i, term := range m.table.Term {
		if m.table.Weight[i] > 0 {
			m.start[term+1]++
		}
	}
	for t := range m.table.Terms {
		m.start[t+1] += m.start[t]
	}
	n := m.start[len(m.table.Terms)]
	m.title, m.weight = make([]uint32, n), make([]float32, n)
	next := slices.Clone(m.start)
	for i, term := range m.table.Term {
		if w := m.table.Weight[i]; w > 0 {
			m.title[next[term]], m.weight[next[term]] = uint32(i/MaxTerms), w
			next[term]++
		}
	}
	return nil
}

// Table is the model as columns. They must not be changed.
func (m *Model) Table() Table { return m.table }

// Len is the number of titles.
func (m *Model) Len() int { return len(m.table.Titles) }

// TitleID is the id of the title of a row below Len.
func (m *Model) TitleID(row uint32) string { return m.table.Titles[row] }

// Row is the row of a title, and whether the model has it.
func (m *Model) Row(titleID string) (uint32, bool) {
	row, ok := m.rows[titleID]
	return row, ok
}

// Vector is that of a row below Len. It shares the model's memory.
func (m *Model) Vector(row uint32) Vector {
	at := int(row) * MaxTerms
	n := 0
	for n < MaxTerms && m.table.Weight[at+n] > 0 {
		n++
	}
	return Vector{Terms: m.table.Term[at : at+n], Weights: m.table.Weight[at : at+n]}
}

// Add adds to dst (length Len) a multiple of every title's likeness to v.
func (m *Model) Add(dst []float32, factor float32, v Vector) {
	for i, term := range v.Terms {
		w := factor * v.Weights[i]
		lo, hi := m.start[term], m.start[term+1]
		for k, row := range m.title[lo:hi] {
			dst[row] += w * m.weight[lo+uint32(k)]
		}
	}
}
