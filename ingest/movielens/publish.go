package movielens

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"marquee/ingest/events"
	"marquee/ingest/imports"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

const (
	microsPerSecond = 1_000_000
	// durationMS is the nominal length of a film: 100 minutes.
	durationMS = 6_000_000
)

// publish brings the ratings to the broker, from where the cursor stands.
func (i *importer) publish(ctx context.Context) error {
	ratings := i.source.ratings
	if len(ratings) > 0 {
		i.summary.FirstEventAt = int64(ratings[0].at) * microsPerSecond
		i.summary.LastEventAt = int64(ratings[len(ratings)-1].at) * microsPerSecond
	}
	p := &publication{importer: i, cursor: i.record.Cursor(), digest: imports.NewDigest()}
	if err := p.place(ctx); err != nil {
		return err
	}
	p.next = p.cursor.Acknowledged
	if err := imports.Publish(ctx, i.Publisher, i.Log, p.batch, p.settle); err != nil {
		return fmt.Errorf("%d of %d events are imported, run the import again to go on: %w", p.cursor.Acknowledged, len(ratings), err)
	}
	p.cursor.FinishedAt = time.Now().UnixMicro()
	return i.record.Save(ctx, p.cursor)
}

// publication moves the cursor over the ratings.
type publication struct {
	*importer
	cursor imports.Cursor
	// digest is over the ids up to the cursor.
	digest *imports.Digest
	// there are ids that need not be published again; nil unless the source changed other than at its end.
	there map[watchevent.ID]bool
	// next is the first rating that no batch was made of.
	next int64
}

// batch is a stretch of the ratings.
type batch struct {
	ratings []rating
	events  []*ingestv1.WatchEvent
}

// Events are those to publish: of ratings that are not there.
func (b batch) Events() []*ingestv1.WatchEvent { return b.events }

// place finds where to begin: after what an earlier run published if the source still begins with that, else at the
// start.
func (p *publication) place(ctx context.Context) error {
	earlier := p.cursor
	p.summary.ContentChanged = earlier.Content != "" && earlier.Content != p.source.content
	if earlier.Content == "" {
		p.cursor.StartedAt = time.Now().UnixMicro()
	}
	p.cursor.Content = p.source.content
	p.cursor.FinishedAt = 0
	if p.Broker.Topic != "" {
		p.cursor.ClusterID, p.cursor.TopicID = p.Broker.Cluster, p.Broker.ID
	}
	if earlier.Acknowledged > 0 && p.Broker.Topic != "" && !earlier.On(p.Broker) {
		p.Log.Warn("the earlier import went to another log: publishing what of it is not in the lake", "import", p.summary.ImportID,
			"imported_earlier", earlier.Acknowledged, "log", p.Broker.String())
		return p.restart(ctx)
	}
	if earlier.Acknowledged <= int64(len(p.source.ratings)) {
		for _, r := range p.source.ratings[:earlier.Acknowledged] {
			p.digest.Add(p.id(r))
		}
		if earlier.Acknowledged == 0 || p.digest.String() == earlier.PrefixDigest {
			p.summary.EventsAlreadyImported = earlier.Acknowledged
			return nil
		}
	}
	p.Log.Warn("the files are not those of the earlier import, nor those with rows added at the end in time: importing what is new in them",
		"import", p.summary.ImportID, "imported_earlier", earlier.Acknowledged)
	return p.restart(ctx)
}

// restart goes through everything from the first event, leaving out what the lake has.
func (p *publication) restart(ctx context.Context) error {
	p.cursor.Acknowledged, p.digest = 0, imports.NewDigest()
	return p.findThere(ctx)
}

// findThere reads from the lake which of this import's events it has.
func (p *publication) findThere(ctx context.Context) error {
	if p.Lake == nil {
		return nil
	}
	set, err := events.Open(ctx, p.Lake)
	if err != nil {
		return fmt.Errorf("find the events that are imported already: %w", err)
	}
	p.there = make(map[watchevent.ID]bool)
	for r, err := range set.Raw(ctx) {
		if err != nil {
			return fmt.Errorf("find the events that are imported already: %w", err)
		}
		if r.ImportID == p.summary.ImportID {
			p.there[r.EventID] = true
		}
	}
	return nil
}

// batch makes the next batch.
func (p *publication) batch(context.Context) (batch, error) {
	total := int64(len(p.source.ratings))
	if p.next >= total {
		return batch{}, io.EOF
	}
	part := p.source.ratings[p.next:min(p.next+int64(p.BatchEvents), total)]
	p.next += int64(len(part))
	return batch{ratings: part, events: p.events(part)}, nil
}

// settle moves the cursor over a batch that is on the broker.
func (p *publication) settle(ctx context.Context, b batch) error {
	for _, r := range b.ratings {
		p.digest.Add(p.id(r))
	}
	c := p.cursor
	c.Acknowledged += int64(len(b.ratings))
	c.PrefixDigest = p.digest.String()
	if err := p.record.Save(ctx, c); err != nil {
		return err
	}
	p.cursor = c
	p.summary.EventsPublished += int64(len(b.events))
	p.summary.EventsAlreadyImported += int64(len(b.ratings) - len(b.events))
	p.Progress(Progress{Stage: StageEvents, Done: c.Acknowledged, Total: int64(len(p.source.ratings))})
	return nil
}

func (p *publication) id(r rating) watchevent.ID {
	var user, movie, at [10]byte
	return watchevent.DeriveID(int64(r.at)*microsPerSecond, p.Namespace, string(strconv.AppendUint(user[:0], uint64(r.user), 10)),
		string(strconv.AppendUint(movie[:0], uint64(r.movie), 10)), string(strconv.AppendUint(at[:0], uint64(r.at), 10)))
}

// events makes the events of ratings, leaving out those that are there.
func (p *publication) events(ratings []rating) []*ingestv1.WatchEvent {
	all := make([]ingestv1.WatchEvent, len(ratings))
	out := make([]*ingestv1.WatchEvent, 0, len(ratings))
	receivedAt := time.Now().UnixMicro()
	for n, r := range ratings {
		id := p.id(r)
		if p.there[id] {
			continue
		}
		e := &all[n]
		e.EventId = watchevent.FormatID(id)
		e.SchemaVersion = 1
		e.ProfileId = p.Namespace + ":" + strconv.FormatUint(uint64(r.user), 10)
		e.TitleId = p.titleIDs[r.movie]
		e.PlayId = e.EventId
		e.Type = ingestv1.EventType_EVENT_TYPE_PLAY_END
		e.OccurredAt = int64(r.at) * microsPerSecond
		e.WatchedMs = int64(r.halfStars) * durationMS / 10
		e.PositionMs = e.WatchedMs
		e.DurationMs = durationMS
		watchevent.StampImport(e, receivedAt, p.summary.ImportID)
		out = append(out, e)
	}
	return out
}
