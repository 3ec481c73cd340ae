package changes

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
)

func film(id string, revision int64) *catalogv1.Title {
	return &catalogv1.Title{
		TitleId: id, Kind: catalogv1.TitleKind_TITLE_KIND_FILM, Name: "Film " + id, Year: 1999, Language: "en",
		Genres: []string{"Drama", "Crime"}, MaturityAge: proto.Uint32(12), RuntimeMs: 6_000_000, Revision: revision,
		Availability: []*catalogv1.Window{{}},
	}
}

func series(id string, revision int64, playables ...string) *catalogv1.Title {
	s := &catalogv1.Season{Number: 1}
	for i, p := range playables {
		s.Episodes = append(s.Episodes, &catalogv1.Episode{PlayableId: p, Number: uint32(i + 1), RuntimeMs: 1000})
	}
	return &catalogv1.Title{
		TitleId: id, Kind: catalogv1.TitleKind_TITLE_KIND_SERIES, Name: "Series " + id, Revision: revision,
		Seasons: []*catalogv1.Season{s},
	}
}

func withdrawn(t *catalogv1.Title) *catalogv1.Title {
	t.Deleted = true
	return t
}

func apply(t *testing.T, c *Titles, batch ...*catalogv1.Title) {
	t.Helper()
	if err := c.Apply(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

func TestTitlesKeepWhatAReaderNeeds(t *testing.T) {
	c := NewTitles()
	apply(t, c, film("f1", 1), film("f2", 2), series("s", 3, "s-1", "s-2"))
	f, ok := c.Get("f1")
	if !ok || f.Name != "Film f1" || f.Year != 1999 || f.MaturityAge != 12 || f.Language != "en" || f.RuntimeMS != 6_000_000 ||
		f.Revision != 1 || !slices.Equal(f.Genres, []string{"Drama", "Crime"}) {
		t.Errorf("f1 = %+v, %v", f, ok)
	}
	s, _ := c.Get("s")
	want := []Episode{{PlayableID: "s-1", Season: 1, Number: 1, RuntimeMS: 1000}, {PlayableID: "s-2", Season: 1, Number: 2, RuntimeMS: 1000}}
	if !slices.Equal(s.Episodes, want) || s.MaturityAge != Unrated {
		t.Errorf("s = %+v", s)
	}
	f2, _ := c.Get("f2")
	if &f.Genres[0] != &f2.Genres[0] || &f.Availability[0] != &f2.Availability[0] {
		t.Error("equal genres and windows are kept twice")
	}
	if c.Len() != 3 || c.Revision() != 3 || len(slices.Collect(c.All())) != 3 {
		t.Errorf("%d titles at revision %d", c.Len(), c.Revision())
	}
	if _, ok := c.Get("nobody"); ok {
		t.Error("found a title that is not there")
	}
}

func TestTitlesKeepTheHighestRevision(t *testing.T) {
	c := NewTitles()
	newer := film("f", 7)
	newer.Name = "new"
	apply(t, c, newer, film("f", 3), film("f", 7))
	if f, _ := c.Get("f"); f.Name != "new" || c.Revision() != 7 {
		t.Errorf("kept %+v", f)
	}
	apply(t, c, withdrawn(film("f", 9)), film("f", 8))
	if _, ok := c.Get("f"); ok || c.Len() != 0 || c.Revision() != 9 {
		t.Error("an older change brought a withdrawn title back")
	}
	for range c.All() {
		t.Error("a withdrawn title is listed")
	}
	apply(t, c, film("f", 10))
	if _, ok := c.Get("f"); !ok || c.Len() != 1 {
		t.Error("a newer change did not bring it back")
	}
}

func TestTitleOfAPlayable(t *testing.T) {
	c := NewTitles()
	titleOf := func(playable string) string {
		title, ok := c.TitleOf(playable)
		if !ok {
			return ""
		}
		return title.ID
	}
	check := func(when string, want map[string]string) {
		t.Helper()
		for playable, id := range want {
			if got := titleOf(playable); got != id {
				t.Errorf("%s: %s is of %q, want %q", when, playable, got, id)
			}
		}
	}
	apply(t, c, film("f", 1), series("a", 2, "e1", "e2"))
	check("at first", map[string]string{"f": "f", "e1": "a", "e2": "a", "a": "", "x": ""})
	apply(t, c, series("a", 3, "e1"), series("b", 4, "e2"))
	check("an episode moved", map[string]string{"e1": "a", "e2": "b"})
	apply(t, c, series("b", 6, "e2"), series("a", 7))
	check("its old title changed later", map[string]string{"e1": "", "e2": "b"})
	apply(t, c, withdrawn(film("f", 8)), withdrawn(series("b", 9, "e2")))
	check("withdrawn", map[string]string{"f": "", "e2": ""})
	apply(t, c, series("c", 10, "f"))
	check("a withdrawn film's id played by a series", map[string]string{"f": "c"})
}

func TestAvailabilityAndAge(t *testing.T) {
	title := NewTitles().compact("x", &catalogv1.Title{
		MaturityAge: proto.Uint32(16),
		Availability: []*catalogv1.Window{
			{Countries: []string{"DE", "AT"}, From: 100, Until: 200},
			{From: 500},
		},
	})
	for _, tt := range []struct {
		country string
		at      int64
		want    bool
	}{
		{"DE", 99, false}, {"DE", 100, true}, {"AT", 199, true}, {"DE", 200, false}, {"US", 150, false}, {"", 150, false},
		{"US", 499, false}, {"US", 500, true}, {"", 1 << 60, true},
	} {
		if got := title.AvailableIn(tt.country, tt.at); got != tt.want {
			t.Errorf("AvailableIn(%q, %d) = %v", tt.country, tt.at, got)
		}
	}
	unrated := NewTitles().compact("x", &catalogv1.Title{})
	if unrated.AvailableIn("DE", 1) {
		t.Error("a title without windows is available")
	}
	for age, want := range map[int32]bool{15: false, 16: true, 99: true} {
		if title.FitFor(age) != want {
			t.Errorf("FitFor(%d) = %v", age, !want)
		}
	}
	if unrated.FitFor(99) {
		t.Error("an unrated title is fit for a profile with a limit")
	}
}

// TestSharingForgets feeds more different windows than are remembered: nothing may be lost or confused.
func TestSharingForgets(t *testing.T) {
	c := NewTitles()
	const n = sharingLimit + 1000
	for i := range int64(n) {
		f := film(fmt.Sprint("f", i), i+1)
		f.Availability[0].From = i
		apply(t, c, f)
	}
	if len(c.shared.windows) > sharingLimit {
		t.Errorf("%d windows remembered", len(c.shared.windows))
	}
	for i := range int64(n) {
		if f, _ := c.Get(fmt.Sprint("f", i)); f.Availability[0].From != i {
			t.Fatalf("film %d has the window of %d", i, f.Availability[0].From)
		}
	}
}

// TestTitlesUnderManyReaders is for the race detector, and holds the invariant that a title's episodes resolve to it
// or to nobody.
func TestTitlesUnderManyReaders(t *testing.T) {
	c := NewTitles()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for title := range c.All() {
					if got, ok := c.Get(title.ID); ok && got.Revision < title.Revision {
						t.Error("a title went back in time")
					}
					for _, e := range title.Episodes {
						_, _ = c.TitleOf(e.PlayableID)
					}
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for revision := range int64(2000) {
		id := fmt.Sprint("t", random.IntN(50))
		change := series(id, revision+1, id+"-1", id+"-2")
		if random.IntN(4) == 0 {
			withdrawn(change)
		}
		apply(t, c, change)
	}
	close(stop)
	readers.Wait()
}

func BenchmarkTitles200k(b *testing.B) {
	batch := make([]*catalogv1.Title, 200_000)
	for i := range batch {
		batch[i] = film(fmt.Sprint("import:", i), int64(i+1))
		batch[i].Description = "A description nobody reads at request time."
	}
	b.ReportAllocs()
	for b.Loop() {
		c := NewTitles()
		if err := c.Apply(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}
