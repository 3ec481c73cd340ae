package files_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"marquee/ingest/files"
	"marquee/ingest/mapping"
	"marquee/internal/testkit"
)

func (w *world) titleOptions(path string) files.TitleOptions {
	return files.TitleOptions{
		Options: files.Options{Path: path, Namespace: "shop", Log: testkit.Log(w.t), Mapping: mapping.Mapping{
			Kind: mapping.Titles, Map: map[string]string{"title_id": "id", "kind": "=film", "name": "name", "year": "year", "genres": "genres"},
		}},
		Titles: w.titles, DB: w.db,
	}
}

func films(n int) string {
	var b strings.Builder
	b.WriteString("id,name,year,genres\n")
	for i := range n {
		fmt.Fprintf(&b, "%d,Film %d,%d,\"Drama,Comedy\"\n", i, i, 1950+i%70)
	}
	return b.String()
}

func TestTitles(t *testing.T) {
	w := newWorld(t)
	w.titles.refuse = "shop:3"
	path := write(t, "films.csv", films(1200)+"5,Film 5,1955,\"Drama,Comedy\"\n6,Another Film,1999,\n,Nameless,1999,\n")
	s, err := files.Titles(t.Context(), w.titleOptions(path))
	if err != nil {
		t.Fatal(err)
	}
	if s.RowsRead != 1203 || s.Titles != 1199 || s.TitlesChanged != 1199 || s.Repeated != 1 || s.Rejected != 3 || !s.Finished {
		t.Errorf("%+v", s)
	}
	if diff := cmp.Diff(map[string]int64{"title_refused": 1, "duplicate": 1, "missing": 1}, s.RejectedByReason); diff != "" {
		t.Error(diff)
	}
	if got := w.titles.by["shop:7"]; got.Name != "Film 7" || got.Year != 1957 || len(got.Genres) != 2 {
		t.Errorf("%v", got)
	}
	again, err := files.Titles(t.Context(), w.titleOptions(path))
	if err != nil || again.TitlesChanged != 0 || again.Titles != 1199 {
		t.Errorf("a second run: %v, %+v", err, again)
	}
}

// TestTitlesGoOnWhereTheyWereInterrupted: what is put stays put and counts once, and a contradiction with a row from before the
// interruption is still seen.
func TestTitlesGoOnWhereTheyWereInterrupted(t *testing.T) {
	w := newWorld(t)
	path := write(t, "films.csv", films(2600)+"9,Another Film,1999,\n")
	w.titles.fail = 2
	s, err := files.Titles(t.Context(), w.titleOptions(path))
	if !errors.Is(err, errAway) || !strings.Contains(err.Error(), "1000 rows of "+path+" are imported") || s.Titles != 1000 {
		t.Fatalf("%v, %+v", err, s)
	}
	w.titles.fail = 0
	s, err = files.Titles(t.Context(), w.titleOptions(path))
	if err != nil {
		t.Fatal(err)
	}
	if s.RowsBefore != 1000 || s.RowsRead != 1601 || s.Titles != 1600 || s.RejectedByReason["duplicate"] != 1 || len(w.titles.by) != 2600 {
		t.Errorf("%d titles, %+v", len(w.titles.by), s)
	}
}

func TestADryRunOfTitles(t *testing.T) {
	w := newWorld(t)
	o := w.titleOptions(write(t, "films.csv", films(5)+"2,Another,2000,\n"))
	p, err := files.DryRun(t.Context(), o.Options, 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	if p.Titles != 5 || p.Rejected != 1 || len(p.Sample) != 2 || p.Sample[1]["title_id"] != "shop:1" || p.Sample[1]["kind"] != "film" || len(w.titles.by) != 0 {
		t.Errorf("%+v", p)
	}
	if diff := cmp.Diff([]string{"id", "name", "year", "genres"}, p.Columns); diff != "" {
		t.Error(diff)
	}
}
