package dataset

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"marquee/features/snapshot"
	"marquee/features/snapshot/snapshottest"
	"marquee/internal/lake"
)

func TestLoadSlates(t *testing.T) {
	l, err := lake.Open(t.Context(), "mem://")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	columns := func(clicked [][]int32) []snapshottest.Column {
		return []snapshottest.Column{
			{Name: "profile_id", Values: []string{"p", "q", "r", "r"}},
			{Name: "row", Values: []uint32{0, 0, 0, 2}},
			{Name: "at", Values: snapshottest.Micros{5, 6, 7, 7}},
			{Name: "title_ids", Values: [][]string{{"a", "b"}, {"a"}, {"new", "b"}, {}}},
			{Name: "ranks", Values: [][]int32{{0, 1}, {0}, {3, 4}, {}}},
			{Name: "clicked", Values: clicked},
			{Name: "strengths", Values: [][]int32{{-1, 5000}, {-1}, {-1, -1}, {}}},
		}
	}
	at := time.Unix(100, 0)
	good := snapshottest.Write(t, l, SlateSet, at, "good", 3, columns([][]int32{{0, 1}, {0}, {0, 1}, {}})...)
	bad := snapshottest.Write(t, l, SlateSet, at, "bad", 3, columns([][]int32{{0}, {0}, {0, 1}, {}})...)
	profiles, titles := collectVocabulary([]string{"p", "r"}), collectVocabulary([]string{"a", "b"})
	got, err := LoadSlates(t.Context(), l, good.Snapshot, profiles, titles)
	if err != nil {
		t.Fatal(err)
	}
	want := &Slates{
		Profiles: profiles, Titles: titles,
		Profile: []uint32{0, 1, 1}, Line: []uint32{0, 0, 2}, At: []int64{5, 7, 7}, Offsets: []int{0, 2, 3, 3},
		Title: []uint32{0, 1, 1}, Rank: []uint32{0, 1, 4}, Clicked: []bool{false, true, true}, Strength: []float32{-1, 0.5, -1},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(Vocabulary{})); d != "" || got.Len() != 3 {
		t.Errorf("slates (-want +got):\n%s", d)
	}
	if got.Clicks() != 2 {
		t.Errorf("%d clicks", got.Clicks())
	}
	fewer, one := collectVocabulary([]string{"r"}), collectVocabulary([]string{"b", "c"})
	want = &Slates{
		Profiles: fewer, Titles: one, Profile: []uint32{0, 0}, Line: []uint32{0, 2}, At: []int64{7, 7}, Offsets: []int{0, 1, 1},
		Title: []uint32{0}, Rank: []uint32{4}, Clicked: []bool{true}, Strength: []float32{-1},
	}
	if d := cmp.Diff(want, got.Under(fewer, one), cmp.AllowUnexported(Vocabulary{})); d != "" {
		t.Errorf("under fewer titles and profiles (-want +got):\n%s", d)
	}
	if _, err := LoadSlates(t.Context(), l, bad.Snapshot, profiles, titles); !errors.Is(err, snapshot.ErrCorrupt) {
		t.Errorf("lists of different lengths: %v", err)
	}
	if _, err := LoadSlates(t.Context(), l, "20200101T000000.000000Z-000000000000", profiles, titles); !errors.Is(err, snapshot.ErrNotFound) {
		t.Errorf("no such snapshot: %v", err)
	}
}

// TestResponse: at rank 0 half of what is shown is clicked, at rank 1 a quarter; a is clicked twice as often as that, b never.
func TestResponse(t *testing.T) {
	s := &Slates{Titles: collectVocabulary([]string{"a", "b", "c"}), Offsets: []int{0}}
	add := func(at int64, title, rank uint32, clicked bool) {
		s.Profile, s.Line, s.At = append(s.Profile, 0), append(s.Line, 0), append(s.At, at)
		s.Title, s.Rank, s.Clicked = append(s.Title, title), append(s.Rank, rank), append(s.Clicked, clicked)
		s.Offsets = append(s.Offsets, len(s.Title))
	}
	for range 10 {
		add(5, 0, 0, true)
		add(5, 1, 0, false)
		add(5, 1, 1, false)
		add(5, 1, 1, false)
	}
	for i := range 20 {
		add(5, 0, 1, i < 10)
	}
	add(6, 2, 0, true) // later
	got, want := s.Response(5), []float32{(20 + 5) / (5 + 5 + 5.), (0 + 5) / (5 + 5 + 5.), 1}
	if d := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-6)); d != "" {
		t.Errorf("response (-want +got):\n%s", d)
	}
	if none := s.Response(4); none != nil {
		t.Errorf("before anything was shown %v", none)
	}
}
