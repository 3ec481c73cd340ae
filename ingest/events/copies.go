package events

import (
	"cmp"
	"context"
	"hash/maphash"
)

// copies are the events of a set that it holds more than once.
type copies struct {
	seed maphash.Seed
	// ids are the repeated event ids; further copies of the same event are what firsts does not name.
	ids    map[[16]byte]struct{}
	firsts map[identity]place
	// rows is how many rows have a repeated id.
	rows int64
}

// identity is what the copies of an event share, as in the sorting key of the warehouse's events_raw.
type identity struct {
	id         [16]byte
	occurredAt int64
	// profile is a hash: two profiles would have to share the id and the instant, too.
	profile uint64
}

// place orders the copies of an event: the first in the log wins. The partition decides only for a profile that changed
// it with the topic's number of partitions.
type place struct {
	offset    int64
	partition int32
}

func (p place) before(q place) bool {
	return cmp.Or(cmp.Compare(p.offset, q.offset), cmp.Compare(p.partition, q.partition)) < 0
}

// hides says that a row is not its event's first copy.
func (c *copies) hides(r *Row) bool {
	if _, ok := c.ids[r.EventID]; !ok {
		return false
	}
	first := c.firsts[identity{r.EventID, r.OccurredAt, maphash.String(c.seed, r.ProfileID)}]
	return first != place{r.KafkaOffset, r.KafkaPartition}
}

// further is how many rows are further copies.
func (c *copies) further() int64 { return c.rows - int64(len(c.firsts)) }

type idRow struct {
	EventID [16]byte `parquet:"event_id,uuid"`
}

type copyRow struct {
	EventID        [16]byte `parquet:"event_id,uuid"`
	ProfileID      string   `parquet:"profile_id,dict"`
	OccurredAt     int64    `parquet:"occurred_at,timestamp(microsecond),delta"`
	KafkaPartition int32    `parquet:"kafka_partition"`
	KafkaOffset    int64    `parquet:"kafka_offset,delta"`
}

// findCopies reads the ids for those that repeat and, when there are any, the places of their rows.
func (s *Set) findCopies(ctx context.Context) (*copies, error) {
	c := &copies{seed: maphash.MakeSeed(), firsts: make(map[identity]place)}
	var err error
	if c.ids, err = s.repeatedIDs(ctx); err != nil || len(c.ids) == 0 {
		return c, err
	}
	for _, f := range s.files {
		for r, err := range readFile[copyRow](ctx, s, f) {
			if err != nil {
				return nil, err
			}
			if _, ok := c.ids[r.EventID]; !ok {
				continue
			}
			c.rows++
			key := identity{r.EventID, r.OccurredAt, maphash.String(c.seed, r.ProfileID)}
			at := place{r.KafkaOffset, r.KafkaPartition}
			if first, ok := c.firsts[key]; !ok || at.before(first) {
				c.firsts[key] = at
			}
		}
	}
	return c, nil
}

// repeatedIDs returns the event ids that more than one row has.
func (s *Set) repeatedIDs(ctx context.Context) (map[[16]byte]struct{}, error) {
	var rows int64
	for _, f := range s.files {
		rows += f.Rows
	}
	passes := uint64(rows/s.maxIDs + 1)
	repeated := make(map[[16]byte]struct{})
	for pass := range passes {
		seen := newIDSet(rows / int64(passes))
		for _, f := range s.files {
			for r, err := range readFile[idRow](ctx, s, f) {
				if err != nil {
					return nil, err
				}
				// The table uses the hash's low bits.
				if (hashID(r.EventID)>>40)%passes == pass && !seen.add(r.EventID) {
					repeated[r.EventID] = struct{}{}
				}
			}
		}
	}
	return repeated, nil
}
