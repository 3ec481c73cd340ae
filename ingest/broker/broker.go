// Package broker opens the event log by URL: Apache Kafka and what speaks its protocol, or a broker inside this process for
// one node. Both are used through the same franz-go client, so the rest of the service differs by an address alone.
//
// The embedded broker is franz-go's kfake on disk, every write synced before it is acknowledged. Around it stands what a
// log that must not lose anything also needs: one owner of its folder, an account that only this process knows, retention
// that never takes a partition's last record (kfake would forget the offsets with it), no compaction (kfake's is not safe
// against a crash; who reads a compacted topic from its start still finds the latest value of every key), and durable marks
// that show at the next start whether records are missing. See LossError.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const clientName = "marquee"

// Broker is an open broker. It is safe for concurrent use.
type Broker struct {
	cfg      Config
	url      string
	target   target
	opts     []kgo.Opt
	log      *slog.Logger
	embedded *embedded // nil for Kafka
}

// Open opens the broker of cfg.URL and returns when it answers, or fails within cfg.ConnectTimeout. An embedded broker
// without a folder of its own lives in dataDir/broker. Close it after its clients.
func Open(ctx context.Context, cfg Config, dataDir string, log *slog.Logger) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, url: cfg.URL, log: log.With("component", "broker")}
	var err error
	if b.target, err = parse(cfg.URL); err != nil {
		return nil, fmt.Errorf("broker.url: %w", err)
	}
	if b.target.embedded {
		err = b.openEmbedded(ctx, dataDir)
	} else {
		err = b.openKafka(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open broker %s: %w", Redact(cfg.URL), err)
	}
	return b, nil
}

func (b *Broker) openEmbedded(ctx context.Context, dataDir string) error {
	dir := b.target.dir
	if dir == "" {
		dir = filepath.Join(dataDir, "broker")
	}
	var err error
	if b.embedded, err = startEmbedded(ctx, dir, b.cfg, b.target.acceptLoss, b.log); err != nil {
		return err
	}
	b.url, b.target = b.embedded.url(), b.embedded.target()
	if b.opts, err = b.target.securityOpts(); err != nil {
		return errors.Join(err, b.embedded.close())
	}
	b.log.Info("embedded broker open", "dir", dir, "address", b.target.seeds[0])
	return nil
}

func (b *Broker) openKafka(ctx context.Context) error {
	var err error
	if b.opts, err = b.target.securityOpts(); err != nil {
		return err
	}
	if b.target.sasl == "plain" && !b.target.tls {
		b.log.Warn("the broker's password crosses the network in the clear: use tls=true or a scram mechanism")
	}
	client, err := b.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := b.awaitAnswer(ctx, client); err != nil {
		return err
	}
	b.log.Info("broker open", "seeds", b.target.seeds)
	return nil
}

// awaitAnswer asks until a broker answers. A broker that is just starting refuses connections for a while; one that refuses
// the account will not change its mind.
func (b *Broker) awaitAnswer(ctx context.Context, client *kgo.Client) error {
	limited, cancel := context.WithTimeout(ctx, b.cfg.ConnectTimeout)
	defer cancel()
	var last error
	for {
		err := client.Ping(limited)
		if err == nil {
			return nil
		}
		if errors.Is(err, kerr.SaslAuthenticationFailed) || errors.Is(err, kerr.UnsupportedSaslMechanism) {
			return fmt.Errorf("%s does not accept the account: %w", strings.Join(b.target.seeds, ", "), err)
		}
		if last == nil || limited.Err() == nil {
			last = err
		}
		select {
		case <-limited.Done():
			if err := ctx.Err(); err != nil {
				return errors.Join(err, last)
			}
			return fmt.Errorf("no answer from %s within %v: %w", strings.Join(b.target.seeds, ", "), b.cfg.ConnectTimeout, last)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// NewClient makes a client of the broker: writes are acknowledged by every in-sync replica, once each (idempotent), and log
// lines go to the broker's log. opts come last and win. The caller closes the client.
func (b *Broker) NewClient(opts ...kgo.Opt) (*kgo.Client, error) {
	client, err := kgo.NewClient(append(b.clientOpts(), opts...)...)
	if err != nil {
		return nil, fmt.Errorf("make a broker client: %w", err)
	}
	return client, nil
}

func (b *Broker) clientOpts() []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(b.target.seeds...),
		kgo.ClientID(clientName),
		kgo.SoftwareNameAndVersion(clientName, "1"),
		kgo.WithLogger(clientLog{b.log}),
		kgo.DialTimeout(b.cfg.ConnectTimeout),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(2 * time.Millisecond),
		kgo.ProducerBatchMaxBytes(b.cfg.MaxBatchBytes),
		// A topic that was just created, or a leader that moves, is not an error to give up on at once.
		kgo.UnknownTopicRetries(20),
	}, b.opts...)
}

// Embedded says that the broker lives in this process.
func (b *Broker) Embedded() bool { return b.embedded != nil }

// Seeds are the host:port addresses clients begin with.
func (b *Broker) Seeds() []string { return slices.Clone(b.target.seeds) }

// URL opens the same broker from another process on this machine; of an embedded broker it is good until Close. It carries
// the password: never print it.
func (b *Broker) URL() string { return b.url }

// Close closes an embedded broker and gives its folder free. Of Kafka it has nothing to close.
func (b *Broker) Close() error {
	if b.embedded == nil {
		return nil
	}
	if err := b.embedded.close(); err != nil {
		return fmt.Errorf("close the embedded broker: %w", err)
	}
	return nil
}
