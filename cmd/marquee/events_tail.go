package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

type eventsTailCommand struct {
	Profile string        `help:"Only this profile's events." placeholder:"ID"`
	Since   time.Duration `help:"Begin with what arrived this long ago; with what arrives from now on when not given." placeholder:"TIME"`
	Count   int           `help:"End after so many events; at Ctrl-C when not given." placeholder:"N"`
	JSON    bool          `help:"Print JSON, one event a line."`
}

// Run prints events as they arrive on the broker, before any sink has them.
func (t eventsTailCommand) Run(c *console) (err error) {
	if t.Since < 0 || t.Count < 0 {
		return usageError{errors.New("--since and --count must not be negative")}
	}
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	// Said of a topic that is not there, too: otherwise the client would wait for it without a word.
	if _, err := e.logOf(c.ctx, ingestv1.TopicWatchEvents); err != nil {
		return err
	}
	from := kgo.NewOffset().AfterMilli(time.Now().Add(-t.Since).UnixMilli())
	client, err := e.NewClient(kgo.ConsumeTopics(ingestv1.TopicWatchEvents), kgo.ConsumeResetOffset(from))
	if err != nil {
		return err
	}
	defer client.Close()
	if !t.JSON {
		fmt.Fprintf(c.stdout, tailLine, "arrived", "profile", "type", "title", "event")
	}
	for n := 0; t.Count == 0 || n < t.Count; {
		fetches := client.PollFetches(c.ctx)
		if c.ctx.Err() != nil {
			return nil // Ctrl-C is how a tail ends.
		}
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		for i := fetches.RecordIter(); !i.Done() && (t.Count == 0 || n < t.Count); {
			shown, err := t.show(c, i.Next())
			if err != nil {
				return err
			}
			if shown {
				n++
			}
		}
	}
	return nil
}

const tailLine = "%-24s  %-20s  %-14s  %-24s  %s\n"

// show prints a record's event, unless it is another profile's.
func (t eventsTailCommand) show(c *console, r *kgo.Record) (bool, error) {
	if t.Profile != "" && string(r.Key) != t.Profile {
		return false, nil
	}
	var d watchevent.Decoder
	e, refusal := d.Read(watchevent.Record{Value: r.Value, ContentType: headerOf(r, ingestv1.HeaderContentType), Timestamp: r.Timestamp.UnixMicro()})
	if refusal != nil {
		fmt.Fprintf(c.stderr, "partition %d, offset %d: no watch event: %v\n", r.Partition, r.Offset, refusal)
		return false, nil
	}
	if t.JSON {
		line, err := json.Marshal(e)
		if err != nil {
			return false, fmt.Errorf("show an event: %w", err)
		}
		_, err = fmt.Fprintf(c.stdout, "%s\n", line)
		return true, err
	}
	what := ""
	switch {
	case e.Query != "":
		what = fmt.Sprintf("searched %q", e.Query)
	case e.DurationMs > 0:
		what = fmt.Sprintf("%s of %s", time.Duration(e.WatchedMs)*time.Millisecond, time.Duration(e.DurationMs)*time.Millisecond)
	case e.WatchedMs > 0:
		what = (time.Duration(e.WatchedMs) * time.Millisecond).String()
	}
	_, err := fmt.Fprintf(c.stdout, tailLine, time.UnixMicro(e.ReceivedAt).UTC().Format("2006-01-02T15:04:05.000Z"), e.ProfileId,
		strings.ToLower(strings.TrimPrefix(e.Type.String(), "EVENT_TYPE_")), e.TitleId, what)
	return true, err
}

func headerOf(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
