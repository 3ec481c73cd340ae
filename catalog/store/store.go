// Package store keeps the catalogue in the SQL database: titles with a revision over the whole catalogue, what can be
// played, and the outbox of changes that are not yet on the topic.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/uptrace/bun"
	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
	"marquee/internal/db"
)

//go:embed migrations
var migrations embed.FS

// ErrNotFound says that the catalogue never had what was asked for.
var ErrNotFound = errors.New("not in the catalogue")

// Store is the catalogue's tables. Safe for concurrent use, also by several processes.
type Store struct {
	db *db.DB
}

// Open brings the catalogue's tables up to date.
func Open(ctx context.Context, d *db.DB) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := d.Migrate(ctx, "catalog", files); err != nil {
		return nil, err
	}
	return &Store{db: d}, nil
}

// Get returns a title, a withdrawn one with deleted set, or ErrNotFound.
func (s *Store) Get(ctx context.Context, titleID string) (*catalogv1.Title, error) {
	var row titleRow
	err := s.db.NewSelect().Model(&row).Column("revision", "deleted", "content").Where("title_id = ?", titleID).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("title %q: %w", titleID, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read title %q: %w", titleID, err)
	}
	return row.title()
}

// List returns up to limit titles that are not withdrawn and whose ids come after the given one, by ascending bytes of
// the id, and whether there are more. It stops early, but never before the first, when the titles together exceed
// maxBytes.
func (s *Store) List(ctx context.Context, after string, limit, maxBytes int) (titles []*catalogv1.Title, more bool, err error) {
	rows, err := s.db.NewSelect().Model((*titleRow)(nil)).Column("revision", "deleted", "content").
		Where("title_id > ?", after).Where("deleted = ?", false).Order("title_id").Limit(int64(limit) + 1).Rows(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("list titles: %w", err)
	}
	defer rows.Close()
	bytes := 0
	for rows.Next() {
		var row titleRow
		if err := rows.Scan(&row.Revision, &row.Deleted, &row.Content); err != nil {
			return nil, false, fmt.Errorf("list titles: %w", err)
		}
		bytes += len(row.Content)
		if len(titles) == limit || len(titles) > 0 && bytes > maxBytes {
			return titles, true, nil
		}
		t, err := row.title()
		if err != nil {
			return nil, false, err
		}
		titles = append(titles, t)
	}
	if err := rows.Err(); err != nil {
		return nil, false, fmt.Errorf("list titles: %w", err)
	}
	return titles, false, nil
}

// TitleOf returns the id of the title that a playable belongs to, or ErrNotFound.
func (s *Store) TitleOf(ctx context.Context, playableID string) (string, error) {
	var titleID string
	err := s.db.NewSelect().Model((*playableRow)(nil)).Column("title_id").Where("playable_id = ?", playableID).Scan(ctx, &titleID)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("playable %q: %w", playableID, ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("look up playable %q: %w", playableID, err)
	}
	return titleID, nil
}

// Revision is the last revision given out; 0 for a catalogue that never changed.
func (s *Store) Revision(ctx context.Context) (revision int64, err error) {
	err = s.db.NewSelect().Table("catalog_revision").Column("revision").Scan(ctx, &revision)
	if err != nil {
		return 0, fmt.Errorf("read the catalogue's revision: %w", err)
	}
	return revision, nil
}

// titleRow is a title with its columns to query by. Content is the Title without revision and deleted.
type titleRow struct {
	bun.BaseModel `bun:"table:catalog_titles"`
	TitleID       string              `bun:"title_id,pk"`
	Kind          catalogv1.TitleKind `bun:"kind"`
	Name          string              `bun:"name"`
	Description   string              `bun:"description"`
	Year          int32               `bun:"year"`
	AddedAt       int64               `bun:"added_at"`
	MaturityAge   *uint32             `bun:"maturity_age"`
	RuntimeMS     int64               `bun:"runtime_ms"`
	Language      string              `bun:"language"`
	Revision      int64               `bun:"revision"`
	Deleted       bool                `bun:"deleted"`
	Content       []byte              `bun:"content"`
}

// title restores the Title.
func (r *titleRow) title() (*catalogv1.Title, error) {
	t := new(catalogv1.Title)
	if err := proto.Unmarshal(r.Content, t); err != nil {
		return nil, fmt.Errorf("stored title of revision %d cannot be read: %w", r.Revision, err)
	}
	t.Revision, t.Deleted = r.Revision, r.Deleted
	return t, nil
}

type genreRow struct {
	bun.BaseModel `bun:"table:catalog_genres"`
	TitleID       string `bun:"title_id,pk"`
	Position      int    `bun:"position,pk"`
	Genre         string `bun:"genre"`
}

type personRow struct {
	bun.BaseModel `bun:"table:catalog_people"`
	TitleID       string               `bun:"title_id,pk"`
	Position      int                  `bun:"position,pk"`
	Name          string               `bun:"name"`
	Role          catalogv1.PersonRole `bun:"role"`
}

type windowRow struct {
	bun.BaseModel `bun:"table:catalog_windows"`
	TitleID       string `bun:"title_id,pk"`
	Position      int    `bun:"position,pk"`
	Country       string `bun:"country"`
	FromAt        int64  `bun:"from_at"`
	UntilAt       int64  `bun:"until_at"`
}

type playableRow struct {
	bun.BaseModel `bun:"table:catalog_playables"`
	PlayableID    string `bun:"playable_id,pk"`
	TitleID       string `bun:"title_id"`
	Season        uint32 `bun:"season"`
	Episode       uint32 `bun:"episode"`
	Name          string `bun:"name"`
	RuntimeMS     int64  `bun:"runtime_ms"`
}

type outboxRow struct {
	bun.BaseModel `bun:"table:catalog_outbox"`
	Revision      int64  `bun:"revision,pk"`
	TitleID       string `bun:"title_id"`
}
