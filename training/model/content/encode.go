package content

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	// yearStep is the width of the bins of years. A year counts in the two nearest, so that years are the more alike the nearer.
	yearStep = 5
	// maxWord bounds a word, in bytes: what is longer is no word of a language.
	maxWord = 40
)

// count is how often each term is in a title. A term begins with its kind's letter and a colon.
func count(t Title) map[string]float64 {
	out := map[string]float64{}
	for _, g := range t.Genres {
		out["g:"+strings.ToLower(g)] = 1
	}
	for _, p := range t.People {
		out["p:"+strings.ToLower(p)] = 1
	}
	for _, text := range []string{t.Name, t.Description} {
		for _, w := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if len(w) > 1 && len(w) <= maxWord {
				out["w:"+w]++
			}
		}
	}
	if t.Year > 0 {
		bin, rest := t.Year/yearStep*yearStep, float64(t.Year%yearStep)/yearStep
		out["y:"+strconv.Itoa(bin)] = 1 - rest
		if rest > 0 {
			out["y:"+strconv.Itoa(bin+yearStep)] = rest
		}
	}
	if t.Maturity >= 0 {
		out["m:"+strconv.Itoa(t.Maturity)] = 1
	}
	if t.Language != "" {
		out["l:"+strings.ToLower(t.Language)] = 1
	}
	return out
}

// weighted is a term with its weight in a title.
type weighted struct {
	term   uint32
	weight float64
	kind   byte
}

// Encode makes the vector of a title, be it one of the model's or not. It is empty where nothing is known that others share.
func (m *Model) Encode(t Title) Vector {
	var terms []weighted
	norm := map[byte]float64{}
	for text, n := range count(t) {
		term, ok := m.terms[text]
		if !ok {
			continue
		}
		w := weighted{term, n * float64(m.table.Scales[term]), text[0]}
		if w.kind == 'w' {
			w.weight = (1 + math.Log(n)) * float64(m.table.Scales[term])
		}
		terms = append(terms, w)
	}
	// Sums in one order give one result.
	slices.SortFunc(terms, func(a, b weighted) int { return cmp.Compare(a.term, b.term) })
	for _, w := range terms {
		norm[w.kind] += w.weight * w.weight
	}
	for i := range terms {
		w := &terms[i]
		if share := m.kindScale(w.kind); norm[w.kind] > 0 {
			w.weight *= share / math.Sqrt(norm[w.kind])
		}
	}
	return unit(terms)
}

// kindScale is the root of the kind's weight.
func (m *Model) kindScale(kind byte) float64 {
	if i, ok := m.terms[string(kind)]; ok {
		return float64(m.table.Scales[i])
	}
	return 0
}

// unit keeps the largest of the terms, which are ascending, and brings them to unit length.
func unit(terms []weighted) Vector {
	terms = slices.DeleteFunc(terms, func(w weighted) bool { return !(w.weight > 0) })
	if len(terms) > MaxTerms {
		slices.SortFunc(terms, func(a, b weighted) int { return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.term, b.term)) })
		terms = terms[:MaxTerms]
		slices.SortFunc(terms, func(a, b weighted) int { return cmp.Compare(a.term, b.term) })
	}
	var squares float64
	for _, w := range terms {
		squares += w.weight * w.weight
	}
	var v Vector
	for _, w := range terms {
		if x := float32(w.weight / math.Sqrt(squares)); x > 0 {
			v.Terms, v.Weights = append(v.Terms, w.term), append(v.Weights, x)
		}
	}
	return v
}
