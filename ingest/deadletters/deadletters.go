// Package deadletters reads the topic of records that were no watch events, sends them again, and remembers which are
// settled: sent again or given up. The topic itself is never changed; its retention ends it.
package deadletters

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/uptrace/bun"
	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
	"marquee/internal/db"
	"marquee/internal/logid"
)

//go:embed migrations
var migrations embed.FS

// ErrNone is wrapped where there is no unsettled letter of an id.
var ErrNone = errors.New("no such dead letter")

// ID names a dead letter by where the log of watch events has the record it is about: partition-offset.
type ID struct {
	Partition int32
	Offset    int64
}

func (id ID) String() string { return fmt.Sprintf("%d-%d", id.Partition, id.Offset) }

// ParseID reads what String writes.
func ParseID(text string) (ID, error) {
	p, o, ok := strings.Cut(text, "-")
	partition, errP := strconv.ParseInt(p, 10, 32)
	offset, errO := strconv.ParseInt(o, 10, 64)
	if !ok || errP != nil || errO != nil || partition < 0 || offset < 0 {
		return ID{}, fmt.Errorf("a dead letter's id is partition-offset, as events dead list prints it, this is %q", text)
	}
	return ID{int32(partition), offset}, nil
}

// Letter is a record that was refused.
type Letter struct {
	ID ID
	*ingestv1.DeadLetter
}

// Whole says whether the letter has all of its record: of the largest only the beginning is kept.
func (l Letter) Whole() bool { return !strings.Contains(l.Reason, " bytes the first ") }

// Read reads the record as a consumer of today would, as if it arrived at the moment it was refused; a received_at of its
// own is kept.
func (l Letter) Read() (*ingestv1.WatchEvent, error) {
	return read(watchevent.Record{Value: l.Value, ContentType: l.ContentType, Timestamp: l.RefusedAt})
}

// Corrected reads what is to be sent in the letter's place: a watch event as JSON.
func (l Letter) Corrected(text []byte) (*ingestv1.WatchEvent, error) {
	return read(watchevent.Record{Value: text, ContentType: ingestv1.ContentTypeJSON, Timestamp: l.RefusedAt})
}

func read(r watchevent.Record) (*ingestv1.WatchEvent, error) {
	var d watchevent.Decoder
	e, refusal := d.Read(r)
	if refusal != nil {
		return nil, refusal
	}
	return proto.CloneOf(e), nil
}

// outcome is a settled letter.
type outcome struct {
	bun.BaseModel `bun:"table:ingest_dead_letters_settled"`

	ClusterID   string `bun:",pk"`
	TopicID     string `bun:",pk"`
	PartitionNo int32  `bun:",pk"`
	LogOffset   int64  `bun:",pk"`
	Outcome     string
	SettledAt   int64
}

// Box is the dead letters of one log of watch events.
type Box struct {
	db      *db.DB
	client  *kgo.Client
	log     logid.Log
	settled map[ID]bool
}

// Open reads which letters are settled. The client must be one made by Options; log is the log of watch events. The box is
// good for one pass over the letters.
func Open(ctx context.Context, d *db.DB, client *kgo.Client, log logid.Log) (*Box, error) {
	if err := migrate(ctx, d); err != nil {
		return nil, err
	}
	b := &Box{db: d, client: client, log: log, settled: make(map[ID]bool)}
	var rows []outcome
	err := d.NewSelect().Model(&rows).Where("cluster_id = ?", log.Cluster).Where("topic_id = ?", log.ID).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read which dead letters are settled: %w", err)
	}
	for _, r := range rows {
		b.settled[ID{r.PartitionNo, r.LogOffset}] = true
	}
	return b, nil
}

func migrate(ctx context.Context, d *db.DB) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("open the migrations of dead letters: %w", err)
	}
	return d.Migrate(ctx, "ingest_dead_letters", sub)
}

// Options are what a client for Open needs: it reads the topic from its start.
func Options() []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumeTopics(ingestv1.TopicDeadLetters), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(16 << 20),
	}
}

// Each gives every letter that is not settled, once, partition by partition in the order they were written, until give
// returns false or an error.
func (b *Box) Each(ctx context.Context, give func(Letter) (more bool, err error)) error {
	left, err := b.extent(ctx)
	if err != nil {
		return err
	}
	given := make(map[ID]bool)
	for len(left) > 0 {
		fetches := b.client.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return fmt.Errorf("read dead letters: %w", err)
		}
		for i := fetches.RecordIter(); !i.Done(); {
			r := i.Next()
			if r.Offset >= left[r.Partition]-1 {
				delete(left, r.Partition)
			}
			letter, err := parse(r)
			if err != nil {
				return err
			}
			if given[letter.ID] || b.settled[letter.ID] || letter.Topic != b.log.Topic {
				continue
			}
			given[letter.ID] = true
			if more, err := give(letter); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// extent is the offset behind the last record of each partition that has any.
func (b *Box) extent(ctx context.Context) (map[int32]int64, error) {
	admin := kadm.NewClient(b.client)
	starts, err := admin.ListStartOffsets(ctx, ingestv1.TopicDeadLetters)
	if err == nil {
		err = starts.Error()
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil, nil // Nothing was ever refused.
	}
	if err != nil {
		return nil, fmt.Errorf("find the first dead letters: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, ingestv1.TopicDeadLetters)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("find the last dead letters: %w", err)
	}
	left := make(map[int32]int64)
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(end.Topic, end.Partition); ok && start.Offset < end.Offset {
			left[end.Partition] = end.Offset
		}
	})
	return left, nil
}

func parse(r *kgo.Record) (Letter, error) {
	l := Letter{DeadLetter: new(ingestv1.DeadLetter)}
	if err := proto.Unmarshal(r.Value, l.DeadLetter); err != nil {
		return l, fmt.Errorf("the record at partition %d, offset %d of %s is no dead letter: %w", r.Partition, r.Offset, r.Topic, err)
	}
	l.ID = ID{l.Partition, l.Offset}
	return l, nil
}

// Find returns the unsettled letters of ids, in their order, or an error wrapping ErrNone that names those that are not there.
func (b *Box) Find(ctx context.Context, ids []ID) ([]Letter, error) {
	found := make(map[ID]Letter)
	wanted := make(map[ID]bool)
	for _, id := range ids {
		wanted[id] = true
	}
	err := b.Each(ctx, func(l Letter) (bool, error) {
		if wanted[l.ID] {
			found[l.ID] = l
		}
		return len(found) < len(wanted), nil
	})
	if err != nil {
		return nil, err
	}
	var out []Letter
	var missing []error
	for _, id := range ids {
		l, ok := found[id]
		if !ok {
			missing = append(missing, fmt.Errorf("%w: %s; it was never there, is past its retention, or is settled", ErrNone, id))
		}
		out = append(out, l)
	}
	return out, errors.Join(missing...)
}

// Drop gives letters up.
func (b *Box) Drop(ctx context.Context, ids ...ID) error { return b.settle(ctx, "dropped", ids) }

// Replayed notes that letters were sent again. Noted after the broker has them: a crash in between leaves a letter that can be
// sent once more, and is the same event.
func (b *Box) Replayed(ctx context.Context, ids ...ID) error { return b.settle(ctx, "replayed", ids) }

func (b *Box) settle(ctx context.Context, how string, ids []ID) error {
	const most = 500
	for len(ids) > 0 {
		part := ids[:min(most, len(ids))]
		ids = ids[len(part):]
		rows := make([]outcome, 0, len(part))
		for _, id := range part {
			b.settled[id] = true
			rows = append(rows, outcome{
				ClusterID: b.log.Cluster, TopicID: b.log.ID, PartitionNo: id.Partition, LogOffset: id.Offset, Outcome: how,
				SettledAt: time.Now().UnixMicro(),
			})
		}
		_, err := b.db.NewInsert().Model(&rows).On("CONFLICT (cluster_id, topic_id, partition_no, log_offset) DO UPDATE").
			Set("outcome = EXCLUDED.outcome").Set("settled_at = EXCLUDED.settled_at").Exec(ctx)
		if err != nil {
			return fmt.Errorf("note that %d dead letters are %s: %w", len(part), how, err)
		}
	}
	return nil
}
