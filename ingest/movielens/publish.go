package movielens

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"marquee/ingest"
	"marquee/ingest/events"
	"marquee/ingest/imports"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

const (
	microsPerSecond = 1_000_000
	// durationMS is the nominal length of a film: 100 minutes.
	durationMS = 6_000_000
	// window is how many batches wait for the broker at a time.
	window = 3
	// maxFailures is how often in a row a batch may fail before the import gives up; the next run goes on from there.
	maxFailures = 5
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
	failures := 0
	for p.cursor.Acknowledged < int64(len(ratings)) {
		before := p.cursor.Acknowledged
		err := p.pass(ctx)
		if err == nil {
			break
		}
		if p.cursor.Acknowledged > before {
			failures = 0
		}
		failures++
		passing := errors.Is(err, ingest.ErrUnavailable) || errors.Is(err, ingest.ErrBusy)
		if !passing || failures >= maxFailures || ctx.Err() != nil {
			return fmt.Errorf("%d of %d events are imported, run the import again to go on: %w", p.cursor.Acknowledged, len(ratings), err)
		}
		i.Log.Warn("events not acknowledged by the broker, trying again", "error", err)
		if err := pause(ctx, time.Duration(failures)*time.Second); err != nil {
			return err
		}
	}
	p.cursor.FinishedAt = time.Now().UnixMicro()
	return i.record.Save(ctx, p.cursor)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// publication moves the cursor over the ratings.
type publication struct {
	*importer
	cursor imports.Cursor
	// digest is over the ids up to the cursor.
	digest *imports.Digest
	// there are ids that need not be published again; nil unless the source changed other than at its end.
	there map[watchevent.ID]bool
}

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

// inFlight is a batch that waits for the broker.
type inFlight struct {
	pending *ingest.Pending
	// ratings are those the batch covers, published of them newly.
	ratings   []rating
	published int64
}

// pass publishes batch after batch from the cursor on, several at a time, until one fails or none is left. What is in
// flight when the context ends is still waited for (the publisher bounds that), so that the cursor says what is so.
func (p *publication) pass(ctx context.Context) error {
	var queue []inFlight
	var failed error
	// hole is set when a batch was not acknowledged: the cursor counts without holes, so it stays before it.
	hole := false
	next := p.cursor.Acknowledged
	total := int64(len(p.source.ratings))
	for {
		for failed == nil && len(queue) < window && next < total {
			if failed = ctx.Err(); failed != nil {
				break
			}
			part := p.source.ratings[next:min(next+int64(p.BatchEvents), total)]
			batch := p.events(part)
			pending, err := p.Publisher.Begin(ctx, batch)
			if err != nil {
				failed = err
				break
			}
			queue = append(queue, inFlight{pending: pending, ratings: part, published: int64(len(batch))})
			next += int64(len(part))
		}
		if len(queue) == 0 {
			return failed
		}
		if err := p.settle(ctx, queue[0], hole); err != nil {
			hole = true
			failed = errors.Join(failed, err)
		}
		queue = queue[1:]
	}
}

// settle waits for a batch and moves the cursor over it, unless it is to stay.
func (p *publication) settle(ctx context.Context, b inFlight, stay bool) error {
	ctx = context.WithoutCancel(ctx)
	if _, err := b.pending.Wait(ctx); err != nil {
		return err
	}
	if stay {
		return nil
	}
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
	p.summary.EventsPublished += b.published
	p.summary.EventsAlreadyImported += int64(len(b.ratings)) - b.published
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
