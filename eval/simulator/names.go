package simulator

import (
	"fmt"
	"math/rand/v2"
	"slices"
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

// describe writes the catalogue entry of title i: what people and models may know of it.
func (w *World) describe(r *rand.Rand, i int) *catalogv1.Title {
	adj, noun := adjectives(), nouns()
	added := w.cfg.Start.Add(-time.Duration(r.IntN(5*365*24)) * time.Hour)
	age := []uint32{0, 6, 12, 12, 16, 16, 18}[r.IntN(7)]
	return &catalogv1.Title{
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
