package dataset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"marquee/features/snapshot"
	"marquee/features/snapshot/snapshottest"
	"marquee/internal/lake"
	"marquee/internal/sparse"
)

var asOf = time.Date(1998, 4, 22, 23, 10, 38, 0, time.UTC)

func openLake(t testing.TB) *lake.Lake {
	t.Helper()
	l, err := lake.Open(context.Background(), "file://"+filepath.ToSlash(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// ratings makes data of MovieLens's shape: popular titles more often, some profiles much busier than others, times to the
// second with many ties, one event a pair.
func ratings(seed uint64, profiles, titles, n int) []Triplet {
	rng := rand.New(rand.NewPCG(seed, 7))
	met := map[[2]int]bool{}
	var out []Triplet
	for len(out) < n {
		p, c := int(math.Pow(rng.Float64(), 2)*float64(profiles)), int(math.Pow(rng.Float64(), 3)*float64(titles))
		if met[[2]int{p, c}] {
			continue
		}
		met[[2]int{p, c}] = true
		// Dates run with the profile's number, as accounts are opened, and a profile rates many titles within minutes.
		at := asOf.Add(-time.Duration(profiles-p)*time.Hour - time.Duration(rng.IntN(600))*time.Second)
		out = append(out, Triplet{
			Profile: fmt.Sprintf("synth:%d", p), Title: fmt.Sprintf("synth:%d", c),
			Strength: float32(rng.IntN(11)*1000) / 10000, At: at.UnixMicro(),
		})
	}
	return out
}

// write puts triplets, one a pair, into the lake as the set interactions.
func write(t testing.TB, l *lake.Lake, triplets []Triplet, at time.Time, partRows int) *snapshot.Manifest {
	t.Helper()
	rows := slices.Clone(triplets)
	slices.SortFunc(rows, func(a, b Triplet) int {
		return cmp.Or(cmp.Compare(a.Profile, b.Profile), cmp.Compare(a.Title, b.Title))
	})
	var profiles, titles []string
	var strengths []int32
	var first, last snapshottest.Micros
	var abandoned, no []bool
	for _, r := range rows {
		profiles, titles = append(profiles, r.Profile), append(titles, r.Title)
		strengths = append(strengths, int32(math.Round(float64(r.Strength)*10000)))
		first, last = append(first, r.At), append(last, r.At)
		abandoned, no = append(abandoned, r.Strength == 0), append(no, false)
	}
	return snapshottest.Write(t, l, InteractionSet, at, "", partRows,
		snapshottest.Column{Name: "profile_id", Values: profiles}, snapshottest.Column{Name: "title_id", Values: titles},
		snapshottest.Column{Name: "strength", Values: strengths}, snapshottest.Column{Name: "first_at", Values: first},
		snapshottest.Column{Name: "last_at", Values: last}, snapshottest.Column{Name: "abandoned", Values: abandoned},
		snapshottest.Column{Name: "disliked", Values: no}, snapshottest.Column{Name: "liked", Values: no},
		snapshottest.Column{Name: "listed", Values: no})
}

func TestLoadEqualsTriplets(t *testing.T) {
	triplets := ratings(1, 300, 200, 8000)
	want, err := FromTriplets(triplets)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range want.ByProfile.Values {
		if v == 0 {
			want.Flags[i] = Abandoned
		}
	}
	// Small parts make profiles straddle them; in one part all is read in a row.
	for _, partRows := range []int{7, 1000, 1 << 20} {
		l := openLake(t)
		m := write(t, l, triplets, asOf, partRows)
		got, err := Load(context.Background(), l, "")
		if err != nil {
			t.Fatal(err)
		}
		if got.Snapshot != m.Snapshot || got.AsOf != asOf.UnixMicro() {
			t.Errorf("loaded %s as of %d", got.Snapshot, got.AsOf)
		}
		got.Snapshot, got.AsOf = want.Snapshot, want.AsOf
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("parts of %d rows: what was loaded is not what was written", partRows)
		}
	}
}

func TestLoadRefusesDamage(t *testing.T) {
	ctx := context.Background()
	l := openLake(t)
	if _, err := Load(ctx, l, ""); !errors.Is(err, snapshot.ErrNotFound) {
		t.Errorf("empty lake: %v", err)
	}
	m := write(t, l, ratings(2, 20, 20, 100), asOf, 30)
	b, err := l.ReadFile(ctx, m.Parts[1].Key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.WriteBytes(ctx, m.Parts[1].Key, b[:len(b)-1]); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(ctx, l, ""); !errors.Is(err, snapshot.ErrCorrupt) || !strings.Contains(err.Error(), m.Parts[1].Key) {
		t.Errorf("part cut short: %v", err)
	}
}

func TestRowsOutOfOrderAreRefused(t *testing.T) {
	yes := []bool{false, false}
	at := snapshottest.Micros{1, 1}
	for _, tc := range []struct {
		name             string
		profiles, titles []string
	}{
		{"profiles", []string{"b", "a"}, []string{"x", "x"}},
		{"titles", []string{"a", "a"}, []string{"y", "x"}},
		{"twice", []string{"a", "a"}, []string{"x", "x"}},
	} {
		l := openLake(t)
		columns := []snapshottest.Column{
			{Name: "profile_id", Values: tc.profiles}, {Name: "title_id", Values: tc.titles}, {Name: "strength", Values: []int32{1, 1}},
			{Name: "first_at", Values: at}, {Name: "last_at", Values: at},
		}
		for _, flag := range []string{"abandoned", "disliked", "liked", "listed"} {
			columns = append(columns, snapshottest.Column{Name: flag, Values: yes})
		}
		snapshottest.Write(t, l, InteractionSet, asOf, "", 100, columns...)
		if _, err := Load(context.Background(), l, ""); !errors.Is(err, snapshot.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", tc.name, err)
		}
	}
}

func TestFromTripletsMergesPairs(t *testing.T) {
	x, err := FromTriplets([]Triplet{{"b", "x", 1, 30}, {"a", "y", 2, 20}, {"b", "x", 0.5, 10}, {"b", "a", 0, 40}})
	if err != nil {
		t.Fatal(err)
	}
	want := &sparse.CSR{Rows: 2, Cols: 3, Indptr: []int64{0, 1, 3}, Indices: []uint32{2, 0, 1}, Values: []float32{2, 0, 1.5}}
	if !reflect.DeepEqual(x.ByProfile, want) {
		t.Errorf("matrix %+v, want %+v", x.ByProfile, want)
	}
	if !slices.Equal(x.FirstAt, []int64{20, 40, 10}) || !slices.Equal(x.LastAt, []int64{20, 40, 30}) || x.AsOf != 40 {
		t.Errorf("times %v to %v, as of %d", x.FirstAt, x.LastAt, x.AsOf)
	}
	if row, ok := x.Titles.Row("x"); !ok || x.Titles.ID(row) != "x" {
		t.Errorf("title x has row %d, %v", row, ok)
	}
	if _, ok := x.Profiles.Row("c"); ok {
		t.Error("profile c has a row")
	}
	if _, err := FromTriplets([]Triplet{{"a", "b", float32(math.NaN()), 0}}); !errors.Is(err, sparse.ErrInvalid) {
		t.Errorf("NaN: %v", err)
	}
}

func TestNewVocabularyWantsOrder(t *testing.T) {
	for _, ids := range [][]string{{"b", "a"}, {"a", "a"}} {
		if _, err := NewVocabulary(ids); err == nil {
			t.Errorf("%v passes", ids)
		}
	}
}

func TestTransposeOnSeveralProcessors(t *testing.T) {
	x, err := FromTriplets(ratings(3, 200, 150, 5000))
	if err != nil {
		t.Fatal(err)
	}
	want := x.ByProfile.Transpose()
	for _, workers := range []int{1, 2, 3, 16, 1000} {
		if got := transpose(x.ByProfile, workers); !reflect.DeepEqual(got, want) {
			t.Errorf("%d workers: not the transpose", workers)
		}
	}
	if got := x.ByTitle(); !reflect.DeepEqual(got, want) {
		t.Error("ByTitle is not the transpose")
	}
	empty := &sparse.CSR{Rows: 0, Cols: 3, Indptr: []int64{0}, Indices: []uint32{}, Values: []float32{}}
	if got := transpose(empty, 4); got.Validate() != nil || got.Rows != 3 {
		t.Errorf("transpose of nothing: %+v", got)
	}
}

func TestSplitGlobalTime(t *testing.T) {
	x, err := FromTriplets(ratings(4, 300, 200, 8000))
	if err != nil {
		t.Fatal(err)
	}
	s, err := SplitGlobalTime(x, 0.9, MinTrain)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Train.Validate(), s.Test.Validate()); err != nil {
		t.Fatal(err)
	}
	// The cut is the 7200th of 8000 times, and ties with it train.
	times := slices.Clone(x.FirstAt)
	slices.Sort(times)
	if s.CutAt != times[7199] || s.Train.Len() < 7200 || s.Train.AsOf != s.CutAt {
		t.Errorf("cut at %d with %d train entries, want %d with at least 7200", s.CutAt, s.Train.Len(), times[7199])
	}
	tests := 0
	for r := range x.ByProfile.Rows {
		measured := slices.Contains(s.Profiles, uint32(r))
		after := 0
		for i := x.ByProfile.Indptr[r]; i < x.ByProfile.Indptr[r+1]; i++ {
			c, late := x.ByProfile.Indices[i], x.FirstAt[i] > s.CutAt
			if late {
				after++
			}
			if s.Train.ByProfile.Has(r, c) == late || s.Test.Has(r, c) != (late && measured) {
				t.Fatalf("pair (%d, %d) at %d, cut %d, is on the wrong side", r, c, x.FirstAt[i], s.CutAt)
			}
		}
		if want := after > 0 && s.Train.ByProfile.RowLen(r) >= MinTrain; measured != want {
			t.Fatalf("profile %d with %d train and %d later entries: measured is %v", r, s.Train.ByProfile.RowLen(r), after, measured)
		}
		tests += s.Test.RowLen(r)
	}
	if len(s.Profiles) == 0 || tests == 0 || !slices.IsSorted(s.Profiles) {
		t.Errorf("%d profiles measured on %d entries", len(s.Profiles), tests)
	}
	for _, q := range []float64{0, 1, math.NaN()} {
		if _, err := SplitGlobalTime(x, q, MinTrain); err == nil {
			t.Errorf("q = %v passes", q)
		}
	}
}

// TestSplitAtEqualsSplitGlobalTime holds for one event a pair, as in MovieLens: a snapshot built as of the cut is then the
// train side of the whole.
func TestSplitAtEqualsSplitGlobalTime(t *testing.T) {
	triplets := ratings(5, 300, 200, 8000)
	whole, err := FromTriplets(triplets)
	if err != nil {
		t.Fatal(err)
	}
	want, err := SplitGlobalTime(whole, 0.9, MinTrain)
	if err != nil {
		t.Fatal(err)
	}
	train, err := FromTriplets(slices.DeleteFunc(slices.Clone(triplets), func(r Triplet) bool { return r.At > want.CutAt }))
	if err != nil {
		t.Fatal(err)
	}
	got, err := SplitAt(whole, train, MinTrain)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("the splits differ")
	}
	if _, err := SplitAt(train, whole, MinTrain); err == nil || !strings.Contains(err.Error(), "after the whole's") {
		t.Errorf("the wrong way round: %v", err)
	}
	other, err := FromTriplets([]Triplet{{"someone else", "synth:1", 1, 1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := SplitAt(whole, other, MinTrain); err == nil || !strings.Contains(err.Error(), "not of one log") {
		t.Errorf("another log: %v", err)
	}
}

func TestPopularity(t *testing.T) {
	week := 7 * 24 * time.Hour
	now := asOf.UnixMicro()
	x, err := FromTriplets([]Triplet{
		{"a", "old", 1, now - 2*week.Microseconds()}, {"b", "old", 1, now - 2*week.Microseconds()}, {"c", "old", 0, now - week.Microseconds()},
		{"a", "new", 1, now}, {"b", "next", 0, now + 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	// Rows: new, next, old.
	if got, want := x.Popularity(), []float32{1, 1, 3}; !slices.Equal(got, want) {
		t.Errorf("popularity %v, want %v", got, want)
	}
	if got, want := x.DecayedPopularity(now, week), []float32{1, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("decayed popularity %v, want %v", got, want)
	}
}

func BenchmarkLoad(b *testing.B) {
	l := openLake(b)
	write(b, l, ratings(6, 20000, 10000, 500000), asOf, 1<<17)
	b.ReportAllocs()
	for b.Loop() {
		x, err := Load(context.Background(), l, "")
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(x.Len()))
		x.ByTitle()
	}
}
