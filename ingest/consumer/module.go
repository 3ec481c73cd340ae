// Package consumer moves watch events from the broker into the warehouse and the lake.
//
// Each partition has one worker. It gathers records into a range, fixes the range in the ledger, writes both sinks side
// by side, records each in the ledger, and goes on with the next. What the ledger says decides where a partition is
// taken up again, and a range left open by whoever had the partition before is finished first, exactly as it was fixed.
// The group's committed offsets only show the lag to other tools.
package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/ingest"
	"marquee/ingest/ledger"
	"marquee/ingest/sink"
	"marquee/ingest/suppression"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/db"
	"marquee/internal/lake"
)

const (
	topic = ingestv1.TopicWatchEvents
	// maxPoll bounds the records taken from the client at a time, and with them how far BufferBytes can be exceeded.
	maxPoll = 10_000
	// commitInterval is how often finished positions are shown to the group coordinator.
	commitInterval = time.Second
	// pruneInterval is how often finished ranges leave the ledger.
	pruneInterval = time.Hour
	// reclaimDelay is how long a partition whose worker ended by itself rests before it is claimed again. When two
	// processes believe a partition theirs, it gives the group time to settle which.
	reclaimDelay = time.Second
)

// Deps are the engines the module stands on. All are required and stay open until the module has stopped.
type Deps struct {
	// NewClient opens a client of the broker.
	NewClient ingest.ClientFactory
	DB        *db.DB
	// Warehouse is a connection to a warehouse whose migrations have run.
	Warehouse  driver.Conn
	Lake       *lake.Lake
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Module is the ingest consumer as a part of the service.
type Module struct {
	cfg       ingest.Config
	deps      Deps
	log       *slog.Logger
	metrics   *metrics
	warehouse warehouseSink
	lake      lakeSink
	// inserts and files are the turns at the warehouse and the lake.
	inserts, files turns
	batches        sync.Pool

	ledger *ledger.Ledger
	// suppressed is the list of erased profiles.
	suppressed *suppression.List
	client     *kgo.Client
	admin      *kadm.Client
	progress   *Progress
	holder     string

	// running ends the loops.
	running context.Context
	halt    context.CancelFunc
	loops   sync.WaitGroup
	// up is closed when Start has set everything; the client's callbacks, which come earlier, wait for it.
	up chan struct{}

	mu      sync.Mutex
	workers map[int32]*worker
	// again are partitions whose worker ended by itself, and when to claim them again.
	again map[int32]time.Time
	// refused are the partitions that must not be consumed, and why.
	refused map[int32]error

	// buffered is the size of the records held; room is signalled when it falls.
	buffered atomic.Int64
	// starved counts workers that cannot finish an open range before more records arrive.
	starved atomic.Int64
	room    chan struct{}
}

// The sinks as the workers use them.
type (
	warehouseSink interface {
		Write(ctx context.Context, r ledger.Range, b *sink.Batch) error
	}
	lakeSink interface {
		Write(ctx context.Context, r ledger.Range, b *sink.Batch) ([]lake.FileInfo, error)
	}
)

// New makes the module. The configuration must be valid.
func New(cfg ingest.Config, deps Deps) (*Module, error) {
	m := &Module{
		cfg: cfg, deps: deps, log: deps.Log.With("module", "ingest"), metrics: newMetrics(),
		warehouse: sink.NewWarehouse(deps.Warehouse), lake: sink.NewLake(deps.Lake), inserts: newTurns(), files: newTurns(),
		workers: make(map[int32]*worker), refused: make(map[int32]error), again: make(map[int32]time.Time),
		room: make(chan struct{}, 1), up: make(chan struct{}),
	}
	m.batches.New = func() any { return sink.NewBatch(1024) }
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	m.holder = fmt.Sprintf("%s, process %d", host, os.Getpid())
	return m, m.metrics.register(deps.Registerer)
}

// Name is ingest.
func (m *Module) Name() string { return "ingest" }

// Start opens the ledger and joins the consumer group.
func (m *Module) Start(ctx context.Context) error {
	var err error
	if m.ledger, err = ledger.New(ctx, m.deps.DB); err != nil {
		return err
	}
	if err := m.ledger.Check(ctx, topic); err != nil {
		return err
	}
	if m.suppressed, err = suppression.Open(ctx, m.deps.DB); err != nil {
		return err
	}
	m.running, m.halt = context.WithCancel(context.Background())
	m.client, err = m.deps.NewClient(
		kgo.ConsumerGroup(m.cfg.Group),
		kgo.ConsumeTopics(topic),
		// The ledger says where to begin. An offset it gives that the broker does not have is an error, never a jump.
		kgo.AdjustFetchOffsetsFn(m.assign),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.OnPartitionsRevoked(m.revoked),
		kgo.OnPartitionsLost(m.lost),
		// What a poll returned is handed out before its partitions can move.
		kgo.BlockRebalanceOnPoll(),
		// Control records are offsets too: a range must cover them.
		kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.SessionTimeout(m.cfg.SessionTimeout),
		kgo.HeartbeatInterval(m.cfg.SessionTimeout/5),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(commitInterval),
		kgo.FetchMaxBytes(int32(min(m.cfg.BufferBytes, 32<<20))),
		kgo.FetchMaxPartitionBytes(int32(min(m.cfg.BatchBytes, 8<<20))),
		kgo.RequiredAcks(kgo.AllISRAcks()),
	)
	if err != nil {
		return fmt.Errorf("open the event consumer: %w", err)
	}
	if err := m.follow(ctx); err != nil {
		m.client.CloseAllowingRebalance()
		m.client = nil
		return err
	}
	m.admin = kadm.NewClient(m.client)
	m.progress = NewProgress(m.client, m.ledger)
	close(m.up)
	m.loops.Go(m.poll)
	m.loops.Go(m.prune)
	return nil
}

// Ready says whether the consumer runs and may consume what it was given.
func (m *Module) Ready(context.Context) error {
	select {
	case <-m.up:
	default:
		return errors.New("not started")
	}
	if m.running.Err() != nil {
		return errors.New("stopped")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, err := range m.refused {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Stop finishes the ranges in flight within the context's deadline and leaves the group. What was not finished is taken
// up by the next owner.
func (m *Module) Stop(ctx context.Context) error {
	if m.client == nil {
		return nil
	}
	m.halt()
	m.loops.Wait()
	m.mu.Lock()
	all := make([]*worker, 0, len(m.workers))
	for _, w := range m.workers {
		all = append(all, w)
	}
	m.mu.Unlock()
	abandoned := stopAll(ctx, all)
	m.client.CloseAllowingRebalance()
	if abandoned > 0 {
		return fmt.Errorf("%d ranges were in flight at the deadline; they will be finished at the next start", abandoned)
	}
	return nil
}

// CaughtUp waits until everything that is on the broker at the time of the call is in both sinks.
func (m *Module) CaughtUp(ctx context.Context) error { return m.progress.CaughtUp(ctx) }

// DrainTo waits until each partition's offset (included) is in both sinks.
func (m *Module) DrainTo(ctx context.Context, offsets map[int32]int64) error {
	return m.progress.DrainTo(ctx, offsets)
}

// Ledger returns the ledger, once started.
func (m *Module) Ledger() *ledger.Ledger { return m.ledger }

// poll hands records to the workers until the module stops.
func (m *Module) poll() {
	for m.awaitRoom() {
		m.reclaim()
		ctx, cancel := context.WithTimeout(m.running, reclaimDelay)
		fetches := m.client.PollRecords(ctx, maxPoll)
		cancel()
		if fetches.IsClientClosed() || m.running.Err() != nil {
			return
		}
		fetches.EachError(m.fetchError)
		m.mu.Lock()
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if w := m.workers[p.Partition]; w != nil {
				w.highWater.Store(p.HighWatermark + w.base)
				w.put(p.Records)
			}
		})
		m.mu.Unlock()
		m.client.AllowRebalance()
	}
}

// awaitRoom waits until the records held leave room for more, and reports whether the module still runs. A worker that
// needs more records to finish an open range is never made to wait for others to finish theirs.
func (m *Module) awaitRoom() bool {
	for m.buffered.Load() >= m.cfg.BufferBytes && m.starved.Load() == 0 {
		m.metrics.throttled.Inc()
		select {
		case <-m.room:
		case <-m.running.Done():
			return false
		}
	}
	return m.running.Err() == nil
}

// hold and release account for records in memory.
func (m *Module) hold(bytes int64) { m.metrics.buffered.Set(float64(m.buffered.Add(bytes))) }

func (m *Module) release(bytes int64) {
	m.metrics.buffered.Set(float64(m.buffered.Add(-bytes)))
	m.signalRoom()
}

func (m *Module) signalRoom() {
	select {
	case m.room <- struct{}{}:
	default:
	}
}

func (m *Module) fetchError(topic string, partition int32, err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		return // nothing came for a while
	}
	if errors.Is(err, kerr.OffsetOutOfRange) || errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.UnknownTopicOrPartition) {
		// Claiming again finds out whether records are gone or the whole log is another one.
		m.claimAgain(partition)
	}
	m.metrics.fetchErrors.Inc()
	m.log.Error("fetch from the broker", "topic", topic, "partition", partition, "error", err)
}

// prune forgets old ranges now and then.
func (m *Module) prune() {
	tick := time.NewTicker(pruneInterval)
	defer tick.Stop()
	for {
		select {
		case <-m.running.Done():
			return
		case <-tick.C:
			if _, err := m.ledger.Prune(m.running, time.Now().Add(-m.cfg.LedgerRetention)); err != nil && m.running.Err() == nil {
				m.log.Error("prune the ledger", "error", err)
			}
		}
	}
}
