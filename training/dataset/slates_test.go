package dataset

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
		Profile: []uint32{0, 1, 1}, Line: []uint32{0, 0, 2}, At: []int64{5, 7, 7}, Offsets: []int{0, 2, 3, 3},
		Titles: []uint32{0, 1, 1}, Ranks: []uint32{0, 1, 4}, Clicked: []bool{false, true, true}, Strength: []float32{-1, 0.5, -1},
	}
	if d := cmp.Diff(want, got); d != "" || got.Len() != 3 {
		t.Errorf("slates (-want +got):\n%s", d)
	}
	if _, err := LoadSlates(t.Context(), l, bad.Snapshot, profiles, titles); !errors.Is(err, snapshot.ErrCorrupt) {
		t.Errorf("lists of different lengths: %v", err)
	}
	if _, err := LoadSlates(t.Context(), l, "20200101T000000.000000Z-000000000000", profiles, titles); !errors.Is(err, snapshot.ErrNotFound) {
		t.Errorf("no such snapshot: %v", err)
	}
}
