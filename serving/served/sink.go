package served

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	servingv1 "marquee/serving/v1"
)

const (
	// group is the sink's consumer group: its members share the topic's partitions.
	group = "marquee-served"
	// maxAnswers bounds how many answers are inserted at a time.
	maxAnswers = 2000
	// firstPause and longestPause are those after an insert that failed.
	firstPause, longestPause = 200 * time.Millisecond, 10 * time.Second
)

// insert names its columns, so that the table can gain others.
const insert = `INSERT INTO served_raw (profile_id, request_id, row, rank, at, rpc, bundle_id, policy, arms, country, device_class, degraded,
	history_length, kind, subject, title_id, score, source, propensity, feature_names, features)`

// Erased says which profiles are erased: nothing of theirs is kept.
type Erased func() (generation int64, is func(profileID string) bool)

// Sink brings the served log into the warehouse. It is an app module.
type Sink struct {
	connect Connect
	conn    driver.Conn
	erased  Erased
	log     *slog.Logger
	rows    prometheus.Counter
	refused prometheus.Counter
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// NewSink makes the sink; the warehouse must be migrated before it starts. erased may be nil where nobody can be.
func NewSink(connect Connect, conn driver.Conn, erased Erased, log *slog.Logger, reg prometheus.Registerer) *Sink {
	if erased == nil {
		erased = func() (int64, func(string) bool) { return 0, func(string) bool { return false } }
	}
	s := &Sink{
		connect: connect, conn: conn, erased: erased, log: log,
		rows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "marquee_serving_served_rows_total", Help: "Rows of served titles inserted into the warehouse.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "marquee_serving_served_unreadable_total", Help: "Records of the served log that could not be read.",
		}),
	}
	reg.MustRegister(s.rows, s.refused)
	return s
}

// Name returns "served".
func (s *Sink) Name() string { return "served" }

// Start starts consuming.
func (s *Sink) Start(context.Context) error {
	client, err := s.connect(kgo.ConsumerGroup(group), kgo.ConsumeTopics(servingv1.TopicServed), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.BlockRebalanceOnPoll(), kgo.FetchMaxWait(time.Second))
	if err != nil {
		return fmt.Errorf("open a broker client for the served log: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.done.Go(func() {
		defer client.CloseAllowingRebalance()
		s.run(ctx, client)
	})
	return nil
}

// Ready returns nil: answers do not hang on where they are logged.
func (s *Sink) Ready(context.Context) error { return nil }

// Stop ends consuming. What was inserted and not committed comes again, and changes nothing.
func (s *Sink) Stop(ctx context.Context) error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	stopped := make(chan struct{})
	go func() {
		s.done.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop following the served log: %w", ctx.Err())
	}
}

func (s *Sink) run(ctx context.Context, client *kgo.Client) {
	for ctx.Err() == nil {
		fetches := client.PollRecords(ctx, maxAnswers)
		for _, e := range fetches.Errors() {
			if ctx.Err() == nil {
				s.log.Warn("reading the served log", "partition", e.Partition, "error", e.Err)
			}
		}
		records := fetches.Records()
		s.write(ctx, records)
		if ctx.Err() == nil && len(records) > 0 {
			if err := client.CommitRecords(ctx, records...); err != nil && ctx.Err() == nil {
				s.log.Warn("the place in the served log was not committed; what follows comes again", "error", err)
			}
		}
		client.AllowRebalance()
	}
}

// write inserts the records, however often that takes.
func (s *Sink) write(ctx context.Context, records []*kgo.Record) {
	for pause := firstPause; len(records) > 0; pause = min(2*pause, longestPause) {
		n, err := s.insert(ctx, records)
		if err == nil {
			s.rows.Add(float64(n))
			return
		}
		if ctx.Err() != nil {
			return
		}
		s.log.Warn("answers could not be inserted, trying again", "answers", len(records), "error", err, "pause", pause)
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

func (s *Sink) insert(ctx context.Context, records []*kgo.Record) (rows int, err error) {
	batch, err := s.conn.PrepareBatch(ctx, insert)
	if err != nil {
		return 0, fmt.Errorf("prepare the insert of served titles: %w", err)
	}
	defer func() { _ = batch.Close() }() // after Send, closing is no news
	_, erased := s.erased()
	for _, r := range records {
		answer, err := Decode(r.Value)
		if err != nil {
			s.refused.Inc()
			s.log.Warn("a record of the served log cannot be read", "partition", r.Partition, "offset", r.Offset, "error", err)
			continue
		}
		if erased(answer.GetProfileId()) {
			continue
		}
		if err := appendRows(batch, answer); err != nil {
			return 0, fmt.Errorf("fill the insert of served titles: %w", err)
		}
	}
	if rows = batch.Rows(); rows == 0 {
		return 0, nil
	}
	if err := batch.Send(); err != nil {
		return 0, fmt.Errorf("insert %d served titles: %w", rows, err)
	}
	return rows, nil
}

// Decode reads a record's value. An answer whose lists are not of one length is refused.
func Decode(value []byte) (*servingv1.Served, error) {
	s := new(servingv1.Served)
	if err := proto.Unmarshal(value, s); err != nil {
		return nil, fmt.Errorf("value is not a Served: %w", err)
	}
	if s.GetRequestId() == "" || s.GetProfileId() == "" {
		return nil, errors.New("request_id and profile_id are required")
	}
	for i, r := range s.GetRows() {
		n := len(r.GetTitleIds())
		if len(r.GetScores()) != n || len(r.GetSources()) != n || len(r.GetPropensities()) != n || len(r.GetFeatures()) != n*len(r.GetFeatureNames()) {
			return nil, fmt.Errorf("row %d has %d titles, and other numbers of scores, sources, propensities or features", i, n)
		}
		for rank, p := range r.GetPropensities() {
			if !(p > 0 && p <= 1) {
				return nil, fmt.Errorf("row %d, rank %d: propensity must be above 0 and at most 1, is %g", i, rank, p)
			}
		}
	}
	return s, nil
}

func appendRows(batch driver.Batch, s *servingv1.Served) error {
	arms := s.GetArms()
	if arms == nil {
		arms = map[string]string{}
	}
	for i, r := range s.GetRows() {
		names := r.GetFeatureNames()
		for rank, title := range r.GetTitleIds() {
			err := batch.Append(s.GetProfileId(), s.GetRequestId(), uint32(i), uint32(rank), time.UnixMicro(s.GetAt()).UTC(), s.GetRpc(),
				s.GetBundleId(), s.GetPolicy(), arms, s.GetCountry(), s.GetDeviceClass(), some(s.GetDegraded()), s.GetHistoryLength(),
				r.GetKind(), r.GetSubject(), title, r.GetScores()[rank], r.GetSources()[rank], r.GetPropensities()[rank],
				some(names), some(r.GetFeatures()[rank*len(names):(rank+1)*len(names)]))
			if err != nil {
				return fmt.Errorf("answer %s: %w", s.GetRequestId(), err)
			}
		}
	}
	return nil
}

// some is a list that is not nil, as columns want it.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
