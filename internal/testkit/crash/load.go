package crash

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"marquee/internal/checksum"
)

// A load is so many senders with so many batches of so many events each.
const (
	senders     = 4
	batches     = 14
	batchEvents = 45
	// longestPause is the longest time a sender rests between batches: a load takes something like a second.
	longestPause = 120 * time.Millisecond
	// again is the part of the acknowledged batches that is sent once more, as a client does that missed the answer.
	again = 0.2
	// requestTimeout is how long a sender waits for an answer before it sends the batch again.
	requestTimeout = 4 * time.Second
	retryPause     = 30 * time.Millisecond
)

// sent is what was sent and acknowledged: the ids as a sum, since that is what they are compared by.
type sent struct {
	mu           sync.Mutex
	ids          checksum.Sum
	acknowledged int64
	duplicates   int64
	retries      int64
}

// event is a watch event in Connect's JSON.
type event struct {
	EventID       string   `json:"event_id"`
	SchemaVersion int      `json:"schema_version"`
	ProfileID     string   `json:"profile_id"`
	TitleID       string   `json:"title_id"`
	PlayID        string   `json:"play_id,omitempty"`
	Type          string   `json:"type"`
	OccurredAt    int64    `json:"occurred_at,string"`
	SessionID     string   `json:"session_id"`
	DeviceClass   string   `json:"device_class"`
	Country       string   `json:"country"`
	Surface       string   `json:"surface"`
	Autoplay      bool     `json:"autoplay,omitempty"`
	PositionMS    int64    `json:"position_ms,string"`
	WatchedMS     int64    `json:"watched_ms,string"`
	DurationMS    int64    `json:"duration_ms,string"`
	Query         string   `json:"query,omitempty"`
	RequestID     string   `json:"request_id,omitempty"`
	Row           *int     `json:"row,omitempty"`
	SeenTitleIDs  []string `json:"seen_title_ids,omitempty"`

	id [16]byte
}

// newEvent makes an event of one of several shapes.
func newEvent(random *rand.Rand) event {
	now := time.Now()
	e := event{
		SchemaVersion: 1, ProfileID: fmt.Sprintf("profile-%d", random.IntN(400)), TitleID: fmt.Sprintf("title-%d", random.IntN(90)),
		OccurredAt: now.Add(-time.Duration(random.Int64N(int64(time.Hour)))).UnixMicro(), SessionID: fmt.Sprint(random.Uint32()),
		DeviceClass: "DEVICE_CLASS_TV", Country: "NO", Surface: "home", PositionMS: random.Int64N(6_000_000), WatchedMS: random.Int64N(6_000_000),
		DurationMS: 6_000_000, Autoplay: random.IntN(2) == 0, PlayID: fmt.Sprint(random.Uint64()), Type: "EVENT_TYPE_PROGRESS",
	}
	switch random.IntN(6) {
	case 0:
		e.Type, e.Query = "EVENT_TYPE_SEARCH", "ünïcode 検索"
	case 1:
		e.Type, e.SeenTitleIDs, e.RequestID = "EVENT_TYPE_SLATE_SEEN", []string{"title-1", e.TitleID}, "request"
	case 2:
		row := random.IntN(9)
		e.Type, e.Row = "EVENT_TYPE_CLICK", &row
	case 3:
		// A clock that cannot be right.
		e.Type, e.OccurredAt = "EVENT_TYPE_LIKE", now.Add(48*time.Hour).UnixMicro()
	}
	binary.BigEndian.PutUint64(e.id[:], uint64(now.UnixMilli())<<16|uint64(random.Uint32()&0x0fff)|0x7000)
	binary.BigEndian.PutUint64(e.id[8:], random.Uint64()&(1<<62-1)|1<<63)
	e.EventID = fmt.Sprintf("%x-%x-%x-%x-%x", e.id[:4], e.id[4:6], e.id[6:8], e.id[8:10], e.id[10:])
	return e
}

// send sends a load to the services at urls and returns when all of it is acknowledged.
func send(ctx context.Context, urls []string, seed uint64, to *sent) error {
	var wg sync.WaitGroup
	errs := make([]error, senders)
	for i := range senders {
		wg.Go(func() { errs[i] = sendSome(ctx, urls, rand.New(rand.NewPCG(seed, uint64(i))), to) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func sendSome(ctx context.Context, urls []string, random *rand.Rand, to *sent) error {
	for range batches {
		list := make([]event, batchEvents)
		for i := range list {
			list[i] = newEvent(random)
		}
		body, err := json.Marshal(map[string]any{"events": list})
		if err != nil {
			return err
		}
		if err := sendUntilAcknowledged(ctx, urls, random, body, to); err != nil {
			return err
		}
		to.acknowledge(list)
		if random.Float64() < again {
			if err := sendUntilAcknowledged(ctx, urls, random, body, to); err != nil {
				return err
			}
			to.repeat(len(list))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(random.Int64N(int64(longestPause)))):
		}
	}
	return nil
}

func (s *sent) acknowledge(list []event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		s.ids.Add(list[i].id[:])
	}
	s.acknowledged += int64(len(list))
}

func (s *sent) repeat(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.duplicates += int64(n)
}

// sendUntilAcknowledged sends a batch to one service after the other until one acknowledges all of it. A service that was
// killed may have recorded it without saying so.
func sendUntilAcknowledged(ctx context.Context, urls []string, random *rand.Rand, body []byte, to *sent) error {
	for at := random.IntN(len(urls)); ; at++ {
		err := post(ctx, urls[at%len(urls)], body)
		if err == nil || ctx.Err() != nil || errors.Is(err, errRefused) {
			return err
		}
		to.mu.Lock()
		to.retries++
		to.mu.Unlock()
		select {
		case <-ctx.Done():
			return fmt.Errorf("a batch is not acknowledged: %w", err)
		case <-time.After(retryPause):
		}
	}
}

// errRefused means that the service calls the events wrong, which the harness takes for its own mistake.
var errRefused = errors.New("events refused")

func post(ctx context.Context, url string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/marquee.ingest.v1.IngestService/RecordEvents", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	status, answer, err := do(req)
	if err != nil {
		return err
	}
	if status == http.StatusBadRequest {
		return fmt.Errorf("%w: %s", errRefused, answer)
	}
	if status != http.StatusOK {
		return fmt.Errorf("status %d: %s", status, answer)
	}
	var reply struct {
		Results []struct {
			Accepted bool `json:"accepted"`
		} `json:"results"`
	}
	if err := json.Unmarshal(answer, &reply); err != nil {
		return err
	}
	if len(reply.Results) != batchEvents {
		return fmt.Errorf("%w: %d events got %d results", errRefused, batchEvents, len(reply.Results))
	}
	for _, r := range reply.Results {
		if !r.Accepted {
			return fmt.Errorf("%w: %s", errRefused, answer)
		}
	}
	return nil
}

func get(ctx context.Context, url string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	return do(req)
}

// do asks on a connection of its own: one that was kept may lead to a process that is dead.
func do(req *http.Request) (int, []byte, error) {
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return resp.StatusCode, answer, err
}
