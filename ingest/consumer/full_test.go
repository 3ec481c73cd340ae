package consumer_test

import (
	"context"
	"testing"
	"time"

	"connectrpc.com/connect"

	"marquee/ingest/broker"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/testkit"
)

// TestFullDisks fills the disk of one engine after the other while events come in. A full broker refuses them; behind any
// other the consumer waits, and what was acknowledged is in both sinks, once, when there is room again.
func TestFullDisks(t *testing.T) {
	for _, c := range []struct {
		role, name string
		size       int64
		keep       int64
	}{
		{"broker", "broker", 64 << 20, 1 << 20},
		{"broker", "broker to the last byte", 64 << 20, 0},
		{"warehouse", "warehouse", 128 << 20, 1 << 20},
		{"database", "database", 8 << 20, 1 << 20},
		{"lake", "lake", 8 << 20, 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			role, disk, dir := c.role, testkit.NeedDisk(t, c.size), t.TempDir()
			e := openEnginesIn(t, "embedded:", c.keep, func(r string) string {
				if r == role {
					return disk.Dir
				}
				return dir
			})
			e.cfg.FlushInterval = 50 * time.Millisecond
			m := e.consumer()
			e.record(0, 2000)
			e.caughtUp(m)
			late := batches(2000, 2000)
			disk.Fill(t)
			if role == "broker" {
				e.refused(late)
			} else {
				e.record(2000, 2000)
				e.retried(3)
			}
			disk.Free(t)
			if role == "broker" {
				e.insist(late)
			}
			e.record(4000, 1000)
			e.caughtUp(m)
			check(t, m.Stop(context.WithoutCancel(t.Context())))
			if inLake, inHouse := e.counts(); inLake.Events != 5000 || inHouse != 5000 {
				t.Errorf("5000 events acknowledged, lake %+v, warehouse %d", inLake, inHouse)
			}
			e.publisher.Close()
			check(t, e.broker.Close())
			cfg := broker.DefaultConfig()
			cfg.MinFreeBytes = c.keep
			again := must(broker.Open(t.Context(), cfg, map[bool]string{true: disk.Dir, false: dir}[role == "broker"], testkit.Log(t)))(t)
			check(t, again.Close())
		})
	}
}

func batches(first, n int) [][]*ingestv1.WatchEvent {
	var out [][]*ingestv1.WatchEvent
	for at := first; at < first+n; at += 100 {
		out = append(out, batch(at, 100))
	}
	return out
}

// refused sends batches that must be answered UNAVAILABLE.
func (e *engines) refused(list [][]*ingestv1.WatchEvent) {
	e.t.Helper()
	for _, b := range list {
		if err := e.send(b); connect.CodeOf(err) != connect.CodeUnavailable {
			e.t.Fatalf("sent to a full broker: %v", err)
		}
	}
}

// insist sends batches until they are taken.
func (e *engines) insist(list [][]*ingestv1.WatchEvent) {
	e.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for _, b := range list {
		for err := e.send(b); err != nil; err = e.send(b) {
			if connect.CodeOf(err) != connect.CodeUnavailable || time.Now().After(deadline) {
				e.t.Fatal(err)
			}
		}
	}
}

func (e *engines) send(events []*ingestv1.WatchEvent) error {
	_, err := e.service.RecordEvents(e.t.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: events}))
	return err
}

// retried waits until the consumer has tried in vain so many times.
func (e *engines) retried(times float64) {
	e.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		families, err := e.metrics.Gather()
		check(e.t, err)
		n := 0.0
		for _, f := range families {
			for _, metric := range f.GetMetric() {
				if f.GetName() == "marquee_ingest_retries_total" {
					n += metric.GetCounter().GetValue()
				}
			}
		}
		if n >= times {
			return
		}
		if time.Now().After(deadline) {
			e.t.Fatalf("the consumer tried %v times in vain, of %v", n, times)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
