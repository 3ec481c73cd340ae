package features_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"marquee/features"
	"marquee/features/snapshot"
)

// TestRemoveWith: of an early snapshot without the profile, a late one with it and one that cannot be read any more, the first stays.
func TestRemoveWith(t *testing.T) {
	ctx := context.Background()
	w := smallWorld(9)
	b := newBuilder(t, openWarehouse(t))
	insert(t, b.Conn, w.events, 1<<20)
	without, err := b.Build(ctx, features.BuildOptions{AsOf: asOf.AddDate(0, 0, -2), Sets: []string{"interactions", "title_stats"}})
	if err != nil {
		t.Fatal(err)
	}
	w.history("gone", 1_200)
	insert(t, b.Conn, w.events, 1<<20)
	with, err := b.Build(ctx, features.BuildOptions{AsOf: asOf, Sets: []string{"interactions"}})
	if err != nil {
		t.Fatal(err)
	}
	damaged, err := b.Build(ctx, features.BuildOptions{AsOf: asOf.AddDate(0, 0, -1), Sets: []string{"sequences"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lake.WriteBytes(ctx, snapshot.ManifestKey("sequences", damaged.ID), []byte("{")); err != nil {
		t.Fatal(err)
	}

	removed, err := b.RemoveWith(ctx, func(id string) bool { return id == "gone" })
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(removed)
	want := []string{with.ID, damaged.ID}
	slices.Sort(want)
	if !slices.Equal(removed, want) {
		t.Errorf("removed %v, want %v", removed, want)
	}
	for o, err := range b.Lake.List(ctx, snapshot.Root) {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(o.Key, without.ID) {
			t.Errorf("%s is still there", o.Key)
		}
	}
	if left, err := b.List(ctx); err != nil || len(left) != 1 || left[0].ID != without.ID {
		t.Errorf("left: %+v, %v", left, err)
	}
	if again, err := b.RemoveWith(ctx, func(id string) bool { return id == "gone" }); err != nil || len(again) != 0 {
		t.Errorf("again removed %v, %v", again, err)
	}
}
