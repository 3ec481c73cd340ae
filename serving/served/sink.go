package served

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	servingv1 "marquee/serving/v1"
)

const (
	// group is the sink's consumer group: its members share the topic's partitions.
	group = "marquee-served"
	// maxAnswers and maxBytes bound what is inserted at a time: a home page is as long as ten lists.
	maxAnswers, maxBytes = 5000, 4 << 20
	// gather is for how long answers are gathered for an insert: each insert makes a part of the table, which the warehouse must merge.
	gather = time.Second
	// firstPause and longestPause are those after an insert that failed.
	firstPause, longestPause = 200 * time.Millisecond, 10 * time.Second
)

// insert names its columns, so that the table can gain others.
const insert = `INSERT INTO served_raw (profile_id, request_id, row, rank, at, rpc, bundle_id, policy, arms, country, device_class, degraded,
	history_length, kind, subject, feature_names, title_ids, scores, sources, propensities, features)`

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
		records := s.gather(ctx, client)
		s.write(ctx, records)
		if ctx.Err() == nil && len(records) > 0 {
			if err := client.CommitRecords(ctx, records...); err != nil && ctx.Err() == nil {
				s.log.Warn("the place in the served log was not committed; what follows comes again", "error", err)
			}
		}
		client.AllowRebalance()
	}
}

// gather waits for answers and returns those of the time from the first on.
func (s *Sink) gather(ctx context.Context, client *kgo.Client) (records []*kgo.Record) {
	const polled = 500 // at a time, by which maxBytes may be passed
	poll, bytes := ctx, 0
	for len(records) < maxAnswers && bytes < maxBytes && poll.Err() == nil {
		fetches := client.PollRecords(poll, min(polled, maxAnswers-len(records)))
		for _, e := range fetches.Errors() {
			if poll.Err() == nil {
				s.log.Warn("reading the served log", "partition", e.Partition, "error", e.Err)
			}
		}
		got := fetches.Records()
		if len(got) == 0 {
			break // time is up, or a failure
		}
		if len(records) == 0 {
			bounded, cancel := context.WithTimeout(ctx, gather)
			defer cancel()
			poll = bounded
		}
		for _, r := range got {
			bytes += len(r.Value)
		}
		records = append(records, got...)
	}
	return records
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

func (s *Sink) insert(ctx context.Context, records []*kgo.Record) (titles int, err error) {
	_, erased := s.erased()
	var b columns
	for _, r := range records {
		answer, err := Decode(r.Value)
		if err != nil {
			s.refused.Inc()
			s.log.Warn("a record of the served log cannot be read", "partition", r.Partition, "offset", r.Offset, "error", err)
			continue
		}
		if !erased(answer.GetProfileId()) {
			b.add(answer)
		}
	}
	if len(b.profile) == 0 {
		return 0, nil
	}
	// A token of its own keeps the warehouse from leaving a block out that it noted before it was killed, and does not have.
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": uuid.NewString()}))
	batch, err := s.conn.PrepareBatch(ctx, insert)
	if err != nil {
		return 0, fmt.Errorf("prepare the insert of served titles: %w", err)
	}
	defer func() { _ = batch.Close() }() // after Send, closing is no news
	for i, values := range b.all() {
		if err := batch.Column(i).Append(values); err != nil {
			return 0, fmt.Errorf("fill column %d of the insert of served titles: %w", i, err)
		}
	}
	if err := batch.Send(); err != nil {
		return 0, fmt.Errorf("insert %d served titles: %w", b.titles, err)
	}
	return b.titles, nil
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

// columns are lists of answers, a list of each column of the insert in its order.
type columns struct {
	titles              int
	profile, request    []string
	row, rank           []uint32
	at                  []time.Time
	rpc, bundle, policy []string
	arms                []map[string]string
	country, device     []string
	degraded            [][]string
	history             []uint32
	kind, subject       []string
	featureNames        [][]string
	titleIDs            [][]string
	scores              [][]float32
	sources             [][]string
	propensities        [][]float64
	features            [][]float32
}

func (b *columns) all() []any {
	return []any{
		b.profile, b.request, b.row, b.rank, b.at, b.rpc, b.bundle, b.policy, b.arms, b.country, b.device, b.degraded, b.history,
		b.kind, b.subject, b.featureNames, b.titleIDs, b.scores, b.sources, b.propensities, b.features,
	}
}

// add takes an answer's lists in. Those without a title leave nothing to say.
func (b *columns) add(s *servingv1.Served) {
	arms := s.GetArms()
	if arms == nil {
		arms = map[string]string{}
	}
	at := time.UnixMicro(s.GetAt()).UTC()
	for i, r := range s.GetRows() {
		if len(r.GetTitleIds()) == 0 {
			continue
		}
		b.titles += len(r.GetTitleIds())
		b.profile, b.request = append(b.profile, s.GetProfileId()), append(b.request, s.GetRequestId())
		b.row, b.rank, b.at = append(b.row, uint32(i)), append(b.rank, 0), append(b.at, at)
		b.rpc, b.bundle, b.policy = append(b.rpc, s.GetRpc()), append(b.bundle, s.GetBundleId()), append(b.policy, s.GetPolicy())
		b.arms = append(b.arms, arms)
		b.country, b.device = append(b.country, s.GetCountry()), append(b.device, s.GetDeviceClass())
		b.degraded, b.history = append(b.degraded, s.GetDegraded()), append(b.history, s.GetHistoryLength())
		b.kind, b.subject = append(b.kind, r.GetKind()), append(b.subject, r.GetSubject())
		b.featureNames, b.titleIDs = append(b.featureNames, r.GetFeatureNames()), append(b.titleIDs, r.GetTitleIds())
		b.scores, b.sources = append(b.scores, r.GetScores()), append(b.sources, r.GetSources())
		b.propensities, b.features = append(b.propensities, r.GetPropensities()), append(b.features, r.GetFeatures())
	}
}
