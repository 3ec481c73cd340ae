package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	catalogv1 "marquee/catalog/v1"
)

// playable is one thing a title plays, and the title's field that names it.
type playable struct {
	row   playableRow
	field string
}

// playables lists what a title plays: a film itself, a series its episodes.
func playables(t *catalogv1.Title) []playable {
	if t.GetKind() == catalogv1.TitleKind_TITLE_KIND_FILM {
		return []playable{{
			row:   playableRow{PlayableID: t.GetTitleId(), TitleID: t.GetTitleId(), Name: t.GetName(), RuntimeMS: t.GetRuntimeMs()},
			field: "title_id",
		}}
	}
	var out []playable
	for i, s := range t.GetSeasons() {
		for j, e := range s.GetEpisodes() {
			out = append(out, playable{
				row: playableRow{
					PlayableID: e.GetPlayableId(), TitleID: t.GetTitleId(), Season: s.GetNumber(), Episode: e.GetNumber(),
					Name: e.GetName(), RuntimeMS: e.GetRuntimeMs(),
				},
				field: fmt.Sprintf("seasons[%d].episodes[%d].playable_id", i, j),
			})
		}
	}
	return out
}

// findConflicts returns, by index, which playables of the titles belong to others.
func findConflicts(ctx context.Context, tx bun.Tx, titles []*catalogv1.Title) ([][]Conflict, error) {
	wants := make([][]playable, len(titles))
	var ids []string
	for i, t := range titles {
		wants[i] = playables(t)
		for _, w := range wants[i] {
			ids = append(ids, w.row.PlayableID)
		}
	}
	owners := make(map[string]string, len(ids))
	for some := range slices.Chunk(ids, rowsAStatement) {
		var rows []playableRow
		err := tx.NewSelect().Model(&rows).Column("playable_id", "title_id").Where("playable_id IN (?)", bun.List(some)).Scan(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			owners[r.PlayableID] = r.TitleID
		}
	}
	return resolve(wants, titleIDs(titles), owners), nil
}

// resolve decides who gets what, whatever the order of the titles. A playable stays with the title that has it, unless
// that title is replaced here by a version without it; then the first that wants it gets it. Refusing one title may take
// from another what it was going to let go, so it goes round until nothing more is refused.
func resolve(wants [][]playable, ids []string, owners map[string]string) [][]Conflict {
	conflicts := make([][]Conflict, len(ids))
	// replaced holds, of every title that goes through, what it will play.
	replaced := make(map[string]map[string]bool, len(ids))
	for i, id := range ids {
		replaced[id] = make(map[string]bool, len(wants[i]))
		for _, w := range wants[i] {
			replaced[id][w.row.PlayableID] = true
		}
	}
	for again := true; again; {
		again = false
		claimed := make(map[string]string)
		for i, id := range ids {
			if len(conflicts[i]) > 0 {
				continue
			}
			if conflicts[i] = refuse(wants[i], id, owners, replaced, claimed); len(conflicts[i]) > 0 {
				delete(replaced, id)
				again = true
				continue
			}
			for _, w := range wants[i] {
				claimed[w.row.PlayableID] = id
			}
		}
	}
	return conflicts
}

// refuse returns what a title wants and cannot have.
func refuse(wants []playable, id string, owners map[string]string, replaced map[string]map[string]bool, claimed map[string]string) (out []Conflict) {
	own := make(map[string]bool, len(wants))
	for _, w := range wants {
		playableID := w.row.PlayableID
		holder, taken := claimed[playableID]
		if owner := owners[playableID]; owner != "" && owner != id {
			if keeps, through := replaced[owner]; !through || keeps[playableID] {
				holder, taken = owner, true
			}
		}
		if own[playableID] {
			holder, taken = id, true
		}
		if taken {
			out = append(out, Conflict{Field: w.field, PlayableID: playableID, Owner: holder})
		}
		own[playableID] = true
	}
	return out
}
