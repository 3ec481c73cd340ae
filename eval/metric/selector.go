package metric

import (
	"math"
	"slices"

	"marquee/internal/vec"
)

// Selector picks the first k of all titles by score. Its memory is reused from call to call; use one a goroutine.
type Selector struct {
	heap []picked // a binary heap whose root is the last of the picked
	out  []uint32
	// above are positions of scores that may belong among the picked.
	above [1024]uint32
}

type picked struct {
	score    float32
	relevant bool
	title    uint32
}

// before orders by score, and puts the relevant behind the irrelevant where scores are equal, so that a model with constant
// scores earns nothing; the title's number makes the order total.
func (a picked) before(b picked) bool {
	if a.score != b.score {
		return a.score > b.score
	}
	if a.relevant != b.relevant {
		return b.relevant
	}
	return a.title < b.title
}

// Top returns the k titles with the highest scores, best first, ties counted against the relevant (sorted ascending; may
// be nil). Titles scored -Inf (masked) or NaN are never returned, so the list may be shorter than k. The result is valid
// until the next call.
func (s *Selector) Top(scores []float32, k int, relevant []uint32) []uint32 {
	s.heap, s.out = s.heap[:0], s.out[:0]
	if k < 1 {
		return s.out
	}
	const masked = -3.5e38 // every finite float32 is above, -Inf below
	i := 0
	for ; i < len(scores) && len(s.heap) < k; i++ {
		if float64(scores[i]) > masked {
			s.push(picked{scores[i], contains(relevant, uint32(i)), uint32(i)})
		}
	}
	// Few of the rest are above the last of the picked, so they are looked for a stretch at a time. A title that ties with it
	// may still be before it.
	for ; i < len(scores); i += len(s.above) {
		stretch := scores[i:min(i+len(s.above), len(scores))]
		n := vec.Above(s.above[:], stretch, math.Nextafter32(s.heap[0].score, float32(math.Inf(-1))))
		for _, at := range s.above[:n] {
			t := uint32(i) + at
			if p := (picked{scores[t], contains(relevant, t), t}); p.before(s.heap[0]) {
				s.heap[0] = p
				s.sink(0)
			}
		}
	}
	slices.SortFunc(s.heap, func(a, b picked) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for _, p := range s.heap {
		s.out = append(s.out, p.title)
	}
	return s.out
}

func (s *Selector) push(p picked) {
	s.heap = append(s.heap, p)
	for i := len(s.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !s.heap[parent].before(s.heap[i]) {
			return
		}
		s.heap[parent], s.heap[i] = s.heap[i], s.heap[parent]
		i = parent
	}
}

func (s *Selector) sink(i int) {
	for {
		last := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(s.heap); child++ {
			if s.heap[last].before(s.heap[child]) {
				last = child
			}
		}
		if last == i {
			return
		}
		s.heap[i], s.heap[last] = s.heap[last], s.heap[i]
		i = last
	}
}
