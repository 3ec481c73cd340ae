package rebuild

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"marquee/ingest/events"
)

// Contents says what a warehouse holds: rows and a checksum over all columns of what its readers see.
type Contents struct {
	Events events.Checksum `json:"events"`
	Titles events.Checksum `json:"titles"`
}

// Content reads everything there is in the warehouse. The lake's events with the same content have the same checksum.
func Content(ctx context.Context, conn driver.Conn) (Contents, error) {
	var out Contents
	var err error
	if out.Events, err = viewChecksum(ctx, conn, "events"); err != nil {
		return out, err
	}
	out.Titles, err = viewChecksum(ctx, conn, "titles")
	return out, err
}

// viewChecksum has the warehouse compute internal/checksum over a view's rows in the canonical form of package events.
func viewChecksum(ctx context.Context, conn driver.Conn, view string) (events.Checksum, error) {
	var out events.Checksum
	form, err := canonicalForm(ctx, conn, view)
	if err != nil {
		return out, fmt.Errorf("checksum of %s: %w", view, err)
	}
	var rows uint64
	sum := new(big.Int)
	query := "SELECT count(), sum(reinterpretAsUInt256(SHA256(" + form + "))) FROM " + view
	if err := conn.QueryRow(ctx, query).Scan(&rows, sum); err != nil {
		return out, fmt.Errorf("checksum of %s: %w", view, err)
	}
	bytes := sum.FillBytes(make([]byte, 32))
	slices.Reverse(bytes)
	return events.Checksum{Rows: int64(rows), Checksum: hex.EncodeToString(bytes)}, nil
}

// canonicalForm is the expression of a row's canonical form, column by column in the view's order.
func canonicalForm(ctx context.Context, conn driver.Conn, view string) (string, error) {
	rows, err := conn.Query(ctx, "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = ? ORDER BY position", view)
	if err != nil {
		return "", err
	}
	var parts []string
	for rows.Next() {
		var name, kind string
		if err := rows.Scan(&name, &kind); err != nil {
			return "", errors.Join(err, rows.Close())
		}
		part, err := canonicalColumn("`"+name+"`", kind)
		if err != nil {
			return "", errors.Join(fmt.Errorf("column %s: %w", name, err), rows.Close())
		}
		parts = append(parts, part)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return "", err
	}
	if len(parts) < 2 {
		return "", fmt.Errorf("it has %d columns", len(parts))
	}
	return "concat(" + strings.Join(parts, ", ") + ")", nil
}

func canonicalColumn(column, kind string) (string, error) {
	if inner, ok := strings.CutPrefix(kind, "LowCardinality("); ok {
		kind = strings.TrimSuffix(inner, ")")
	}
	text := func(c string) string { return "toString(length(" + c + ")), ':', " + c }
	switch {
	case kind == "String":
		return text(column), nil
	case kind == "UUID" || strings.HasPrefix(kind, "Enum8("):
		return text("toString(" + column + ")"), nil
	case strings.HasPrefix(kind, "DateTime64(6"):
		return "toString(toUnixTimestamp64Micro(" + column + ")), ';'", nil
	case kind == "Bool":
		return "toString(toUInt8(" + column + ")), ';'", nil
	case strings.HasPrefix(kind, "UInt") || strings.HasPrefix(kind, "Int"):
		return "toString(" + column + "), ';'", nil
	case strings.HasPrefix(kind, "Nullable(UInt") || strings.HasPrefix(kind, "Nullable(Int"):
		return "ifNull(toString(" + column + "), '-'), ';'", nil
	case kind == "Array(String)":
		return "toString(length(" + column + ")), '[', arrayStringConcat(arrayMap(x -> concat(" + text("x") + "), " + column + "))", nil
	}
	return "", fmt.Errorf("no canonical form is agreed for the type %s", kind)
}
