package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"marquee/internal/datadir"
)

const (
	embeddedUser = "marquee"
	// sweepEvery is how often retention runs and the marks are written.
	sweepEvery = time.Minute
	// never, in the broker's cleaner setting, is a hundred years of milliseconds: more would overflow its timer.
	never = 100 * 365 * 24 * 3600 * 1000
)

// embedded is a broker in this process.
type embedded struct {
	dir      string
	lock     *datadir.Dir
	password string
	log      *slog.Logger
	cluster  *kfake.Cluster
	client   *kgo.Client
	adm      *kadm.Client

	stop   context.CancelFunc
	done   sync.WaitGroup
	closed sync.Once
	err    error
}

func startEmbedded(ctx context.Context, dir string, cfg Config, acceptLoss bool, log *slog.Logger) (*embedded, error) {
	// The log holds what people watched.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := datadir.Open(dir, "embedded broker")
	if err != nil {
		return nil, err
	}
	e := &embedded{dir: dir, lock: lock, password: rand.Text(), log: log}
	if err := e.start(ctx, cfg, acceptLoss); err != nil {
		return nil, errors.Join(err, e.shut())
	}
	sweeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop = stop
	e.done.Go(func() { e.sweepLoop(sweeping) })
	return e, nil
}

// start runs the broker and holds what it read from disk against the marks. With acceptLoss, what is missing is filled by
// placeholders, and the broker started again over them.
func (e *embedded) start(ctx context.Context, cfg Config, acceptLoss bool) error {
	if !acceptLoss {
		if err := checkSegments(e.dir); err != nil {
			return err
		}
	}
	if err := e.run(cfg); err != nil {
		return err
	}
	losses, err := e.losses(ctx)
	if err != nil {
		return err
	}
	if len(losses) == 0 {
		return e.writeMarks(ctx)
	}
	if !acceptLoss {
		return &LossError{Dir: e.dir, Losses: losses}
	}
	e.halt()
	for _, loss := range losses {
		e.log.Warn("records are lost; their offsets are skipped", "topic", loss.Topic, "partition", loss.Partition,
			"from", loss.End, "to", loss.Want)
		if err := writePlaceholder(e.dir, loss); err != nil {
			return fmt.Errorf("skip the lost offsets of %s[%d]: %w", loss.Topic, loss.Partition, err)
		}
	}
	if err := e.run(cfg); err != nil {
		return err
	}
	return e.writeMarks(ctx)
}

// run starts the broker's own machinery over what is on disk.
func (e *embedded) run(cfg Config) error {
	if err := repairLogs(e.dir, e.log); err != nil {
		return err
	}
	// The account is new at every start; a stored one would win over it.
	if err := os.Remove(filepath.Join(e.dir, "sasl.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var err error
	e.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(1),
		// For a new folder: an old one keeps the id it was given, which tells its log from every other.
		kfake.ClusterID("marquee-"+rand.Text()), kfake.DataDir(e.dir), kfake.SyncWrites(),
		kfake.WithLogger(serverLog{e.log}),
		kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", embeddedUser, e.password),
		kfake.BrokerConfigs(map[string]string{
			// Its own retention takes the last record, and the offsets with it; its compaction deletes files before it has
			// written their successors. Both run on this one timer.
			"log.cleaner.backoff.ms": strconv.FormatInt(never, 10),
			// A group's place in the log does not expire while the service is off.
			"offsets.retention.minutes": strconv.Itoa(math.MaxInt32),
			// What Kafka allows is a setting there; here ingest.session_timeout may be what it likes.
			"group.min.session.timeout.ms": "1000",
			"message.max.bytes":            strconv.Itoa(int(cfg.MaxBatchBytes)),
		}))
	if err != nil {
		return err
	}
	e.cluster.ControlKey(int16(kmsg.DeleteRecords), e.keepLastRecord)
	space := &room{dir: e.dir, limit: cfg.MaxBytes, keep: cfg.MinFreeBytes, log: e.log}
	e.cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		// Kept also after a refusal, which would else have been the last.
		e.cluster.KeepControl()
		return space.admit(request)
	})
	t := e.target()
	security, err := t.securityOpts()
	if err != nil {
		return err
	}
	e.client, err = kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(t.seeds...), kgo.ClientID(clientName + "-keeper"), kgo.WithLogger(clientLog{e.log}),
	}, security...)...)
	if err != nil {
		return err
	}
	e.adm = kadm.NewClient(e.client)
	return nil
}

// keepLastRecord lets a client delete records of a partition, but never the last: the broker reads the offsets of its
// partitions from the records they hold. It runs while the broker handles the request and changes it before it is obeyed.
func (e *embedded) keepLastRecord(request kmsg.Request) (kmsg.Response, error, bool) {
	r, ok := request.(*kmsg.DeleteRecordsRequest)
	if !ok {
		return nil, nil, false
	}
	for _, topic := range r.Topics {
		for i := range topic.Partitions {
			p := &topic.Partitions[i]
			info := e.cluster.PartitionInfo(topic.Topic, p.Partition)
			if info != nil && (p.Offset == -1 || p.Offset == info.HighWatermark) {
				p.Offset = lastKept(info)
			}
		}
	}
	return nil, nil, false
}

// lastKept is the offset up to which a partition's records may be deleted.
func lastKept(p *kfake.PartitionInfo) int64 { return max(p.LogStartOffset, p.HighWatermark-1) }

func (e *embedded) target() target {
	return target{
		embedded: true, seeds: e.cluster.ListenAddrs(), user: embeddedUser, password: e.password, sasl: "scram-sha-256",
	}
}

func (e *embedded) url() string {
	u := url.URL{
		Scheme: "kafka", User: url.UserPassword(embeddedUser, e.password), Host: e.cluster.ListenAddrs()[0],
		RawQuery: "sasl=scram-sha-256",
	}
	return u.String()
}

// halt stops the broker's machinery; what it knows is on disk then.
func (e *embedded) halt() {
	if e.client != nil {
		e.client.Close()
	}
	if e.cluster != nil {
		e.cluster.Close()
	}
	e.client, e.cluster = nil, nil
}

func (e *embedded) shut() error {
	e.halt()
	return e.lock.Close()
}

func (e *embedded) close() error {
	e.closed.Do(func() {
		e.stop()
		e.done.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		e.err = errors.Join(e.writeMarks(ctx), e.shut())
	})
	return e.err
}
