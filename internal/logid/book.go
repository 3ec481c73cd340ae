package logid

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/uptrace/bun"

	"marquee/internal/db"
)

//go:embed migrations
var migrations embed.FS

// Entry is what the book says about a topic.
type Entry struct {
	Log Log `json:"log"`
	// Bases are added to the log's offsets to make positions, by partition; a partition that is not there has 0. Positions
	// are what is stored: when another log takes a lost one's place, it goes on where that one ended, and no position ever
	// stands for two records.
	Bases map[int32]int64 `json:"bases"`
}

// Book keeps, durably, which log each topic's stored offsets belong to. It is safe for concurrent use, in any number of
// processes.
type Book struct{ db *db.DB }

// OpenBook opens the book in a database and brings its table up to date.
func OpenBook(ctx context.Context, database *db.DB) (*Book, error) {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open the migrations of followed logs: %w", err)
	}
	if err := database.Migrate(ctx, "followed_logs", steps); err != nil {
		return nil, err
	}
	return &Book{db: database}, nil
}

type row struct {
	bun.BaseModel `bun:"table:followed_logs"`

	Topic     string `bun:",pk"`
	ClusterID string
	TopicID   string
	Bases     string
	Since     int64
}

func rowOf(e Entry) (*row, error) {
	if e.Bases == nil {
		e.Bases = map[int32]int64{}
	}
	bases, err := json.Marshal(e.Bases)
	if err != nil {
		return nil, fmt.Errorf("encode the bases of %s: %w", e.Log, err)
	}
	return &row{Topic: e.Log.Topic, ClusterID: e.Log.Cluster, TopicID: e.Log.ID, Bases: string(bases), Since: time.Now().UnixMicro()}, nil
}

// Follow returns what the book says about the log's topic. A topic it has never seen it enters as e says. When it follows
// another log, the error is an *OtherError; keeper names for people what belongs to it.
func (b *Book) Follow(ctx context.Context, keeper string, e Entry) (Entry, error) {
	r, err := rowOf(e)
	if err != nil {
		return Entry{}, err
	}
	if _, err := b.db.NewInsert().Model(r).On("CONFLICT (topic) DO NOTHING").Exec(ctx); err != nil {
		return Entry{}, fmt.Errorf("enter %s into the book of followed logs: %w", e.Log, err)
	}
	known, ok, err := b.Entry(ctx, b.db, e.Log.Topic)
	if err != nil {
		return Entry{}, err
	}
	if !ok {
		return Entry{}, fmt.Errorf("topic %s was taken out of the book of followed logs meanwhile", e.Log.Topic)
	}
	if !known.Log.Same(e.Log) {
		return known, &OtherError{Keeper: keeper, Want: known.Log, Got: e.Log}
	}
	return known, nil
}

// Entry returns what the book says about a topic, as q (the database or a transaction) sees it, and whether it knows it.
func (b *Book) Entry(ctx context.Context, q bun.IDB, topic string) (Entry, bool, error) {
	var r row
	err := q.NewSelect().Model(&r).Where("topic = ?", topic).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Entry{}, false, nil
	}
	if err != nil {
		return Entry{}, false, fmt.Errorf("read which log topic %s is followed in: %w", topic, err)
	}
	e := Entry{Log: Log{Topic: r.Topic, Cluster: r.ClusterID, ID: r.TopicID}}
	if err := json.Unmarshal([]byte(r.Bases), &e.Bases); err != nil {
		return Entry{}, false, fmt.Errorf("the bases of %s in the book of followed logs are damaged: %w", e.Log, err)
	}
	return e, true, nil
}

// Adopt makes the book follow another log from now on, within the caller's transaction.
func (b *Book) Adopt(ctx context.Context, tx bun.Tx, e Entry) error {
	r, err := rowOf(e)
	if err != nil {
		return err
	}
	_, err = tx.NewInsert().Model(r).On("CONFLICT (topic) DO UPDATE").Set("cluster_id = EXCLUDED.cluster_id").
		Set("topic_id = EXCLUDED.topic_id").Set("bases = EXCLUDED.bases").Set("since = EXCLUDED.since").Exec(ctx)
	if err != nil {
		return fmt.Errorf("adopt %s: %w", e.Log, err)
	}
	return nil
}
