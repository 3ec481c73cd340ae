package model

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"marquee/training/model/content"
)

// described gives a release a catalogue: its titles and two that nobody watched.
func described(t testing.TB, r Release) Release {
	t.Helper()
	var titles []content.Title
	for i, id := range append(slices.Clone(r.TitleIDs), "cold:1", "cold:2") {
		titles = append(titles, content.Title{ID: id, Name: "Night train", Genres: []string{[]string{"Drama", "Crime", "Comedy"}[i%3]}, Year: 1980 + i, Maturity: -1})
	}
	m, err := content.Build(titles, content.DefaultWeights())
	if err != nil {
		t.Fatal(err)
	}
	r.Content = m
	return r
}

func TestContentIsWrittenAndRead(t *testing.T) {
	r := described(t, release(20, 8, 3))
	dir, m := written(t, r)
	if m.Described != 22 || m.Terms != len(r.Content.Table().Terms) {
		t.Errorf("%d titles described by %d terms", m.Described, m.Terms)
	}
	c := opened(t, dir).Content()
	if c == nil || c.Len() != 22 {
		t.Fatal("the content was not read back")
	}
	row, ok := c.Row("cold:2")
	if !ok {
		t.Fatal("a title nobody watched is missing")
	}
	want := r.Content.Vector(row)
	if got := c.Vector(row); !slices.Equal(got.Terms, want.Terms) || !slices.Equal(got.Weights, want.Weights) {
		t.Errorf("vector %v, want %v", got, want)
	}
	fresh := content.Title{ID: "new", Name: "Night", Genres: []string{"Crime"}, Year: 1990, Maturity: -1}
	if got, want := c.Encode(fresh), r.Content.Encode(fresh); !slices.Equal(got.Weights, want.Weights) || len(got.Weights) == 0 {
		t.Errorf("a title that came later is %v, want %v", got, want)
	}
	if b := opened(t, folderOf(written(t, release(20, 8, 3)))); b.Content() != nil {
		t.Error("a release without a catalogue has content")
	}
}

func folderOf(dir string, _ Manifest) string { return dir }

// TestContentIsPartOfTheName: another catalogue gives other answers, so it is another release.
func TestContentIsPartOfTheName(t *testing.T) {
	_, plain := written(t, release(20, 8, 3))
	_, one := written(t, described(t, release(20, 8, 3)))
	_, again := written(t, described(t, release(20, 8, 3)))
	if one.ID != again.ID || one.ID == plain.ID {
		t.Errorf("%s, %s again, %s without a catalogue", one.ID, again.ID, plain.ID)
	}
}

func TestContentThatIsNotWhatTheManifestSays(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m map[string]any)
		want   string
	}{
		"one file": {func(m map[string]any) { delete(m["files"].(map[string]any), TermsFile) }, "both or none"},
		"counts":   {func(m map[string]any) { m["described"] = 21 }, "22 rows, want 21"},
		"terms":    {func(m map[string]any) { m["terms"] = 1 }, "rows, want 1"},
		"none":     {func(m map[string]any) { delete(m, "described") }, "both or none"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := written(t, described(t, release(20, 8, 8)))
			path := filepath.Join(dir, ManifestFile)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var m map[string]any
			if err := json.Unmarshal(data, &m); err != nil {
				t.Fatal(err)
			}
			c.change(m)
			if data, err = json.Marshal(m); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want one that says %q", err, c.want)
			}
		})
	}
	r := described(t, release(20, 8, 8))
	r.Content.Table().Weight[0] = 9
	dir, _, err := Write(context.Background(), t.TempDir(), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a weight of 9: %v", err)
	}
}
