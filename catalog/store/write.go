package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/uptrace/bun"
	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
)

// rowsAStatement bounds how many rows or values one statement names.
const rowsAStatement = 500

// Outcome is what became of one title of a Put. With conflicts nothing of the title was stored.
type Outcome struct {
	Revision  int64
	Changed   bool
	Conflicts []Conflict
}

// Conflict is a playable that another title has.
type Conflict struct {
	// Field is where the title names the playable, such as seasons[0].episodes[2].playable_id.
	Field string
	// PlayableID is held by the title Owner.
	PlayableID, Owner string
}

// Put creates or replaces titles in one transaction, each with the next revision, in their order; a title equal to the
// stored one is left alone. Revision and deleted of what is given are ignored, and a withdrawn title comes back. The
// titles must satisfy the contract's rules and have different ids. The outcomes are by index. A title that wants a
// playable of another one is refused and the rest goes through.
func (s *Store) Put(ctx context.Context, titles []*catalogv1.Title) ([]Outcome, error) {
	var outcomes []Outcome
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var err error
		outcomes, err = put(ctx, tx, titles)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store %d titles: %w", len(titles), err)
	}
	return outcomes, nil
}

func put(ctx context.Context, tx bun.Tx, titles []*catalogv1.Title) ([]Outcome, error) {
	revision, err := lockRevision(ctx, tx)
	if err != nil {
		return nil, err
	}
	stored, err := readTitles(ctx, tx, titles)
	if err != nil {
		return nil, err
	}
	conflicts, err := findConflicts(ctx, tx, titles)
	if err != nil {
		return nil, err
	}
	outcomes := make([]Outcome, len(titles))
	var changed []*catalogv1.Title
	for i, t := range titles {
		if len(conflicts[i]) > 0 {
			outcomes[i].Conflicts = conflicts[i]
			continue
		}
		t = proto.CloneOf(t)
		t.Revision, t.Deleted = 0, false
		if old := stored[t.GetTitleId()]; old != nil && !old.GetDeleted() {
			outcomes[i].Revision = old.GetRevision()
			old.Revision = 0
			if proto.Equal(old, t) {
				continue
			}
		}
		revision++
		t.Revision = revision
		outcomes[i].Revision, outcomes[i].Changed = revision, true
		changed = append(changed, t)
	}
	if len(changed) == 0 {
		return outcomes, nil
	}
	return outcomes, errors.Join(writeTitles(ctx, tx, changed), setRevision(ctx, tx, revision))
}

// Delete withdraws a title: it stays with a new revision, and what it played is free for others. It returns the title's
// revision, the old one when it was withdrawn before, or ErrNotFound.
func (s *Store) Delete(ctx context.Context, titleID string) (revision int64, err error) {
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		last, err := lockRevision(ctx, tx)
		if err != nil {
			return err
		}
		var row titleRow
		err = tx.NewSelect().Model(&row).Column("revision", "deleted").Where("title_id = ?", titleID).Scan(ctx)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil || row.Deleted {
			revision = row.Revision
			return err
		}
		revision = last + 1
		return errors.Join(withdraw(ctx, tx, titleID, revision), setRevision(ctx, tx, revision))
	})
	if err != nil {
		return 0, fmt.Errorf("delete title %q: %w", titleID, err)
	}
	return revision, nil
}

func withdraw(ctx context.Context, tx bun.Tx, titleID string, revision int64) error {
	if err := clearTitles(ctx, tx, []string{titleID}); err != nil {
		return err
	}
	_, err := tx.NewUpdate().Model((*titleRow)(nil)).Set("deleted = ?", true).Set("revision = ?", revision).
		Where("title_id = ?", titleID).Exec(ctx)
	if err != nil {
		return err
	}
	_, err = tx.NewInsert().Model(&outboxRow{Revision: revision, TitleID: titleID}).Exec(ctx)
	return err
}

// lockRevision makes writers take turns, so that revisions become visible in their order, and returns the last one.
func lockRevision(ctx context.Context, tx bun.Tx) (revision int64, err error) {
	err = tx.QueryRowContext(ctx, "UPDATE catalog_revision SET revision = revision RETURNING revision").Scan(&revision)
	return revision, err
}

func setRevision(ctx context.Context, tx bun.Tx, revision int64) error {
	_, err := tx.ExecContext(ctx, "UPDATE catalog_revision SET revision = ?", revision)
	return err
}

// readTitles returns the stored titles of the same ids.
func readTitles(ctx context.Context, tx bun.Tx, titles []*catalogv1.Title) (map[string]*catalogv1.Title, error) {
	stored := make(map[string]*catalogv1.Title, len(titles))
	for ids := range slices.Chunk(titleIDs(titles), rowsAStatement) {
		var rows []titleRow
		err := tx.NewSelect().Model(&rows).Column("title_id", "revision", "deleted", "content").Where("title_id IN (?)", bun.List(ids)).Scan(ctx)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			if stored[rows[i].TitleID], err = rows[i].title(); err != nil {
				return nil, err
			}
		}
	}
	return stored, nil
}

// clearTitles removes all that hangs on titles, and what the outbox has of them: the change in hand supersedes it.
func clearTitles(ctx context.Context, tx bun.Tx, ids []string) error {
	for some := range slices.Chunk(ids, rowsAStatement) {
		for _, model := range []any{(*genreRow)(nil), (*personRow)(nil), (*windowRow)(nil), (*playableRow)(nil), (*outboxRow)(nil)} {
			if _, err := tx.NewDelete().Model(model).Where("title_id IN (?)", bun.List(some)).Exec(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeTitles stores changed titles with their revisions and puts them into the outbox.
func writeTitles(ctx context.Context, tx bun.Tx, titles []*catalogv1.Title) error {
	if err := clearTitles(ctx, tx, titleIDs(titles)); err != nil {
		return err
	}
	var rows rows
	for _, t := range titles {
		if err := rows.add(t); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(rows.titles, rowsAStatement) {
		insert := tx.NewInsert().Model(&some).On("CONFLICT (title_id) DO UPDATE")
		for _, column := range []string{"kind", "name", "description", "year", "added_at", "maturity_age", "runtime_ms", "language", "revision", "deleted", "content"} {
			insert = insert.Set("? = EXCLUDED.?", bun.Ident(column), bun.Ident(column))
		}
		if _, err := insert.Exec(ctx); err != nil {
			return err
		}
	}
	return errors.Join(
		insertAll(ctx, tx, rows.genres),
		insertAll(ctx, tx, rows.people),
		insertAll(ctx, tx, rows.windows),
		insertAll(ctx, tx, rows.playables),
		insertAll(ctx, tx, rows.outbox),
	)
}

func insertAll[R any](ctx context.Context, tx bun.Tx, all []R) error {
	for some := range slices.Chunk(all, rowsAStatement) {
		if _, err := tx.NewInsert().Model(&some).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// rows are what titles are stored as.
type rows struct {
	titles    []titleRow
	genres    []genreRow
	people    []personRow
	windows   []windowRow
	playables []playableRow
	outbox    []outboxRow
}

func (r *rows) add(t *catalogv1.Title) error {
	id, revision := t.GetTitleId(), t.GetRevision()
	t.Revision = 0
	content, err := proto.Marshal(t)
	if err != nil {
		return fmt.Errorf("write title %q: %w", id, err)
	}
	r.titles = append(r.titles, titleRow{
		TitleID: id, Kind: t.GetKind(), Name: t.GetName(), Description: t.GetDescription(), Year: t.GetYear(),
		AddedAt: t.GetAddedAt(), MaturityAge: t.MaturityAge, RuntimeMS: t.GetRuntimeMs(), Language: t.GetLanguage(),
		Revision: revision, Content: content,
	})
	for i, g := range t.GetGenres() {
		r.genres = append(r.genres, genreRow{TitleID: id, Position: i, Genre: g})
	}
	for i, p := range t.GetPeople() {
		r.people = append(r.people, personRow{TitleID: id, Position: i, Name: p.GetName(), Role: p.GetRole()})
	}
	position := 0
	for _, w := range t.GetAvailability() {
		countries := w.GetCountries()
		if len(countries) == 0 {
			countries = []string{""}
		}
		for _, c := range countries {
			r.windows = append(r.windows, windowRow{TitleID: id, Position: position, Country: c, FromAt: w.GetFrom(), UntilAt: w.GetUntil()})
			position++
		}
	}
	for _, p := range playables(t) {
		r.playables = append(r.playables, p.row)
	}
	r.outbox = append(r.outbox, outboxRow{Revision: revision, TitleID: id})
	return nil
}

func titleIDs(titles []*catalogv1.Title) []string {
	ids := make([]string, len(titles))
	for i, t := range titles {
		ids[i] = t.GetTitleId()
	}
	return ids
}
