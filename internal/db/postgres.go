package db

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

const (
	// postgresConns bounds one process's connections: a server allows 100 by default and several processes share it.
	postgresConns = 16
	// postgresIdle lets a pool shrink again, and notices a server behind a balancer that moved.
	postgresIdle = 5 * time.Minute
)

func openPostgres(ctx context.Context, raw string) (*DB, error) {
	// Parsed here first, because a parse error of net/url quotes the whole URL, password and all.
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("database URL cannot be parsed: " + validURLs + "; escape special characters of the password as %XX")
	}
	cfg, err := pgx.ParseConfig(raw)
	if err != nil {
		// pgx says which setting is wrong and redacts the password in what it quotes.
		return nil, fmt.Errorf("database URL %s: %w", u.Redacted(), err)
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "marquee"
	}
	pool := stdlib.OpenDB(*cfg)
	pool.SetMaxOpenConns(postgresConns)
	pool.SetMaxIdleConns(postgresConns)
	pool.SetConnMaxIdleTime(postgresIdle)
	if err := pool.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", u.Redacted(), err), pool.Close())
	}
	return &DB{DB: bun.NewDB(pool, pgdialect.New()), engine: Postgres}, nil
}
