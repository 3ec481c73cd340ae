package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
	"marquee/internal/db"
	"marquee/internal/testkit"
)

// eachEngine runs a test on every engine, on a database of its own.
func eachEngine(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, testkit.NeedPostgres(t))
	})
}

func open(t *testing.T, url string) *Store {
	t.Helper()
	d, err := db.Open(t.Context(), url, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func film(id string) *catalogv1.Title {
	return &catalogv1.Title{
		TitleId: id, Kind: catalogv1.TitleKind_TITLE_KIND_FILM, Name: "Ô it's \\ \"" + id + "\" 電影 ' OR 1=1 ?0 ?", Year: 1995,
		Description: "Line one\nline two", AddedAt: 1_700_000_000_000_000, Genres: []string{"Drama", "Children's"},
		People:      []*catalogv1.Person{{Name: "A. O'Neill", Role: catalogv1.PersonRole_PERSON_ROLE_DIRECTOR}},
		MaturityAge: proto.Uint32(0), RuntimeMs: 6_000_000, Language: "fr",
		Availability: []*catalogv1.Window{{Countries: []string{"DE", "AT"}, From: 5}, {Until: 9}},
	}
}

func series(id string, playables ...string) *catalogv1.Title {
	s := &catalogv1.Season{Number: 1, Name: "One"}
	for i, p := range playables {
		s.Episodes = append(s.Episodes, &catalogv1.Episode{PlayableId: p, Number: uint32(i + 1), Name: "Part " + p, RuntimeMs: 99})
	}
	return &catalogv1.Title{TitleId: id, Kind: catalogv1.TitleKind_TITLE_KIND_SERIES, Name: id, Seasons: []*catalogv1.Season{s}}
}

func mustPut(t *testing.T, s *Store, titles ...*catalogv1.Title) []Outcome {
	t.Helper()
	outcomes, err := s.Put(t.Context(), titles)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

func outbox(t *testing.T, s *Store) (out []string) {
	t.Helper()
	titles, err := s.Outbox(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, title := range titles {
		out = append(out, fmt.Sprintf("%s@%d", title.GetTitleId(), title.GetRevision()))
	}
	return out
}

func TestPutAndGetKeepEveryField(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		s := open(t, url)
		for i, title := range []*catalogv1.Title{film("f"), series("s", "e1", "e2"), {TitleId: "bare", Kind: 1, Name: "x"}} {
			mustPut(t, s, title)
			if title.GetRevision() != 0 {
				t.Error("Put changed what it was given")
			}
			got, err := s.Get(t.Context(), title.GetTitleId())
			if err != nil {
				t.Fatal(err)
			}
			want := proto.CloneOf(title)
			want.Revision = int64(i + 1)
			if !proto.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		if _, err := s.Get(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get of nothing = %v", err)
		}
	})
}

func TestAnEqualTitleKeepsItsRevision(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		s := open(t, url)
		mustPut(t, s, film("a"), film("b"))
		same := film("a")
		same.Revision, same.Deleted = 77, true // set by the catalogue, so ignored
		other := film("b")
		other.MaturityAge = nil // absent is not 0
		got := mustPut(t, s, same, other, film("c"))
		if got[0].Changed || got[0].Revision != 1 {
			t.Errorf("an equal title: %+v", got[0])
		}
		if !got[1].Changed || got[1].Revision != 3 || !got[2].Changed || got[2].Revision != 4 {
			t.Errorf("a changed and a new title: %+v", got[1:])
		}
		if revision, err := s.Revision(t.Context()); err != nil || revision != 4 {
			t.Errorf("revision %d, %v", revision, err)
		}
	})
}

// TestReplacingLeavesNothingOfTheOld looks at the tables that search will go by.
func TestReplacingLeavesNothingOfTheOld(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		s := open(t, url)
		mustPut(t, s, film("x"))
		counts := func() (out []int64) {
			for _, model := range []any{(*genreRow)(nil), (*personRow)(nil), (*windowRow)(nil), (*playableRow)(nil), (*outboxRow)(nil), (*titleRow)(nil)} {
				n, err := s.db.NewSelect().Model(model).Count(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, n)
			}
			return out
		}
		if got := counts(); !slices.Equal(got, []int64{2, 1, 3, 1, 1, 1}) {
			t.Errorf("rows of a film: %v", got)
		}
		mustPut(t, s, series("x", "e1", "e2", "e3"))
		if got := counts(); !slices.Equal(got, []int64{0, 0, 0, 3, 1, 1}) {
			t.Errorf("rows of the series that replaced it: %v", got)
		}
		if _, err := s.Delete(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		if got := counts(); !slices.Equal(got, []int64{0, 0, 0, 0, 1, 1}) {
			t.Errorf("rows of a withdrawn title: %v", got)
		}
	})
}

func TestDeleteLeavesATombstone(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		s := open(t, url)
		mustPut(t, s, film("f"))
		for range 2 { // the second time changes nothing
			if revision, err := s.Delete(t.Context(), "f"); err != nil || revision != 2 {
				t.Fatalf("Delete = %d, %v", revision, err)
			}
		}
		got, err := s.Get(t.Context(), "f")
		if err != nil || !got.GetDeleted() || got.GetRevision() != 2 || got.GetName() != film("f").GetName() {
			t.Errorf("tombstone %v, %v", got, err)
		}
		if titles, _, err := s.List(t.Context(), "", 10, 1<<20); err != nil || len(titles) != 0 {
			t.Errorf("a withdrawn title is listed: %v, %v", titles, err)
		}
		if back := mustPut(t, s, film("f"))[0]; !back.Changed || back.Revision != 3 {
			t.Errorf("bringing it back: %+v", back)
		}
		if _, err := s.Delete(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Delete of nothing = %v", err)
		}
	})
}

func TestListPagesInByteOrder(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		s := open(t, url)
		want := []string{"A", "B", "Z", "a", "ab", "b", "ä", "電"}
		for _, id := range []string{"ä", "b", "Z", "電", "a", "B", "ab", "A"} {
			mustPut(t, s, film(id))
		}
		for _, size := range []struct{ limit, bytes int }{{3, 1 << 20}, {100, 1 << 20}, {100, 1}, {1, 1}} {
			var got []string
			after, more := "", true
			for more {
				var titles []*catalogv1.Title
				var err error
				if titles, more, err = s.List(t.Context(), after, size.limit, size.bytes); err != nil {
					t.Fatal(err)
				}
				if len(titles) > size.limit || len(titles) == 0 {
					t.Fatalf("page of %d titles", len(titles))
				}
				got = append(got, titleIDs(titles)...)
				after = got[len(got)-1]
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %+v gave %q, want %q", size, got, want)
			}
		}
	})
}

func TestPlayablesResolveAndAreUnique(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		s := open(t, url)
		mustPut(t, s, film("f"), series("a", "e1", "e2"))
		for playable, want := range map[string]string{"f": "f", "e1": "a", "e2": "a"} {
			if got, err := s.TitleOf(t.Context(), playable); err != nil || got != want {
				t.Errorf("TitleOf(%q) = %q, %v", playable, got, err)
			}
		}
		if _, err := s.TitleOf(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a series is no playable: %v", err)
		}
		got := mustPut(t, s, series("b", "e9", "e2"), film("e1"), film("g"))
		want := Conflict{Field: "seasons[0].episodes[1].playable_id", PlayableID: "e2", Owner: "a"}
		if len(got[0].Conflicts) != 1 || got[0].Conflicts[0] != want {
			t.Errorf("an episode of another title: %+v", got[0])
		}
		if len(got[1].Conflicts) != 1 || got[1].Conflicts[0] != (Conflict{Field: "title_id", PlayableID: "e1", Owner: "a"}) {
			t.Errorf("a film with an episode's id: %+v", got[1])
		}
		if !got[2].Changed {
			t.Errorf("the refused titles took another with them: %+v", got[2])
		}
		if _, err := s.TitleOf(t.Context(), "e9"); !errors.Is(err, ErrNotFound) {
			t.Errorf("half of a refused title was stored: %v", err)
		}
		// In one request the episode moves, whichever title comes first.
		for _, titles := range [][]*catalogv1.Title{{series("b", "e2"), series("a", "e1")}, {series("b"), series("a", "e1", "e2")}} {
			for i, o := range mustPut(t, s, titles...) {
				if len(o.Conflicts) > 0 {
					t.Errorf("move of an episode, title %d: %+v", i, o)
				}
			}
		}
		if _, err := s.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if o := mustPut(t, s, series("b", "e1", "e2"))[0]; !o.Changed {
			t.Errorf("what a withdrawn title played is not free: %+v", o)
		}
	})
}

func TestOutbox(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		s := open(t, url)
		lease, err := s.db.AcquireLease(t.Context(), "relay", "test", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		mustPut(t, s, film("a"), film("b"))
		mustPut(t, s, film("a"))
		mustPut(t, s, series("a", "e"), film("c"))
		if _, err := s.Delete(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		if got := outbox(t, s); !slices.Equal(got, []string{"a@3", "c@4", "b@5"}) {
			t.Errorf("outbox %q", got)
		}
		if titles, err := s.Outbox(t.Context(), 1); err != nil || len(titles) != 1 {
			t.Errorf("%d titles, %v", len(titles), err)
		}
		mustPut(t, s, film("c")) // the same again
		if err := s.Acknowledge(t.Context(), lease, 4); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Pending(t.Context()); err != nil || n != 1 {
			t.Errorf("%d pending, %v", n, err)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Acknowledge(t.Context(), lease, 5); !errors.Is(err, db.ErrLeaseLost) {
			t.Errorf("acknowledged without the lease: %v", err)
		}
		if got := outbox(t, s); !slices.Equal(got, []string{"b@5"}) {
			t.Errorf("outbox %q", got)
		}
	})
}

// TestManyWritersGetRevisionsInCommitOrder writes from two handles while a third empties the outbox: the revisions it
// sees must only grow, or the relay would pass one over.
func TestManyWritersGetRevisionsInCommitOrder(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		a, b, reader := open(t, url), open(t, url), open(t, url)
		lease, err := reader.db.AcquireLease(t.Context(), "relay", "test", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		defer lease.Release(context.WithoutCancel(t.Context())) //nolint:errcheck // the database goes with the test
		var writers sync.WaitGroup
		for w, s := range []*Store{a, a, b} {
			writers.Go(func() {
				random := rand.New(rand.NewPCG(uint64(w), 1))
				for i := range 15 {
					var titles []*catalogv1.Title
					for _, n := range random.Perm(12)[:4] {
						title := film(fmt.Sprint("t", n))
						title.Year = int32(w*100 + i)
						titles = append(titles, title)
					}
					if _, err := s.Put(t.Context(), titles); err != nil {
						t.Error(err)
					}
				}
			})
		}
		written := make(chan struct{})
		go func() { writers.Wait(); close(written) }()
		last := int64(0)
		drain := func() {
			titles, err := reader.Outbox(t.Context(), 5)
			if err != nil {
				t.Error(err)
			}
			for _, title := range titles {
				if title.GetRevision() <= last {
					t.Errorf("revision %d after %d", title.GetRevision(), last)
				}
				last = title.GetRevision()
			}
			if len(titles) > 0 {
				if err := reader.Acknowledge(t.Context(), lease, last); err != nil {
					t.Error(err)
				}
			}
		}
		for writing := true; writing; {
			drain()
			select {
			case <-written:
				writing = false
			default:
			}
		}
		for range 10 {
			drain()
		}
		if revision, err := reader.Revision(t.Context()); err != nil || last != revision {
			t.Errorf("saw revision %d last, the catalogue is at %d, %v", last, revision, err)
		}
	})
}

func TestPutOfALargeBatch(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		s := open(t, url)
		var titles []*catalogv1.Title
		for i := range 500 {
			title := series(fmt.Sprint("s", i))
			for j := range 5 {
				title.Seasons[0].Episodes = append(title.Seasons[0].Episodes, &catalogv1.Episode{PlayableId: fmt.Sprintf("s%d-%d", i, j)})
			}
			title.Description = strings.Repeat("d", 1000)
			titles = append(titles, title)
		}
		for i, o := range mustPut(t, s, titles...) {
			if !o.Changed || o.Revision != int64(i+1) {
				t.Fatalf("title %d: %+v", i, o)
			}
		}
		for _, o := range mustPut(t, s, titles...) {
			if o.Changed {
				t.Fatalf("the same again: %+v", o)
			}
		}
	})
}

func BenchmarkPut500(b *testing.B) {
	d, err := db.Open(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "bench.db"), "")
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // the file goes with the benchmark
	s, err := Open(b.Context(), d)
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; b.Loop(); n++ {
		titles := make([]*catalogv1.Title, 500)
		for i := range titles {
			titles[i] = film(fmt.Sprintf("n%d-%d", n, i))
		}
		if _, err := s.Put(b.Context(), titles); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(500*b.N)/b.Elapsed().Seconds(), "titles/s")
}
