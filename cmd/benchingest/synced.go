package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"golang.org/x/sys/unix"

	"marquee/ingest/broker"
	ingestv1 "marquee/ingest/v1"
)

// synced says whether the broker had every acknowledged event on disk, and how that is known.
//
// Of the embedded broker the kernel is asked, right after an acknowledgement, how many pages of its log are not on disk:
// without syncing, those of the last seconds would not be. Of Kafka, the topic's setting is read.
func (r *run) synced(ctx context.Context) (bool, string, error) {
	if r.broker != "" {
		return kafkaSynced(ctx, r.broker)
	}
	// One batch more, so that what is asked about is a moment old and not what the kernel wrote back by itself.
	probe := newCaller(probeCaller)
	probe.requests = r.callers[0].requests
	if _, err := r.under(ctx, func(l *load) error { return l.send(ctx, probe, time.Now()) }); err != nil {
		return false, "", err
	}
	return logSynced(filepath.Join(r.service.data, "broker"))
}

// probeCaller is a caller number that no load uses.
const probeCaller = 60_000

// logSynced asks the kernel for pages of the embedded broker's log that are not on disk yet.
func logSynced(dir string) (bool, string, error) {
	var files, pages, dirty uint64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".dat") || !strings.Contains(path, ingestv1.TopicWatchEvents) {
			return err
		}
		c, err := cached(path)
		files, pages, dirty = files+1, pages+c.Cache, dirty+c.Dirty+c.Writeback
		return err
	})
	if errors.Is(err, unix.ENOSYS) {
		return true, "the embedded broker syncs always; this kernel cannot show it (cachestat is missing)", nil
	}
	if err != nil {
		return false, "", fmt.Errorf("ask the kernel about the broker's log: %w", err)
	}
	if files == 0 {
		return false, "", fmt.Errorf("no log of %s in %s", ingestv1.TopicWatchEvents, dir)
	}
	return dirty == 0, fmt.Sprintf("of %d pages of the log in memory right after an acknowledgement %d were not on disk", pages, dirty), nil
}

func cached(path string) (unix.Cachestat_t, error) {
	var stat unix.Cachestat_t
	f, err := os.Open(path)
	if err != nil {
		return stat, err
	}
	defer f.Close()
	err = unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &stat, 0)
	return stat, err
}

func kafkaSynced(ctx context.Context, url string) (_ bool, _ string, err error) {
	cfg := broker.DefaultConfig()
	cfg.URL = url
	b, err := broker.Open(ctx, cfg, "", quiet())
	if err != nil {
		return false, "", err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	client, err := b.NewClient()
	if err != nil {
		return false, "", err
	}
	defer client.Close()
	described, err := kadm.NewClient(client).DescribeTopicConfigs(ctx, ingestv1.TopicWatchEvents)
	if err != nil {
		return false, "", fmt.Errorf("ask the broker for the topic's settings: %w", err)
	}
	topic, err := described.On(ingestv1.TopicWatchEvents, nil)
	if err = errors.Join(err, topic.Err); err != nil {
		return false, "", fmt.Errorf("ask the broker for the topic's settings: %w", err)
	}
	for _, c := range topic.Configs {
		if c.Key == "flush.messages" {
			return c.MaybeValue() == "1", "the topic's flush.messages is " + c.MaybeValue(), nil
		}
	}
	return false, "the broker does not tell the topic's flush.messages", nil
}
