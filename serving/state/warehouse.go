package state

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	ingestv1 "marquee/ingest/v1"
)

// Warehouse loads history from the warehouse's deduplicated view of the watch events.
type Warehouse struct {
	conn driver.Conn
}

// NewWarehouse makes a loader over an open connection, which stays the caller's.
func NewWarehouse(conn driver.Conn) *Warehouse { return &Warehouse{conn: conn} }

// The first offset of each partition that the warehouse does not hold. Ranges of the log are written in order, so everything
// before it is there.
const endsSQL = `SELECT kafka_partition, max(kafka_offset) + 1 AS end, count() AS events FROM events GROUP BY kafka_partition`

// The latest interactions of a part of the profiles: one row a play, and one a title for each of its likes, its list
// entries and its clicks. What it takes the maximum and the last of is what features/defs/touches.sql does.
const interactionsSQL = `
SELECT
    profile_id, title_id, play_id, last.1 AS at, toString(last.2) AS event, last.3 AS type,
    playable_id, position_ms, watched_ms, duration_ms, autoplay
FROM
(
    SELECT
        profile_id,
        title_id,
        multiIf(
            type IN ('play_start', 'progress', 'play_end'), 1,
            type IN ('like', 'dislike', 'not_interested'), 2,
            type IN ('list_add', 'list_remove'), 3,
            4) AS class,
        if(class = 1, e.play_id, '') AS play_id,
        max((toUnixTimestamp64Micro(e.effective_at), UUIDToNum(e.event_id), toInt8(e.type))) AS last,
        argMax(e.playable_id, (e.effective_at, e.position_ms)) AS playable_id,
        argMax(e.position_ms, (e.effective_at, e.position_ms)) AS position_ms,
        max(e.watched_ms) AS watched_ms,
        max(e.duration_ms) AS duration_ms,
        max(e.autoplay) AS autoplay
    FROM events AS e
    WHERE title_id != '' AND type NOT IN ('search', 'slate_seen')
      AND kafka_offset < {ends:Array(Int64)}[kafka_partition + 1]
      AND cityHash64(profile_id) % {parts:UInt64} = {part:UInt64}
    GROUP BY profile_id, title_id, class, play_id
)
ORDER BY profile_id, last DESC, title_id, play_id
LIMIT {rows:UInt32} BY profile_id`

// eventsPerPart is how many events one query adds up, which bounds the memory it takes in the warehouse.
const eventsPerPart = 20_000_000

// rowsPerTitle is how many interactions a title has on the average of a long history: some plays, a like, a list entry.
const rowsPerTitle = 4

// Load gives the latest interactions of every profile, as HistoryLoader asks.
func (w *Warehouse) Load(ctx context.Context, titles int, give func(Event)) (map[int32]int64, error) {
	ends, events, err := w.ends(ctx)
	if err != nil {
		return nil, err
	}
	parts := 1 + events/eventsPerPart
	for part := range parts {
		if err := w.loadPart(ctx, part, parts, titles, ends, give); err != nil {
			return nil, err
		}
	}
	return ends, nil
}

func (w *Warehouse) ends(ctx context.Context) (map[int32]int64, uint64, error) {
	rows, err := w.conn.Query(ctx, endsSQL)
	if err != nil {
		return nil, 0, fmt.Errorf("ask the warehouse how far it holds the log: %w", err)
	}
	defer rows.Close()
	ends := make(map[int32]int64)
	var total uint64
	for rows.Next() {
		var partition int32
		var end int64
		var events uint64
		if err := rows.Scan(&partition, &end, &events); err != nil {
			return nil, 0, fmt.Errorf("read how far the warehouse holds the log: %w", err)
		}
		ends[partition] = end
		total += events
	}
	if err := rows.Err(); err != nil {
		return nil, 0, fmt.Errorf("read how far the warehouse holds the log: %w", err)
	}
	return ends, total, nil
}

func (w *Warehouse) loadPart(ctx context.Context, part, parts uint64, titles int, ends map[int32]int64, give func(Event)) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{
		"ends":  endsArray(ends),
		"parts": strconv.FormatUint(parts, 10),
		"part":  strconv.FormatUint(part, 10),
		"rows":  strconv.Itoa(titles * rowsPerTitle),
	}))
	rows, err := w.conn.Query(ctx, interactionsSQL)
	if err != nil {
		return fmt.Errorf("ask the warehouse for the profiles' history: %w", err)
	}
	defer rows.Close()
	// A profile's rows come latest first and are given oldest first, which is the order the store appends in.
	var profile []Event
	flush := func() {
		for i := len(profile) - 1; i >= 0; i-- {
			give(profile[i])
		}
		profile = profile[:0]
	}
	for rows.Next() {
		e, err := scan(rows)
		if err != nil {
			return fmt.Errorf("read the profiles' history: %w", err)
		}
		if len(profile) > 0 && profile[0].ProfileID != e.ProfileID {
			flush()
		}
		profile = append(profile, e)
	}
	flush()
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the profiles' history: %w", err)
	}
	return nil
}

func scan(rows driver.Rows) (Event, error) {
	var (
		e     Event
		event string
		typ   int8
	)
	err := rows.Scan(&e.ProfileID, &e.TitleID, &e.PlayID, &e.At, &event, &typ,
		&e.PlayableID, &e.PositionMS, &e.WatchedMS, &e.DurationMS, &e.Autoplay)
	if err != nil {
		return Event{}, err
	}
	e.Type = ingestv1.EventType(typ)
	if len(event) == 16 {
		e.Order = [2]uint64{binary.BigEndian.Uint64([]byte(event[:8])), binary.BigEndian.Uint64([]byte(event[8:]))}
	}
	return e, nil
}

// endsArray writes the ends as the array the query indexes by partition, counting from 0.
func endsArray(ends map[int32]int64) string {
	var last int32 = -1
	for p := range ends {
		last = max(last, p)
	}
	parts := make([]string, last+1)
	for p := range parts {
		parts[p] = strconv.FormatInt(ends[int32(p)], 10)
	}
	return "[" + strings.Join(parts, ",") + "]"
}
