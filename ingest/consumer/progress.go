package consumer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/ingest/ledger"
)

// progressInterval is how often the ledger is asked.
const progressInterval = 25 * time.Millisecond

// Progress answers how far the consumers have come, whichever processes they run in: it asks the broker and the ledger.
type Progress struct {
	admin  *kadm.Client
	ledger *ledger.Ledger
}

// NewProgress makes one over any client of the broker.
func NewProgress(client *kgo.Client, l *ledger.Ledger) *Progress {
	return &Progress{admin: kadm.NewClient(client), ledger: l}
}

// CaughtUp waits until everything that is on the broker at the time of the call is in both sinks.
func (p *Progress) CaughtUp(ctx context.Context) error {
	offsets, err := p.published(ctx)
	if err != nil {
		return err
	}
	return p.DrainTo(ctx, offsets)
}

// published returns the last offset of every partition that holds records.
func (p *Progress) published(ctx context.Context) (map[int32]int64, error) {
	starts, err := p.admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ask the broker where %s starts: %w", topic, err)
	}
	ends, err := p.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ask the broker where %s ends: %w", topic, err)
	}
	offsets := make(map[int32]int64)
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(topic, end.Partition); !ok || start.Offset < end.Offset {
			offsets[end.Partition] = end.Offset - 1
		}
	})
	return offsets, nil
}

// DrainTo waits until each partition's offset (included) is in both sinks. When the context ends first, the error says
// what is missing.
func (p *Progress) DrainTo(ctx context.Context, offsets map[int32]int64) error {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	missing := "the ledger was not read"
	for {
		now, err := p.missing(ctx, offsets)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err == nil && now == "":
			return nil
		case err == nil:
			missing = now
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("events are not in both sinks yet (%s): %w", missing, ctx.Err())
		case <-tick.C:
		}
	}
}

// missing describes the partitions that are not there yet; empty means none.
func (p *Progress) missing(ctx context.Context, offsets map[int32]int64) (string, error) {
	positions, err := p.ledger.Positions(ctx, topic)
	if err != nil {
		return "", err
	}
	var behind []string
	for partition, want := range offsets {
		at, ok := positions[partition]
		if !ok {
			at.Through = -1
		}
		if through := at.Through - at.Base; through < want {
			behind = append(behind, fmt.Sprintf("partition %d is through offset %d of %d", partition, through, want))
		}
	}
	slices.Sort(behind)
	return strings.Join(behind, ", "), nil
}
