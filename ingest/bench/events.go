package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

const (
	batchEvents = 100
	// profiles and titles are how many of each a service of middling size has in a busy hour.
	profiles = 200_000
	titles   = 6_000
	// requests is how many different requests a caller goes through.
	requests = 16
)

// caller makes the requests of one caller. Each event is sent many times under ids and times of its own, so that making
// events costs the load generator little and encoding and sending them what it costs a real one.
type caller struct {
	requests []*ingestv1.RecordEventsRequest
	next     int
	id       [16]byte
	counter  uint64
}

func newCaller(number int) *caller {
	random := rand.New(rand.NewPCG(uint64(number), 0x6d617271756565))
	c := &caller{}
	binary.BigEndian.PutUint16(c.id[6:], 0x7000|uint16(number>>8&0xfff))
	c.id[8], c.id[9] = 0x80, byte(number)
	for range requests {
		events := make([]*ingestv1.WatchEvent, batchEvents)
		for i := range events {
			events[i] = event(random)
		}
		c.requests = append(c.requests, &ingestv1.RecordEventsRequest{Events: events})
	}
	return c
}

// request returns the next batch, its events as they happen now. It is valid until the caller has gone through all of its requests.
func (c *caller) request(now time.Time) *ingestv1.RecordEventsRequest {
	r := c.requests[c.next%len(c.requests)]
	c.next++
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint16(c.id[0:], uint16(ms>>32))
	binary.BigEndian.PutUint32(c.id[2:], uint32(ms))
	for i, e := range r.Events {
		c.counter++
		binary.BigEndian.PutUint32(c.id[10:], uint32(c.counter>>16))
		binary.BigEndian.PutUint16(c.id[14:], uint16(c.counter))
		e.EventId = watchevent.FormatID(c.id)
		e.OccurredAt = now.UnixMicro() - int64(i)*7_919
	}
	return r
}

// event makes an event as clients send them: mostly heartbeats of plays, some of them of something recommended.
func event(random *rand.Rand) *ingestv1.WatchEvent {
	e := &ingestv1.WatchEvent{
		SchemaVersion: 1, ProfileId: fmt.Sprintf("prf_%010d", random.IntN(profiles)*7_919), SessionId: randomUUID(random),
		DeviceClass: ingestv1.DeviceClass(1 + random.IntN(5)), Country: []string{"NO", "DE", "US", "BR", "JP"}[random.IntN(5)],
	}
	switch kind := random.IntN(100); {
	case kind < 84:
		play(e, random, kind)
	case kind < 93:
		e.Type, e.TitleId, e.Surface = ingestv1.EventType_EVENT_TYPE_CLICK, title(random), "home"
		recommended(e, random)
	case kind < 95:
		e.Type, e.TitleId, e.Surface = ingestv1.EventType_EVENT_TYPE_LIKE, title(random), "detail"
	case kind < 96:
		e.Type, e.TitleId, e.Surface = ingestv1.EventType_EVENT_TYPE_LIST_ADD, title(random), "detail"
	case kind < 97:
		e.Type, e.Query, e.Surface = ingestv1.EventType_EVENT_TYPE_SEARCH, "the long way home", "search"
	default:
		e.Type, e.Surface = ingestv1.EventType_EVENT_TYPE_SLATE_SEEN, "home"
		recommended(e, random)
		for range 8 {
			e.SeenTitleIds = append(e.SeenTitleIds, title(random))
		}
	}
	return e
}

func play(e *ingestv1.WatchEvent, random *rand.Rand, kind int) {
	e.Type = ingestv1.EventType_EVENT_TYPE_PROGRESS
	switch {
	case kind < 6:
		e.Type = ingestv1.EventType_EVENT_TYPE_PLAY_START
	case kind < 12:
		e.Type = ingestv1.EventType_EVENT_TYPE_PLAY_END
	}
	e.TitleId, e.PlayId, e.Surface, e.Autoplay = title(random), randomUUID(random), "player", random.IntN(10) == 0
	if random.IntN(2) == 0 {
		e.PlayableId = fmt.Sprintf("%s_s%02de%02d", e.TitleId, 1+random.IntN(5), 1+random.IntN(12))
	}
	e.DurationMs = 1_200_000 + random.Int64N(6_000_000)
	e.PositionMs = random.Int64N(e.DurationMs)
	e.WatchedMs = e.PositionMs
	if random.IntN(2) == 0 {
		recommended(e, random)
	}
}

func recommended(e *ingestv1.WatchEvent, random *rand.Rand) {
	e.RequestId = randomUUID(random)
	e.Row, e.Rank = proto.Uint32(random.Uint32N(12)), proto.Uint32(random.Uint32N(40))
}

// title is one of the catalogue's, a few of them watched by most.
func title(random *rand.Rand) string {
	return fmt.Sprintf("tt%07d", int(float64(titles)*random.Float64()*random.Float64())*1_009)
}

func randomUUID(random *rand.Rand) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], random.Uint64())
	binary.BigEndian.PutUint64(id[8:], random.Uint64())
	return watchevent.FormatID(id)
}
