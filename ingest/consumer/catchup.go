package consumer

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"marquee/ingest/events"
	"marquee/ingest/ledger"
)

// catchUpWithLake lets a ledger that is behind the lake go on after what the lake has: the database was lost, or restored
// from an older copy, and cutting other ranges over the same records would put them into the lake twice. It takes and
// returns what the ledger said of the partition: the next position, and the open range or nil. start is the first position
// the broker still has.
//
// Ranges follow each other and one at a time is in flight, so everything before the lake's last range is in the warehouse
// too. The last may not be: it is opened again under its own bounds, to be written to the warehouse once more.
func (m *Module) catchUpWithLake(ctx context.Context, owner *ledger.Owner, partition int32, next int64, open *ledger.Range, start int64) (int64, *ledger.Range, error) {
	last, err := m.lastInLake(ctx, partition, next)
	if err != nil {
		return 0, nil, err
	}
	compacted, err := m.lastCompacted(ctx, partition)
	if err != nil {
		return 0, nil, err
	}
	if compacted >= next && (last == nil || compacted >= last.Last) {
		// Only what is in both sinks is compacted.
		m.log.Warn("the ledger is behind the lake: continuing after what the lake has", "partition", partition, "ledger", next, "lake", compacted+1)
		return compacted + 1, nil, owner.Advance(ctx, next, ledger.Range{Topic: topic, Partition: partition, First: next, Last: compacted}, false)
	}
	if last == nil {
		return next, open, err
	}
	m.log.Warn("the ledger is behind the lake: continuing after what the lake has", "partition", partition, "ledger", next, "lake", last.Last+1)
	if last.First < max(next, start) {
		// Either its records are gone from the broker, or it holds ranges that were finished long ago.
		return last.Last + 1, nil, owner.Advance(ctx, next, *last, false)
	}
	if err := owner.Advance(ctx, next, *last, true); err != nil {
		return 0, nil, err
	}
	return last.Last + 1, last, nil
}

// lastCompacted returns the last position of a partition that the lake's compacted files hold, -1 when none does.
func (m *Module) lastCompacted(ctx context.Context, partition int32) (int64, error) {
	newest, err := events.NewestCompacted(ctx, m.deps.Lake)
	if err != nil || newest == nil {
		return -1, err
	}
	if through, ok := newest.Through[partition]; ok {
		return through, nil
	}
	return -1, nil
}

// lastInLake returns the lake's last range of a partition when it ends at or after a position, else nil.
func (m *Module) lastInLake(ctx context.Context, partition int32, position int64) (*ledger.Range, error) {
	prefix := fmt.Sprintf("%sp%d-", events.ManifestPrefix, partition)
	var last *ledger.Range
	for o, err := range m.deps.Lake.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		bounds := strings.Split(strings.TrimSuffix(strings.TrimPrefix(o.Key, prefix), ".json"), "-")
		if len(bounds) != 2 {
			continue
		}
		from, err1 := strconv.ParseInt(bounds[0], 10, 64)
		to, err2 := strconv.ParseInt(bounds[1], 10, 64)
		if err1 != nil || err2 != nil || to < position || last != nil && to <= last.Last {
			continue
		}
		last = &ledger.Range{Topic: topic, Partition: partition, First: from, Last: to, State: ledger.Open, InLake: true}
	}
	if last == nil {
		return nil, nil
	}
	content, err := m.deps.Lake.ReadFile(ctx, events.ManifestKey(partition, last.First, last.Last))
	if err != nil {
		return nil, err
	}
	manifest, err := events.DecodeManifest(events.ManifestKey(partition, last.First, last.Last), content)
	if err != nil {
		return nil, err
	}
	last.Epoch = manifest.Epoch
	for _, f := range manifest.Files {
		last.Files = append(last.Files, f.FileInfo)
	}
	last.Files = slices.Clip(last.Files)
	return last, nil
}
