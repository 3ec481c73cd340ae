package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/ingest/broker"
	ingestv1 "marquee/ingest/v1"
)

const (
	// ratingsPerUser and movies shape the data set that is imported: MovieLens 1M has 166 a user over 3,900 movies.
	ratingsPerUser = 160
	movies         = 4_000
	firstRating    = 978_300_760
	// barePerRound bounds the records produced bare at a time.
	barePerRound = 500_000
)

// importPhase imports a data set beside the service and produces its records bare.
func (r *run) importPhase(ctx context.Context) error {
	folder := filepath.Join(r.dir, "ml")
	if err := writeMovieLens(folder, r.imported); err != nil {
		return err
	}
	before, err := r.sinks.positions(ctx)
	if err != nil {
		return err
	}
	r.say("import: %d ratings", r.imported)
	elapsed, err := r.importFolder(ctx, folder)
	if err != nil {
		return err
	}
	r.result.Import = round(float64(r.imported) / elapsed.Seconds())
	r.say("import: %.0f events a second, from the start of the command until both sinks held them", r.result.Import)
	records, err := r.readBack(ctx, func(p int32) int64 { return before[p].Through + 1 })
	if err != nil {
		return err
	}
	if len(records) != r.imported {
		return fmt.Errorf("the log has %d records of the import, %d were expected", len(records), r.imported)
	}
	if r.result.BareProduce, err = r.produceBare(ctx, records[:min(len(records), barePerRound)]); err != nil {
		return err
	}
	r.result.ImportRatio = round(r.result.Import / r.result.BareProduce)
	if r.result.BareInsert > 0 {
		r.result.ImportInsertRatio = round(r.result.Import / r.result.BareInsert)
	}
	r.say("import: the same records produced bare %.0f a second; ratio %.3f", r.result.BareProduce, r.result.ImportRatio)
	return nil
}

// importFolder runs the import and returns how long it took until both sinks held everything.
func (r *run) importFolder(ctx context.Context, folder string) (time.Duration, error) {
	cmd := r.service.command("import", "movielens", folder, "--namespace", "bench", "--json")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cpu, start := readCPU(r.service.pid()), time.Now()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the import: %w", err)
	}
	forget := r.memory.include(cmd.Process.Pid, "importer")
	defer forget()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	counting := make(chan error, 1)
	counted, stop := context.WithCancel(ctx)
	defer stop()
	go func() { counting <- r.sinks.holds(counted, r.acked+r.imports+int64(r.imported)) }()
	var elapsed time.Duration
	select {
	case err := <-counting:
		if err != nil {
			return 0, errors.Join(err, cmd.Process.Kill(), <-ended)
		}
		elapsed = time.Since(start)
		r.result.ImportCPU = readCPU(r.service.pid()).since(cpu, int64(r.imported))
		r.result.ImportCPU.Importer = round(float64(cpuTime(cmd.Process.Pid).Microseconds()) / float64(r.imported))
	case err := <-ended:
		stop()
		return 0, fmt.Errorf("the import ended before everything was in both sinks: %w\n%s", err, out.String())
	}
	if err := <-ended; err != nil {
		return 0, fmt.Errorf("the import failed: %w\n%s", err, out.String())
	}
	r.imports += int64(r.imported)
	return elapsed, nil
}

// writeMovieLens writes a data set in the layout of MovieLens 1M: users one after the other, each with distinct movies.
func writeMovieLens(folder string, ratings int) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var films bytes.Buffer
	for m := 1; m <= movies; m++ {
		fmt.Fprintf(&films, "%d::Film number %d (%d)::Drama|Comedy\n", m, m, 1930+m%70)
	}
	if err := os.WriteFile(filepath.Join(folder, "movies.dat"), films.Bytes(), 0o644); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(folder, "ratings.dat"))
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	for n := range ratings {
		user, k := n/ratingsPerUser, n%ratingsPerUser
		// A user's movies differ because 1,009 has no factor in common with their number; times are spread over three years.
		movie := (user*37+k*1_009)%movies + 1
		at := firstRating + (n*7_919_001)%(3*365*24*3600)
		fmt.Fprintf(w, "%d::%d::%d::%d\n", user+1, movie, 1+n%5, at)
	}
	return errors.Join(w.Flush(), f.Close())
}

// readBack reads the records of the log from the given offset of each partition on.
func (r *run) readBack(ctx context.Context, from func(partition int32) int64) (_ []*kgo.Record, err error) {
	ends, err := r.sinks.positions(ctx)
	if err != nil {
		return nil, err
	}
	b, err := r.openBroker(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	starts := make(map[int32]kgo.Offset)
	missing := int64(0)
	for partition, end := range ends {
		if first := from(partition); first <= end.Through {
			starts[partition] = kgo.NewOffset().At(first)
			missing += end.Through + 1 - first
		}
	}
	client, err := b.NewClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{ingestv1.TopicWatchEvents: starts}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	records := make([]*kgo.Record, 0, missing)
	for int64(len(records)) < missing {
		fetches := client.PollFetches(ctx)
		if err := errors.Join(fetches.Err(), ctx.Err()); err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		records = append(records, fetches.Records()...)
	}
	return records, nil
}

func (r *run) openBroker(ctx context.Context) (*broker.Broker, error) {
	cfg := broker.DefaultConfig()
	cfg.URL = r.service.brokerURL()
	return broker.Open(ctx, cfg, "", quiet())
}

// produceBare produces records to a topic made like that of the events, several times, and returns the median rate.
func (r *run) produceBare(ctx context.Context, records []*kgo.Record) (_ float64, err error) {
	b, err := r.openBroker(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	positions, err := r.sinks.positions(ctx)
	if err != nil {
		return 0, err
	}
	settings := map[string]string{"cleanup.policy": "delete"}
	if r.broker != "" {
		settings["flush.messages"] = "1"
	}
	var rates []float64
	for range r.rounds {
		topic := fmt.Sprintf("bench-%d", time.Now().UnixNano())
		if err := b.EnsureTopics(ctx, broker.TopicSpec{Name: topic, Partitions: int32(len(positions)), ReplicationFactor: -1, Configs: settings}); err != nil {
			return 0, err
		}
		rate, err := produce(ctx, b, topic, records)
		if err != nil {
			return 0, err
		}
		rates = append(rates, rate)
	}
	slices.Sort(rates)
	return round(rates[len(rates)/2]), nil
}

// produce hands all records to a client with plain settings and returns the rate at which they were acknowledged.
func produce(ctx context.Context, b *broker.Broker, topic string, records []*kgo.Record) (float64, error) {
	client, err := b.NewClient(kgo.DefaultProduceTopic(topic), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	copies := make([]kgo.Record, len(records))
	for i, r := range records {
		copies[i] = kgo.Record{Key: r.Key, Value: r.Value}
	}
	var mu sync.Mutex
	var failed error
	start := time.Now()
	for i := range copies {
		client.Produce(ctx, &copies[i], func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = err
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return 0, fmt.Errorf("produce to %s: %w", topic, err)
	}
	elapsed := time.Since(start)
	mu.Lock()
	defer mu.Unlock()
	if failed != nil {
		return 0, fmt.Errorf("produce to %s: %w", topic, failed)
	}
	return float64(len(records)) / elapsed.Seconds(), nil
}
