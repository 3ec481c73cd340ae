package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"marquee/eval/simulator"
	"marquee/eval/split"
	"marquee/internal/testkit"
	"marquee/training/model/content"
)

// TestContentOnTitlesLeftOutByReleaseDate holds the content model and the title's tower to the simpler ones on films of MovieLens 1M and on the simulator's
// catalogue: the whole interval of every difference is above 0.
func TestContentOnTitlesLeftOutByReleaseDate(t *testing.T) {
	for name, c := range map[string]struct {
		data  func(*testing.T) (*split.Log, []content.Title)
		after int
	}{"movielens": {movieLens1M, 1998}, "simulator": {simulated, 0}} {
		t.Run(name, func(t *testing.T) {
			l, titles := c.data(t)
			study, err := measureCold(t.Context(), l, titles, c.after)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range study.Results {
				t.Logf("%s %s: ndcg@10 %.4f, recall@20 %.4f", study.Protocol, r.Model, r.Metrics["ndcg@10"], r.Metrics["recall@20"])
			}
			for i, name := range []string{"title_tower", "content"} {
				r := study.Results[len(study.Results)-2+i]
				if r.Model != name || len(r.Against) != 3 {
					t.Fatalf("%s is compared with %d", r.Model, len(r.Against))
				}
				for _, d := range r.Against {
					t.Logf("%s - %s: %.4f (%.4f to %.4f), p %.4f", name, d.Reference, d.Mean, d.Low, d.High, d.PHolm)
					if d.Low <= 0 {
						t.Errorf("%s - %s is %.4f (%.4f to %.4f), want an interval above 0", name, d.Reference, d.Mean, d.Low, d.High)
					}
				}
			}
		})
	}
}

// eachLine reads the fields of a :: separated file.
func eachLine(t *testing.T, path string, use func(fields []string)) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // opened for reading
	s := bufio.NewScanner(f)
	for s.Scan() {
		use(strings.Split(s.Text(), "::"))
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// movieLens1M is its films, with year and genres, and who rated them.
func movieLens1M(t *testing.T) (*split.Log, []content.Title) {
	t.Helper()
	dir := testkit.DataDir(t, "ml-1m")
	row := map[string]uint32{}
	var titles []content.Title
	eachLine(t, filepath.Join(dir, "movies.dat"), func(f []string) {
		name, year := f[1], 0
		if n := len(name); n > 7 && name[n-1] == ')' {
			name, year = name[:n-7], number(t, name[n-5:n-1])
		}
		row[f[0]] = uint32(len(titles))
		titles = append(titles, content.Title{ID: f[0], Name: name, Genres: strings.Split(f[2], "|"), Year: year, Maturity: -1})
	})
	l := &split.Log{Users: 6041, Titles: len(titles)}
	eachLine(t, filepath.Join(dir, "ratings.dat"), func(f []string) {
		l.User, l.Title = append(l.User, uint32(number(t, f[0]))), append(l.Title, row[f[1]])
		l.At, l.Value = append(l.At, int64(number(t, f[3]))*1e6), append(l.Value, float32(number(t, f[2]))/5)
	})
	return l, titles
}

// simulated is a small world whose viewers are shown titles whatever they like. What they kept watching counts.
func simulated(t *testing.T) (*split.Log, []content.Title) {
	t.Helper()
	end := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	world, err := simulator.New(simulator.Config{Seed: 7, Titles: 600, Viewers: 1500, SessionsPerViewer: 16, Start: end.AddDate(0, 0, -28), End: end})
	if err != nil {
		t.Fatal(err)
	}
	var titles []content.Title
	row := map[string]uint32{}
	for i, title := range world.Titles() {
		row[title.GetTitleId()] = uint32(i)
		titles = append(titles, describedTitle(title))
	}
	l := &split.Log{Users: world.Viewers(), Titles: len(titles)}
	for v := range world.Viewers() {
		for e := range world.History(v) {
			if e.GetWatchedMs() >= (20 * time.Minute).Milliseconds() {
				l.User, l.Title = append(l.User, uint32(v)), append(l.Title, row[e.GetTitleId()])
				l.At = append(l.At, e.GetOccurredAt())
			}
		}
	}
	return l, titles
}
