package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
	"marquee/training/model/content"
)

// catalogue is the catalogue as the warehouse has it.
type catalogue struct{ conn driver.Conn }

// Titles implements nightly.Catalogue.
func (c catalogue) Titles(ctx context.Context) ([]content.Title, error) {
	return catalogueTitles(ctx, c.conn)
}

// catalogueTitles reads what the warehouse knows of the catalogue, by title_id.
func catalogueTitles(ctx context.Context, conn driver.Conn) (_ []content.Title, err error) {
	rows, err := conn.Query(ctx, "SELECT title_id, proto FROM titles ORDER BY title_id")
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []content.Title
	for rows.Next() {
		var id, text string
		if err := rows.Scan(&id, &text); err != nil {
			return nil, fmt.Errorf("read the catalogue: %w", err)
		}
		var t catalogv1.Title
		if err := proto.Unmarshal([]byte(text), &t); err != nil {
			return nil, fmt.Errorf("read the catalogue: title %q: %w", id, err)
		}
		out = append(out, describedTitle(&t))
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	return out, nil
}

// describedTitle is what a title is compared with others by.
func describedTitle(t *catalogv1.Title) content.Title {
	out := content.Title{
		ID: t.GetTitleId(), Name: t.GetName(), Description: t.GetDescription(), Genres: t.GetGenres(), Language: t.GetLanguage(),
		Year: int(t.GetYear()), Maturity: -1,
	}
	if t.MaturityAge != nil {
		out.Maturity = int(t.GetMaturityAge())
	}
	for _, p := range t.GetPeople() {
		out.People = append(out.People, p.GetName())
	}
	return out
}
