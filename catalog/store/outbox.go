package store

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	catalogv1 "marquee/catalog/v1"
	"marquee/internal/db"
	"marquee/internal/logid"
)

// Outbox returns up to limit titles whose latest revision is not on the topic, by growing revision. A change that a later
// one of the same title has overtaken is not among them: the topic keeps only the latest anyway.
func (s *Store) Outbox(ctx context.Context, limit int) ([]*catalogv1.Title, error) {
	var rows []titleRow
	err := s.db.NewSelect().Model(&rows).Column("title_row.revision", "title_row.deleted", "title_row.content").
		Join("JOIN catalog_outbox AS o ON o.revision = title_row.revision").Order("title_row.revision").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	titles := make([]*catalogv1.Title, len(rows))
	for i := range rows {
		if titles[i], err = rows[i].title(); err != nil {
			return nil, err
		}
	}
	return titles, nil
}

// Acknowledge removes from the outbox all changes up to a revision, after they are on the topic. It fails with
// db.ErrLeaseLost, and removes nothing, when the lease they were published under is no longer held.
func (s *Store) Acknowledge(ctx context.Context, lease *db.Lease, revision int64) error {
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := lease.Check(ctx, tx); err != nil {
			return err
		}
		// In turn with Put and Delete, which remove overtaken rows in another order: two at once could deadlock.
		if _, err := lockRevision(ctx, tx); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model((*outboxRow)(nil)).Where("revision <= ?", revision).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("clear the outbox up to revision %d: %w", revision, err)
	}
	return nil
}

// Pending is how many titles wait in the outbox.
func (s *Store) Pending(ctx context.Context) (int64, error) {
	n, err := s.db.NewSelect().Model((*outboxRow)(nil)).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count the outbox: %w", err)
	}
	return n, nil
}

// AdoptLog makes the topic in another log the one that titles are published to: every title goes into the outbox again, as
// the log has none of them. It returns how many titles wait there then.
func (s *Store) AdoptLog(ctx context.Context, book *logid.Book, log logid.Log) (int64, error) {
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := lockRevision(ctx, tx); err != nil {
			return err
		}
		known, ok, err := book.Entry(ctx, tx, log.Topic)
		if err != nil || ok && known.Log.Same(log) {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO catalog_outbox (revision, title_id) SELECT revision, title_id FROM catalog_titles "+
			"WHERE TRUE ON CONFLICT DO NOTHING")
		if err != nil {
			return err
		}
		return book.Adopt(ctx, tx, logid.Entry{Log: log})
	})
	if err != nil {
		return 0, fmt.Errorf("put every title into the outbox again: %w", err)
	}
	return s.Pending(ctx)
}
