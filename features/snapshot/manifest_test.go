package snapshot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"marquee/features/snapshot"
	"marquee/features/snapshot/snapshottest"
)

func goodManifest(t testing.TB) []byte {
	t.Helper()
	m := snapshottest.Write(t, openLake(t), "interactions", asOf, "", 2, snapshottest.Column{Name: "profile_id", Values: []string{"a", "b", "c"}})
	m.Input = snapshot.Input{Events: 7, Partitions: []snapshot.Range{{Partition: 0, Last: 4, Events: 5}, {Partition: 3, First: 2, Last: 9, Events: 2}}}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	good := goodManifest(t)
	if _, err := snapshot.Decode(good); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, old, new, want string
	}{
		{"format", `"format": 1`, `"format": 2`, "manifest format 2, this release reads format 1"},
		{"set", `"set": "interactions"`, `"set": "../x"`, "set name"},
		{"id", `"snapshot": "2003`, `"snapshot": "203`, "snapshot id"},
		{"as_of", `"as_of": "2003`, `"as_of": "2004`, "is not that of snapshot"},
		{"as_of type", `"as_of": "2003`, `"as_of": "x`, "not JSON as expected"},
		{"part key", `part-00001`, `part-00007`, "part 1 is at"},
		{"rows", `"row_count": 3`, `"row_count": 4`, "the parts add up to 3"},
		{"too many rows", `"row_count": 3`, `"row_count": 2`, "part 1 has 1 rows, of 2"},
		{"events", `"events": 7`, `"events": 8`, "partitions add up to 7"},
		{"partition", `"partition": 3`, `"partition": 0`, "out of order"},
		{"offsets", `"first": 2`, `"first": 22`, "runs from offset 22 to 9"},
		{"type", `"type": "string"`, `"type": "float64"`, `unknown type "float64"`},
		{"after the end", "\n}\n", "\n}\n{}", "goes on after its end"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			bad := bytes.Replace(good, []byte(tc.old), []byte(tc.new), 1)
			if bytes.Equal(bad, good) {
				t.Fatalf("%s does not occur in\n%s", tc.old, good)
			}
			_, err := snapshot.Decode(bad)
			if !errors.Is(err, snapshot.ErrCorrupt) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want ErrCorrupt saying %q", err, tc.want)
			}
		})
	}
	for n := range len(good) - 2 {
		if _, err := snapshot.Decode(good[:n]); !errors.Is(err, snapshot.ErrCorrupt) {
			t.Fatalf("cut off after %d bytes: %v", n, err)
		}
	}
}

// TestAFlippedBitOfAManifestIsFound flips every bit there is.
func TestAFlippedBitOfAManifestIsFound(t *testing.T) {
	good := goodManifest(t)
	for at := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << bit
			if _, err := snapshot.Decode(bad); !errors.Is(err, snapshot.ErrCorrupt) {
				t.Fatalf("bit %d of byte %d (%q) flipped: %v", bit, at, good[at], err)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	good := goodManifest(f)
	f.Add(good)
	f.Add([]byte(`{"format":1}`))
	f.Add(bytes.Replace(good, []byte(`"rows": 2`), []byte(`"rows": 9223372036854775807`), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := snapshot.Decode(b)
		if err != nil {
			if !errors.Is(err, snapshot.ErrCorrupt) {
				t.Fatalf("error does not wrap ErrCorrupt: %v", err)
			}
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("a manifest that was read cannot be written: %v", err)
		}
		second, err := snapshot.Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		x, errX := json.Marshal(m)
		y, errY := json.Marshal(second)
		if errors.Join(errX, errY) != nil || !bytes.Equal(x, y) {
			t.Fatalf("%s became %s", x, y)
		}
	})
}

func TestStore(t *testing.T) {
	ctx := context.Background()
	l := openLake(t)
	column := snapshottest.Column{Name: "n", Values: []int64{1}}
	if _, err := snapshot.Open(ctx, l, "interactions", ""); !errors.Is(err, snapshot.ErrNotFound) {
		t.Errorf("empty lake: %v", err)
	}
	older := snapshottest.Write(t, l, "interactions", asOf.Add(-time.Hour), "a", 10, column)
	snapshottest.Write(t, l, "sequences", asOf.Add(-time.Hour), "a", 10, column)
	newer := snapshottest.Write(t, l, "interactions", asOf, "b", 10, column)
	all, err := snapshot.List(ctx, l)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].ID != newer.Snapshot || all[1].ID != older.Snapshot || !all[1].Has("interactions", "sequences") {
		t.Errorf("listed %+v", all)
	}
	for _, tc := range []struct {
		set, id, want string
	}{
		{"interactions", "", newer.Snapshot}, {"interactions", older.Snapshot, older.Snapshot}, {"sequences", "", older.Snapshot},
	} {
		s, err := snapshot.Open(ctx, l, tc.set, tc.id)
		if err != nil {
			t.Fatal(err)
		}
		if s.Snapshot != tc.want {
			t.Errorf("%s %q opened %s, want %s", tc.set, tc.id, s.Snapshot, tc.want)
		}
	}
	if got, err := snapshot.Newest(ctx, l, "interactions", "sequences"); err != nil || got.ID != older.Snapshot {
		t.Errorf("newest with both sets: %v, %v", got, err)
	}
	if _, err := snapshot.Get(ctx, l, newer.Snapshot); err != nil {
		t.Error(err)
	}
	for _, err := range []error{
		second(snapshot.Open(ctx, l, "sequences", newer.Snapshot)), second(snapshot.Newest(ctx, l, "title_stats")),
		second(snapshot.Get(ctx, l, snapshot.ID(asOf, []byte("012345")))),
	} {
		if !errors.Is(err, snapshot.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	}
	for _, err := range []error{second(snapshot.Open(ctx, l, "../x", "")), second(snapshot.Open(ctx, l, "sequences", "../x"))} {
		if err == nil || errors.Is(err, snapshot.ErrNotFound) {
			t.Errorf("got %v, want an error about the name", err)
		}
	}
	// A manifest moved to where another belongs is not taken for it.
	b, err := l.ReadFile(ctx, snapshot.ManifestKey("interactions", older.Snapshot))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.WriteBytes(ctx, snapshot.ManifestKey("interactions", newer.Snapshot), b); err != nil {
		t.Fatal(err)
	}
	if all, err = snapshot.List(ctx, l); err != nil || len(all) != 2 || all[0].Damaged["interactions"].Err == nil || len(all[1].Damaged) > 0 {
		t.Errorf("with a moved manifest, listed %+v, %v", all, err)
	}
	if _, err := snapshot.Newest(ctx, l, "interactions"); !errors.Is(err, snapshot.ErrCorrupt) || !strings.Contains(err.Error(), "marquee features build --as-of") {
		t.Errorf("moved manifest: %v", err)
	}
	if got, err := snapshot.Newest(ctx, l, "sequences"); err != nil || got.ID != older.Snapshot {
		t.Errorf("a set that is whole: %v, %v", got, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestID(t *testing.T) {
	id := snapshot.ID(asOf, []byte{0, 1, 2, 3, 4, 255, 9})
	if want := "20030228T174950.123456Z-0001020304ff"; id != want {
		t.Fatalf("id %s, want %s", id, want)
	}
	if got, err := snapshot.ParseID(id); err != nil || !got.Equal(asOf) {
		t.Errorf("parsed %v, %v", got, err)
	}
	for _, bad := range []string{"", "x", id + "0", strings.ToUpper(id), strings.Replace(id, "0228", "0230", 1), strings.Replace(id, "-", "/", 1)} {
		if _, err := snapshot.ParseID(bad); err == nil {
			t.Errorf("%q passes for an id", bad)
		}
	}
}
