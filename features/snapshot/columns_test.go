package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"marquee/features/snapshot"
	"marquee/features/snapshot/snapshottest"
	"marquee/internal/lake"
)

var asOf = time.Date(2003, 2, 28, 17, 49, 50, 123456000, time.UTC)

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

// everyType makes n rows of random values of every column type.
func everyType(n int) []snapshottest.Column {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	var (
		s  []string
		b  []bool
		i4 []int32
		i8 []int64
		u4 []uint32
		u8 []uint64
		at snapshottest.Micros
		ls [][]string
		li [][]int32
		lt snapshottest.MicrosLists
	)
	for r := range n {
		s = append(s, fmt.Sprintf("täg-%d", rng.IntN(n/3+1)))
		b = append(b, rng.IntN(2) == 0)
		i4, i8 = append(i4, int32(rng.Uint32())), append(i8, int64(rng.Uint64()))
		u4, u8 = append(u4, rng.Uint32()), append(u8, rng.Uint64())
		at = append(at, asOf.UnixMicro()-int64(r))
		words, numbers, times := []string{}, []int32{}, []int64{}
		for range rng.IntN(4) {
			words = append(words, strings.Repeat("x", rng.IntN(3)))
			numbers = append(numbers, rng.Int32())
			times = append(times, rng.Int64N(1e15))
		}
		ls, li, lt = append(ls, words), append(li, numbers), append(lt, times)
	}
	return []snapshottest.Column{
		{Name: "s", Values: s}, {Name: "b", Values: b}, {Name: "i4", Values: i4}, {Name: "i8", Values: i8}, {Name: "u4", Values: u4},
		{Name: "u8", Values: u8}, {Name: "at", Values: at}, {Name: "ls", Values: ls}, {Name: "li", Values: li}, {Name: "lt", Values: lt},
	}
}

func TestReadPartGivesBackWhatWasWritten(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct{ rows, partRows int }{{1, 1}, {100, 1000}, {1000, 300}, {5000, 5000}} {
		l := openLake(t)
		columns := everyType(tc.rows)
		snapshottest.Write(t, l, "every_type", asOf, "", tc.partRows, columns...)
		set, err := snapshot.Open(ctx, l, "every_type", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(set.Verify(ctx), set.Present(ctx)); err != nil {
			t.Fatal(err)
		}
		from := 0
		for i, p := range set.Parts {
			part, err := set.ReadPart(ctx, i)
			if err != nil {
				t.Fatal(err)
			}
			to := from + int(p.Rows)
			for _, c := range columns {
				compare(t, part, c, from, to)
			}
			from = to
		}
		if from != tc.rows {
			t.Errorf("parts add up to %d rows, want %d", from, tc.rows)
		}
	}
}

// compare checks rows [from, to) of a column against what was read of them.
func compare(t *testing.T, part *snapshot.Columns, c snapshottest.Column, from, to int) {
	t.Helper()
	var got any
	var err error
	switch c.Values.(type) {
	case []string:
		var d *snapshot.Dict
		if d, err = part.Strings(c.Name); err == nil {
			words := make([]string, len(d.IDs))
			for r := range words {
				words[r] = d.At(r)
			}
			got = words
		}
	case []bool:
		got, err = part.Bools(c.Name)
	case []int32:
		got, err = part.Int32s(c.Name)
	case []int64:
		got, err = part.Int64s(c.Name)
	case []uint32:
		got, err = part.Uint32s(c.Name)
	case []uint64:
		got, err = part.Uint64s(c.Name)
	case snapshottest.Micros:
		var micros []int64
		micros, err = part.Int64s(c.Name)
		got = snapshottest.Micros(micros)
	case [][]string:
		got, err = lists(part.StringLists(c.Name))
	case [][]int32:
		got, err = lists(part.Int32Lists(c.Name))
	case snapshottest.MicrosLists:
		var micros [][]int64
		micros, err = lists(part.Int64Lists(c.Name))
		got = snapshottest.MicrosLists(micros)
	}
	if err != nil {
		t.Fatal(err)
	}
	if want := reflect.ValueOf(c.Values).Slice(from, to).Interface(); !reflect.DeepEqual(got, want) {
		t.Fatalf("column %s rows %d to %d are not what was written", c.Name, from, to)
	}
}

func lists[T any](l *snapshot.Lists[T], err error) ([][]T, error) {
	if err != nil {
		return nil, err
	}
	out := make([][]T, len(l.Offsets)-1)
	for r := range out {
		out[r] = append([]T{}, l.At(r)...)
	}
	return out, nil
}

func TestReadPartSaysWhatIsWrong(t *testing.T) {
	ctx := context.Background()
	l := openLake(t)
	snapshottest.Write(t, l, "every_type", asOf, "", 1000, everyType(1000)...)
	set, err := snapshot.Open(ctx, l, "every_type", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.ReadPart(ctx, 1); err == nil || !strings.Contains(err.Error(), "there is no part 1") {
		t.Errorf("part out of range: %v", err)
	}
	if _, err := set.ReadPart(ctx, 0, "nothing"); err == nil || !strings.Contains(err.Error(), "no column nothing") {
		t.Errorf("unknown column: %v", err)
	}
	part, err := set.ReadPart(ctx, 0, "i4")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Int64s("i4"); err == nil || !strings.Contains(err.Error(), "read as []int32") {
		t.Errorf("wrong type: %v", err)
	}
	if _, err := part.Bools("b"); err == nil || !strings.Contains(err.Error(), "was not read") {
		t.Errorf("column not asked for: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := set.ReadPart(cancelled, 0, "i4"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestDamagedPartIsAnError cuts a part short at, and flips a byte in, many places. Reading may succeed only with Verify
// failing; it must never panic or give other rows than the manifest says.
func TestDamagedPartIsAnError(t *testing.T) {
	ctx := context.Background()
	l := openLake(t)
	m := snapshottest.Write(t, l, "every_type", asOf, "", 200, everyType(200)...)
	key := m.Parts[0].Key
	good, err := l.ReadFile(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	set, err := snapshot.Open(ctx, l, "every_type", "")
	if err != nil {
		t.Fatal(err)
	}
	put := func(content []byte) {
		if _, err := l.WriteBytes(ctx, key, content); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		put(good[:rng.IntN(len(good))])
		if _, err := set.ReadPart(ctx, 0); !errors.Is(err, snapshot.ErrCorrupt) {
			t.Fatalf("cut short: %v", err)
		}
		if err := set.Present(ctx); !errors.Is(err, snapshot.ErrCorrupt) {
			t.Fatalf("Present of a part cut short: %v", err)
		}
	}
	for range 150 {
		bad := bytes.Clone(good)
		bad[rng.IntN(len(bad))] ^= byte(1 + rng.IntN(255))
		put(bad)
		if err := set.Verify(ctx); !errors.Is(err, snapshot.ErrCorrupt) || !strings.Contains(err.Error(), key) {
			t.Fatalf("Verify of a flipped byte: %v", err)
		}
		if c, err := set.ReadPart(ctx, 0); err == nil && c.Rows != 200 {
			t.Fatalf("a flipped byte gives %d rows", c.Rows)
		}
	}
	if err := l.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	if _, err := set.ReadPart(ctx, 0); !errors.Is(err, snapshot.ErrCorrupt) {
		t.Errorf("missing part: %v", err)
	}
	if err := set.Present(ctx); !errors.Is(err, snapshot.ErrCorrupt) {
		t.Errorf("Present of a missing part: %v", err)
	}
}
