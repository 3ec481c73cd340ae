// Package view holds the catalogue as requests read it: an immutable picture of one catalogue revision and one release
// together, with every title at a dense row, its attributes in arrays by row, and the hard filters as bitmaps.
//
// The titles of the release have the release's own rows, 0 up to its number of titles, so that a bitmap over rows is a filter for
// its index as it stands. Titles of the catalogue that the release does not know come after them, from the next multiple
// of 64 on, in the order of their ids. A new revision or a new release makes a new view; a request keeps the one it began
// with.
package view

import (
	"cmp"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"marquee/ann"
	"marquee/catalog/changes"
	"marquee/serving/ids"
)

// None is the row of no title.
const None = ^uint32(0)

// Model is what a view takes from a release.
type Model interface {
	// Len is the number of titles; rows are below it.
	Len() int
	TitleID(row uint32) string
	// Popularity is how much the row's title is watched, of all time and decayed: 0 or more, in any unit.
	Popularity(row uint32) (allTime, decayed float32)
}

// View is one picture. Safe for concurrent use.
type View struct {
	revision  int64
	modelRows int
	rows      int

	// By row; nil and zero for rows that hold no title of the catalogue.
	titles       []*changes.Title
	popularity   []float32
	decayed      []float32
	addedAt      []int64
	maturity     []int8 // unrated: -1
	lastPlayable []uint32
	windows      [][]window
	genres       [][]uint16

	rowOf      []uint32 // by the number the process's id table gives
	ids        *ids.Table
	popular    []uint32
	recent     []uint32
	newest     []uint32
	genreNames []string
	genreRows  [][]uint32
	genreShare []float32
	known      ann.Bitmap
	count      int

	boundaries []int64 // every instant at which some window opens or closes, ascending
	countries  [countryCodes]atomic.Pointer[countryMask]
	ages       [maxAge + 1]atomic.Pointer[ann.Bitmap]
	plansMu    sync.Mutex
	plans      map[string]ann.Bitmap
}

const maxAge = 255

// Build makes the view of a catalogue at a revision and a release; without a release model is nil.
func Build(revision int64, titles iter.Seq[*changes.Title], model Model, table *ids.Table) *View {
	v := &View{revision: revision, ids: table, plans: make(map[string]ann.Bitmap)}
	byID := make(map[string]uint32)
	if model != nil {
		v.modelRows = model.Len()
		for row := range uint32(v.modelRows) {
			byID[model.TitleID(row)] = row
		}
	}
	v.place(titles, byID)
	for row := range uint32(v.modelRows) {
		v.popularity[row], v.decayed[row] = model.Popularity(row)
	}
	v.number(model)
	v.index()
	return v
}

// place gives every title its row.
func (v *View) place(titles iter.Seq[*changes.Title], byID map[string]uint32) {
	inModel := make([]*changes.Title, v.modelRows)
	var others []*changes.Title
	for t := range titles {
		if row, ok := byID[t.ID]; ok {
			inModel[row] = t
		} else {
			others = append(others, t)
		}
	}
	slices.SortFunc(others, func(a, b *changes.Title) int { return cmp.Compare(a.ID, b.ID) })
	first := (v.modelRows + 63) / 64 * 64
	v.rows = first + len(others)
	if len(others) == 0 {
		v.rows = v.modelRows
	}
	v.titles = make([]*changes.Title, v.rows)
	copy(v.titles, inModel)
	if len(others) > 0 {
		copy(v.titles[first:], others)
	}
	v.popularity = make([]float32, v.rows)
	v.decayed = make([]float32, v.rows)
	v.addedAt = make([]int64, v.rows)
	v.maturity = make([]int8, v.rows)
	v.lastPlayable = make([]uint32, v.rows)
	v.windows = make([][]window, v.rows)
	v.genres = make([][]uint16, v.rows)
	v.known = ann.NewBitmap(v.rows)
}

// number connects the rows with the numbers that live state knows titles by. Titles of the release that left the catalogue are
// numbered too: what a profile watched of them still says what it likes.
func (v *View) number(model Model) {
	set := func(id string, row uint32) {
		n := v.ids.Number(id)
		if n == ids.None {
			return
		}
		for int(n) >= len(v.rowOf) {
			v.rowOf = append(v.rowOf, None)
		}
		v.rowOf[n] = row
	}
	for row := range uint32(v.modelRows) {
		set(model.TitleID(row), row)
	}
	for row, t := range v.titles {
		if t != nil && row >= v.modelRows {
			set(t.ID, uint32(row))
		}
	}
}

// index fills the arrays and the lists.
func (v *View) index() {
	genreIDs := make(map[string]uint16)
	var boundaries []int64
	shared := make(map[*changes.Window][]window)
	for row, t := range v.titles {
		v.maturity[row] = -1
		v.lastPlayable[row] = ids.None
		if t == nil {
			continue
		}
		v.count++
		v.known.Set(uint32(row))
		v.addedAt[row] = t.AddedAt
		if t.MaturityAge != changes.Unrated {
			v.maturity[row] = int8(min(t.MaturityAge, 127))
		}
		if len(t.Availability) > 0 {
			// Titles with the same windows share one list of them.
			if shared[&t.Availability[0]] == nil {
				shared[&t.Availability[0]] = windowsOf(t)
				for _, w := range t.Availability {
					boundaries = append(boundaries, w.From, w.Until)
				}
			}
			v.windows[row] = shared[&t.Availability[0]]
		}
		if last := lastEpisode(t); last != "" {
			v.lastPlayable[row] = v.ids.Number(last)
		}
		for _, g := range t.Genres {
			id, ok := genreIDs[g]
			if !ok && len(v.genreNames) < 1<<16-1 {
				id, ok = uint16(len(v.genreNames)), true
				genreIDs[g] = id
				v.genreNames = append(v.genreNames, g)
			}
			if ok && !slices.Contains(v.genres[row], id) {
				v.genres[row] = append(v.genres[row], id)
			}
		}
	}
	slices.Sort(boundaries)
	v.boundaries = slices.Compact(boundaries)
	v.list()
}

func lastEpisode(t *changes.Title) string {
	if len(t.Episodes) == 0 {
		return ""
	}
	return slices.MaxFunc(t.Episodes, func(a, b changes.Episode) int {
		return cmp.Or(cmp.Compare(a.Season, b.Season), cmp.Compare(a.Number, b.Number))
	}).PlayableID
}

// list orders the titles by popularity, by age in the service, and by popularity within each genre.
func (v *View) list() {
	for row := range uint32(v.rows) {
		if v.known.Has(row) {
			v.popular = append(v.popular, row)
			if v.addedAt[row] > 0 {
				v.newest = append(v.newest, row)
			}
		}
	}
	// Titles nobody has watched yet come newest first; the id makes the order total.
	slices.SortFunc(v.popular, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(v.popularity[b], v.popularity[a]), cmp.Compare(v.addedAt[b], v.addedAt[a]), cmp.Compare(v.ID(a), v.ID(b)))
	})
	slices.SortFunc(v.newest, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(v.addedAt[b], v.addedAt[a]), cmp.Compare(v.popularity[b], v.popularity[a]), cmp.Compare(v.ID(a), v.ID(b)))
	})
	for _, row := range v.popular {
		if v.decayed[row] > 0 {
			v.recent = append(v.recent, row)
		}
	}
	slices.SortStableFunc(v.recent, func(a, b uint32) int { return cmp.Compare(v.decayed[b], v.decayed[a]) })
	v.genreRows = make([][]uint32, len(v.genreNames))
	v.genreShare = make([]float32, len(v.genreNames))
	var watched float64
	share := make([]float64, len(v.genreNames))
	for _, row := range v.popular {
		for _, g := range v.genres[row] {
			v.genreRows[g] = append(v.genreRows[g], row)
			// One more for every title, so that a catalogue nobody has watched yet has shares too.
			share[g] += float64(v.popularity[row]) + 1
			watched += float64(v.popularity[row]) + 1
		}
	}
	for g, s := range share {
		v.genreShare[g] = float32(s / max(1, watched))
	}
}

// Revision is the catalogue revision the view shows.
func (v *View) Revision() int64 { return v.revision }

// Rows is the number of rows, with those that hold no title.
func (v *View) Rows() int { return v.rows }

// Len is the number of titles in the catalogue.
func (v *View) Len() int { return v.count }

// ModelRows is the number of rows the release knows: 0 up to it.
func (v *View) ModelRows() int { return v.modelRows }

// InModel reports whether the release knows the row's title.
func (v *View) InModel(row uint32) bool { return int64(row) < int64(v.modelRows) }

// Row returns the row of the title that the process's id table has given number n, or None.
func (v *View) Row(n uint32) uint32 {
	if int64(n) >= int64(len(v.rowOf)) {
		return None
	}
	return v.rowOf[n]
}

// Find returns the row of a title_id, or None.
func (v *View) Find(titleID string) uint32 { return v.Row(v.ids.Lookup(titleID)) }

// Has reports whether the row holds a title of the catalogue.
func (v *View) Has(row uint32) bool { return v.known.Has(row) }

// Title returns the row's title, or nil when it holds none of the catalogue. It is shared and must not be changed.
func (v *View) Title(row uint32) *changes.Title { return v.titles[row] }

// ID returns the title_id of a row that holds a title.
func (v *View) ID(row uint32) string { return v.titles[row].ID }

// AddedAt is when the title entered the service, microseconds since the Unix epoch; 0 when unknown.
func (v *View) AddedAt(row uint32) int64 { return v.addedAt[row] }

// Popularity is how much the title is watched according to the release, of all time and decayed to the release's as_of.
func (v *View) Popularity(row uint32) (allTime, decayed float32) {
	return v.popularity[row], v.decayed[row]
}

// LastPlayable is the number of a series' last episode, ids.None for everything else.
func (v *View) LastPlayable(row uint32) uint32 { return v.lastPlayable[row] }

// IsSeries reports whether the title has episodes.
func (v *View) IsSeries(row uint32) bool { return v.lastPlayable[row] != ids.None }

// Genres are the numbers of the title's genres.
func (v *View) Genres(row uint32) []uint16 { return v.genres[row] }

// GenreName is the name of a genre.
func (v *View) GenreName(g uint16) string { return v.genreNames[g] }

// GenreCount is the number of genres.
func (v *View) GenreCount() int { return len(v.genreNames) }

// GenreShare is the genre's part of all that is watched, 0 to 1.
func (v *View) GenreShare(g uint16) float32 { return v.genreShare[g] }

// Popular are all titles, the most watched first. Shared; not to be changed.
func (v *View) Popular() []uint32 { return v.popular }

// Recent are the titles watched of late according to the release, the most watched first. Shared; not to be changed.
func (v *View) Recent() []uint32 { return v.recent }

// Newest are the titles whose time of entering the service is known, the latest first. Shared; not to be changed.
func (v *View) Newest() []uint32 { return v.newest }

// OfGenre are the genre's titles, the most watched first. Shared; not to be changed.
func (v *View) OfGenre(g uint16) []uint32 { return v.genreRows[g] }
