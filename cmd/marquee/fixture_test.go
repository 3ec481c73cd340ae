package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// smallSet is a made-up set in MovieLens' latest layout: four tastes, each a genre with its films and its users. Users rate
// mostly films of their own genre, in the same weeks.
type smallSet struct {
	users, films int
	// ratings is how many there are.
	ratings int
	// watched are each user's films, and last the latest.
	watched map[int][]int
	last    map[int]int
}

const (
	smallUsers  = 120
	smallFilms  = 80
	smallGenres = 4
	smallPerDay = 24 * time.Hour / 40
)

// writeSmallSet writes the set into dir.
func writeSmallSet(t *testing.T, dir string) *smallSet {
	t.Helper()
	set := &smallSet{users: smallUsers, films: smallFilms, watched: map[int][]int{}, last: map[int]int{}}
	var movies, ratings strings.Builder
	movies.WriteString("movieId,title,genres\n")
	genres := []string{"Comedy", "Horror", "Western", "Documentary"}
	for film := 1; film <= set.films; film++ {
		fmt.Fprintf(&movies, "%d,%q,%s\n", film, fmt.Sprintf("Film %d (19%d)", film, 50+film%50), genres[film%smallGenres])
	}
	ratings.WriteString("userId,movieId,rating,timestamp\n")
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)
	// Everybody watches one film after another, in turns: late events are everybody's, not some users'.
	for range 20 {
		for user := 1; user <= set.users; user++ {
			film := set.next(r, user)
			if film == 0 {
				continue
			}
			at = at.Add(smallPerDay)
			fmt.Fprintf(&ratings, "%d,%d,%.1f,%d\n", user, film, 3+float64(r.IntN(5))/2, at.Unix())
			set.watched[user] = append(set.watched[user], film)
			set.last[user] = film
			set.ratings++
		}
	}
	writeFiles(t, dir, map[string]string{"movies.csv": movies.String(), "ratings.csv": ratings.String()})
	return set
}

// next is a film the user has not watched, of the own genre nine times of ten; 0 when chance found none.
func (s *smallSet) next(r *rand.Rand, user int) int {
	for range 20 {
		film := 1 + r.IntN(s.films)
		if r.IntN(10) > 0 {
			film = film - film%smallGenres + user%smallGenres
		}
		if film >= 1 && film <= s.films && !slices.Contains(s.watched[user], film) {
			return film
		}
	}
	return 0
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// trained is a data folder with the small set imported and a release in use, for tests to copy.
type trained struct {
	dir, files string
	set        *smallSet
	release    string
}

// imported is what import --json prints, as far as tests look at it.
type imported struct {
	RowsRead              int64 `json:"rows_read"`
	EventsPublished       int64 `json:"events_published"`
	EventsAlreadyImported int64 `json:"events_already_imported"`
	Rejected              int64 `json:"rejected"`
	Events                eventCounts
}

func (c eventCounts) are(t *testing.T, n int64) {
	t.Helper()
	if c != (eventCounts{Warehouse: uint64(n), Lake: n, LakeRows: n}) {
		t.Errorf("%d events, but they are counted as %+v", n, c)
	}
}

// night is what nightly --json prints, as far as tests look at it.
type night struct {
	Promoted bool                          `json:"promoted"`
	Bundle   string                        `json:"bundle"`
	Metrics  map[string]map[string]float64 `json:"metrics"`
}

func makeTrained(t *testing.T) *trained {
	t.Helper()
	f := &trained{dir: filepath.Join(t.TempDir(), "data"), files: t.TempDir()}
	f.set = writeSmallSet(t, f.files)
	in := newInstall(t, f.dir)
	var i imported
	in.run("import", "movielens", f.files, "--json").ok().json(&i)
	i.Events.are(t, int64(f.set.ratings))
	var n night
	in.run("nightly", "--as-of", "max-event", "--json").ok().json(&n)
	if !n.Promoted || n.Bundle == "" {
		t.Fatalf("not promoted: %+v", n)
	}
	f.release = n.Bundle
	return f
}

// install is an install on a copy of the trained folder.
func (f *trained) install(t *testing.T, settings ...string) *install {
	t.Helper()
	return newInstall(t, copyOf(t, f.dir), settings...)
}
