package store

import (
	"math/rand/v2"
	"slices"
	"testing"

	catalogv1 "marquee/catalog/v1"
)

func TestResolve(t *testing.T) {
	tests := []struct {
		name    string
		titles  []*catalogv1.Title
		owners  map[string]string
		refused []string
	}{
		{"nothing owned", []*catalogv1.Title{series("a", "1"), series("b", "2")}, nil, nil},
		{"two want one", []*catalogv1.Title{series("a", "1"), series("b", "1")}, nil, []string{"b"}},
		{"the owner keeps it, though it comes second", []*catalogv1.Title{series("b", "1"), series("a", "1")}, map[string]string{"1": "a"}, []string{"b"}},
		{"the owner lets go", []*catalogv1.Title{series("b", "1"), series("a", "2")}, map[string]string{"1": "a"}, nil},
		{"the owner would let go but is refused", []*catalogv1.Title{series("b", "1"), series("a", "9")}, map[string]string{"1": "a", "9": "z"}, []string{"b", "a"}},
		{"a chain falls", []*catalogv1.Title{series("c", "2"), series("b", "1"), series("a", "9")}, map[string]string{"1": "a", "2": "b", "9": "z"}, []string{"c", "b", "a"}},
		{"a swap", []*catalogv1.Title{series("a", "2"), series("b", "1")}, map[string]string{"1": "a", "2": "b"}, nil},
		{"twice in one title", []*catalogv1.Title{series("a", "1", "1")}, nil, []string{"a"}},
		{"a refused title holds nothing back", []*catalogv1.Title{series("a", "1", "9"), series("b", "1")}, map[string]string{"9": "z"}, []string{"a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wants := make([][]playable, len(tt.titles))
			for i, title := range tt.titles {
				wants[i] = playables(title)
			}
			var refused []string
			for i, c := range resolve(wants, titleIDs(tt.titles), tt.owners) {
				if len(c) > 0 {
					refused = append(refused, tt.titles[i].GetTitleId())
				}
			}
			if !slices.Equal(refused, tt.refused) {
				t.Errorf("refused %q, want %q", refused, tt.refused)
			}
		})
	}
}

// TestResolveNeverGivesOneToTwo tries random wishes against random owners: what goes through must be consistent.
func TestResolveNeverGivesOneToTwo(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(letters string) string { i := random.IntN(len(letters)); return letters[i : i+1] }
	for range 5000 {
		owners := map[string]string{}
		for _, p := range []string{"1", "2", "3", "4"} {
			if random.IntN(2) == 0 {
				owners[p] = pick("abcde")
			}
		}
		var titles []*catalogv1.Title
		for _, id := range []string{"a", "b", "c", "d"} {
			if random.IntN(4) > 0 {
				titles = append(titles, series(id, pick("1234"), pick("1234")))
			}
		}
		wants := make([][]playable, len(titles))
		for i, title := range titles {
			wants[i] = playables(title)
		}
		final := map[string]string{}
		conflicts := resolve(wants, titleIDs(titles), owners)
		through := map[string]bool{}
		for i, c := range conflicts {
			through[titles[i].GetTitleId()] = len(c) == 0
		}
		for p, owner := range owners {
			if !through[owner] {
				final[p] = owner
			}
		}
		for i, c := range conflicts {
			if len(c) > 0 {
				continue
			}
			for _, w := range wants[i] {
				if holder, taken := final[w.row.PlayableID]; taken {
					t.Fatalf("%q given to %s and %s: %v, owners %v", w.row.PlayableID, holder, w.row.TitleID, wants, owners)
				}
				final[w.row.PlayableID] = w.row.TitleID
			}
		}
	}
}
