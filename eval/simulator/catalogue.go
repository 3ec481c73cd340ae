package simulator

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	catalogv1 "marquee/catalog/v1"
)

// genres are the public shadow of the moods, one each.
func genres() [moods]string {
	return [moods]string{"Action", "Adventure", "Animation", "Comedy", "Crime", "Documentary",
		"Drama", "Fantasy", "Horror", "Mystery", "Romance", "Science Fiction"}
}

func adjectives() []string {
	return []string{"Quiet", "Last", "Burning", "Hidden", "Paper", "Electric", "Northern", "Broken", "Golden", "Distant",
		"Midnight", "Silver", "Borrowed", "Hollow", "Second", "Restless", "Winter", "Glass", "Forgotten", "Crimson"}
}

func nouns() []string {
	return []string{"Harbour", "Orchard", "Signal", "Mirror", "Station", "Garden", "Verdict", "Machine", "Island", "Letter",
		"Empire", "Horizon", "Witness", "Carnival", "River", "Promise", "Kingdom", "Shadow", "Season", "Passage"}
}

// title is what a viewer reacts to.
type title struct {
	mood    vector
	quality float32
	runtime int64 // of a film or of an episode, milliseconds
	// seasons has the number of episodes of each season; nil for a film.
	seasons []int
}

// episodes is how many playables the title has.
func (t *title) episodes() int {
	if t.seasons == nil {
		return 1
	}
	n := 0
	for _, of := range t.seasons {
		n += of
	}
	return n
}

// seriesShare is how many of the titles are series.
const seriesShare = 0.3

func (w *World) makeTitles() {
	r := w.rng(streamTitles, 0)
	n := w.cfg.Titles
	w.titles = make([]title, n)
	w.public = make([]*catalogv1.Title, n)
	w.exposure, w.ids = make([]float64, n), make([]string, n)
	sum := 0.0
	// What is put in front of people follows a power law that has little to do with how good it is.
	rank := r.Perm(n)
	for i := range w.titles {
		t := &w.titles[i]
		t.mood = mixture(r, 1+r.IntN(2))
		t.quality = float32(r.NormFloat64() * 0.5)
		t.runtime = (int64(75) + int64(r.IntN(80))) * time.Minute.Milliseconds()
		if r.Float64() < seriesShare {
			t.runtime = (int64(22) + int64(r.IntN(36))) * time.Minute.Milliseconds()
			for range 1 + r.IntN(4) {
				t.seasons = append(t.seasons, 4+r.IntN(9))
			}
		}
		sum += 1 / math.Pow(float64(rank[i])+8, 0.8)
		w.exposure[i], w.ids[i] = sum, TitleID(i)
		w.public[i] = w.describe(r, i)
	}
	for i := range w.exposure {
		w.exposure[i] /= sum
	}
}

// playable is the id of the title's e-th playable, 0-based: the title's own for a film, one a season and episode for a series.
func (w *World) playable(t, e int) string {
	id := w.ids[t]
	for season, of := range w.titles[t].seasons {
		if e < of {
			return id + ":s" + strconv.Itoa(season+1) + "e" + strconv.Itoa(e+1)
		}
		e -= of
	}
	return id
}

// describe writes the catalogue entry of title i: what people and models may know of it.
func (w *World) describe(r *rand.Rand, i int) *catalogv1.Title {
	adj, noun := adjectives(), nouns()
	added := w.cfg.Start.Add(-time.Duration(r.IntN(5*365*24)) * time.Hour)
	age := []uint32{0, 6, 12, 12, 16, 16, 18}[r.IntN(7)]
	out := &catalogv1.Title{
		TitleId:      TitleID(i),
		Kind:         catalogv1.TitleKind_TITLE_KIND_FILM,
		Name:         fmt.Sprintf("Simulated: %s %s %d", adj[r.IntN(len(adj))], noun[r.IntN(len(noun))], i),
		Description:  "A simulated title: it exists to try Marquee out and can be watched nowhere.",
		Year:         int32(added.Year() - r.IntN(20)),
		AddedAt:      added.UnixMicro(),
		Genres:       w.genresOf(r, i),
		MaturityAge:  &age,
		Availability: []*catalogv1.Window{{}},
		RuntimeMs:    w.titles[i].runtime,
	}
	first := 0
	for s, of := range w.titles[i].seasons {
		out.Kind = catalogv1.TitleKind_TITLE_KIND_SERIES
		season := &catalogv1.Season{Number: uint32(s + 1)}
		for e := range of {
			season.Episodes = append(season.Episodes, &catalogv1.Episode{
				PlayableId: w.playable(i, first+e), Number: uint32(e + 1), Name: fmt.Sprintf("Episode %d", e+1), RuntimeMs: w.titles[i].runtime,
			})
		}
		first += of
		out.Seasons = append(out.Seasons, season)
	}
	return out
}

// genresOf names the title's two strongest moods, and now and then a wrong one: metadata is never quite right.
func (w *World) genresOf(r *rand.Rand, i int) []string {
	mood := w.titles[i].mood
	order := make([]int, moods)
	for k := range order {
		order[k] = k
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case mood[a] > mood[b]:
			return -1
		case mood[a] < mood[b]:
			return 1
		}
		return a - b
	})
	names := genres()
	out := []string{names[order[0]]}
	if mood[order[1]] > 0.4 {
		out = append(out, names[order[1]])
	}
	if extra := names[r.IntN(moods)]; r.IntN(5) == 0 && !slices.Contains(out, extra) {
		out = append(out, extra)
	}
	return out
}
