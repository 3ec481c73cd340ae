package retrieve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"marquee/catalog/changes"
	"marquee/internal/vec"
	"marquee/serving/view"
	"marquee/training/model"
	"marquee/training/model/content"
)

// fresh are the vectors, by the release's title tower, of titles that came after the release or that nobody had watched by then.
type fresh struct {
	first   uint32    // the row of the first
	vectors []float32 // a row each, of the length 1, or 0 where nothing is known
	// of is where a title's vector is. The catalogue's titles are replaced when they change and never changed.
	of map[*changes.Title]uint32
}

// readFresh asks the title tower for the titles that the release does not know. What a picture before of the same release has is taken
// from there: catalogues change a title at a time.
func (p *Picture) readFresh(before *Picture) error {
	b := p.Bundle
	there, err := b.HasTowers()
	if errors.Is(err, model.ErrNoRuntime) {
		return nil // nor is there a vector of a viewer, which answers report
	}
	if err != nil || !there || b.Content() == nil {
		return err
	}
	d := b.TowerDim()
	f := &fresh{first: uint32((p.ModelRows()+63)/64) * 64, of: map[*changes.Title]uint32{}}
	p.fresh = f
	if uint32(p.Rows()) <= f.first {
		return nil
	}
	f.vectors = make([]float32, (p.Rows()-int(f.first))*d)
	var rows []uint32
	var described []content.Vector
	for row := f.first; row < uint32(p.Rows()); row++ {
		if !p.Has(row) {
			continue
		}
		title := p.Title(row)
		f.of[title] = row
		if old, ok := before.freshVector(b, title); ok {
			copy(f.vector(row, d), old)
			continue
		}
		if v := vectorOf(b.Content(), title); len(v.Terms) > 0 {
			rows, described = append(rows, row), append(described, v)
		}
	}
	found := make([]float32, len(rows)*d)
	if err := b.NewTitles(context.Background(), found, &model.TowerScratch{}, described); err != nil {
		return fmt.Errorf("make the vectors of %d new titles: %w", len(rows), err)
	}
	for i, row := range rows {
		copy(f.vector(row, d), found[i*d:(i+1)*d])
	}
	return nil
}

func (f *fresh) vector(row uint32, d int) []float32 {
	at := int(row-f.first) * d
	return f.vectors[at : at+d]
}

// freshVector is a title's, where the picture is of that release and has the very title.
func (p *Picture) freshVector(b *model.Bundle, title *changes.Title) ([]float32, bool) {
	if p == nil || p.Bundle != b || p.fresh == nil {
		return nil, false
	}
	row, ok := p.fresh.of[title]
	if !ok {
		return nil, false
	}
	return p.fresh.vector(row, b.TowerDim()), true
}

// vectorOf is what a release's content makes of a title, be it one that the release describes or not.
func vectorOf(m *content.Model, title *changes.Title) content.Vector {
	if row, ok := m.Row(title.ID); ok {
		return m.Vector(row)
	}
	return m.Encode(described(title))
}

// tower is what the towers say of the profile.
type tower struct {
	vector  []float32 // empty where they have not been asked, or could not be
	memory  []float32
	watches []model.Watch
	scratch model.TowerScratch
	fresh   []float32 // scores of the fresh titles
	top     float32   // mean of the profile's highest scores
	cosine  float32   // the highest of the profile's vector and a title's
}

// microsADay is a day in microseconds.
const microsADay = 24 * 3600 * 1e6

// FromTower asks the release's towers for the profile's vector and adds the count titles that it scores highest, and the newCount nearest of
// those that the release does not know. A release without towers adds none. Errors wrap model.ErrNoRuntime where the machine cannot ask
// them.
func (q *Query) FromTower(ctx context.Context, count, newCount int) error {
	b, t := q.Picture.Bundle, &q.tower
	if b == nil || len(q.Vector) == 0 {
		return nil
	}
	if there, err := b.HasTowers(); !there || err != nil {
		return err
	}
	t.watches = t.watches[:0]
	for i := range q.Past {
		p := &q.Past[i]
		if v := model.Value(p.Strength, p.Abandoned, p.Disliked); v > 0 && q.Picture.InModel(p.Row) {
			t.watches = append(t.watches, model.Watch{Row: p.Row, Strength: v, Days: float32(float64(q.AgeMicros(p.LastAt)) / microsADay)})
		}
	}
	t.memory = sized(t.memory, b.TowerDim())
	// To watch the request's end costs the runtime more than a fraction of a millisecond could save.
	if err := b.UserTower(context.WithoutCancel(ctx), t.memory, &t.scratch, t.watches); err != nil {
		return err
	}
	var err error
	if q.found, _, err = b.TowerIndex().Search(t.memory, count, q.options(count), q.found); err != nil {
		return fmt.Errorf("search by the towers for the profile: %w", err)
	}
	t.vector = t.memory
	top := q.found[:min(len(q.found), topScores)]
	for _, n := range top {
		t.top += n.Score / float32(len(top))
	}
	for _, n := range q.found {
		v := b.TowerVector(n.ID)
		if length := vec.Dot(v, v); length > 0 {
			t.cosine = max(t.cosine, n.Score/float32(math.Sqrt(float64(length))))
		}
		q.Add(Candidate{Row: n.ID, Source: Tower, Subject: view.None, Score: n.Score})
	}
	q.fromFresh(newCount)
	return nil
}

// fromFresh adds the count nearest of the titles that the release does not know.
func (q *Query) fromFresh(count int) {
	f, t := q.Picture.fresh, &q.tower
	if f == nil || len(f.vectors) == 0 {
		return
	}
	t.fresh = sized(t.fresh, len(f.vectors)/len(t.vector))
	vec.Gemv(t.fresh, f.vectors, t.vector)
	q.nearest = q.nearest[:0]
	before := func(a, b Candidate) int { return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Row, b.Row)) }
	for i, score := range t.fresh {
		row := f.first + uint32(i)
		if score <= 0 || !q.Open.Has(row) {
			continue
		}
		c := Candidate{Row: row, Source: Tower, Subject: view.None, Score: score}
		if len(q.nearest) >= count {
			if count == 0 || before(c, q.nearest[count-1]) >= 0 {
				continue
			}
			q.nearest = q.nearest[:count-1]
		}
		at, _ := slices.BinarySearchFunc(q.nearest, c, before)
		q.nearest = slices.Insert(q.nearest, at, c)
	}
	for _, c := range q.nearest {
		q.Add(c)
	}
}

// forget makes ready for another request.
func (t *tower) forget() { t.vector, t.top, t.cosine = t.vector[:0], 0, 0 }

// TowerScore is how highly the towers score a title that the release knows, as a multiple of the profile's highest, and whether they
// were asked.
func (q *Query) TowerScore(row uint32) (float32, bool) {
	t := &q.tower
	if len(t.vector) == 0 || !(t.top > 0) {
		return 0, false
	}
	return vec.Dot(t.vector, q.Picture.Bundle.TowerVector(row)) / t.top, true
}

// TowerLiking is how near a title that the release does not know is to the profile by the towers, 0 to 1: beside the nearest that it
// knows. It says false where the towers were not asked or nothing is known of the title.
func (q *Query) TowerLiking(row uint32) (float32, bool) {
	f, t := q.Picture.fresh, &q.tower
	if len(t.vector) == 0 || f == nil || row < f.first || !(t.cosine > 0) {
		return 0, false
	}
	v := f.vector(row, len(t.vector))
	if vec.Dot(v, v) == 0 {
		return 0, false
	}
	return min(1, max(0, vec.Dot(v, t.vector)/t.cosine)), true
}
