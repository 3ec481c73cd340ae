package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/catalog"
	catalogv1 "marquee/catalog/v1"
	"marquee/ingest/events"
	"marquee/ingest/ledger"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/logid"
	"marquee/serving/state"
)

// logOf asks the broker which log it has under a topic's name.
func (e *engines) logOf(ctx context.Context, topic string) (logid.Log, error) {
	client, err := e.NewClient()
	if err != nil {
		return logid.Log{}, err
	}
	defer client.Close()
	return logid.Of(ctx, client, topic)
}

// logHistory is the warehouse's history for a service that goes on with the broker's log: where the warehouse says
// positions, the log is asked for offsets.
type logHistory struct {
	state.HistoryLoader
	e *engines
}

// Load gives the history, and the offsets of the broker's log to go on from. When the warehouse's positions belong to
// another log it gives none, and the whole log is read: what is there twice changes nothing.
func (h logHistory) Load(ctx context.Context, titles int, give func(state.Event)) (map[int32]int64, error) {
	positions, err := h.HistoryLoader.Load(ctx, titles, give)
	if err != nil {
		return nil, err
	}
	log, err := h.e.logOf(ctx, ingestv1.TopicWatchEvents)
	if err != nil {
		return nil, err
	}
	book, err := logid.OpenBook(ctx, h.e.db)
	if err != nil {
		return nil, err
	}
	entry, ok, err := book.Entry(ctx, h.e.db, log.Topic)
	if err != nil {
		return nil, err
	}
	if ok && !entry.Log.Same(log) {
		h.e.log.Error("the log is read from its beginning",
			"error", &logid.OtherError{Keeper: "the warehouse's history", Want: entry.Log, Got: log})
		return nil, nil
	}
	for p := range positions {
		positions[p] = max(positions[p]-entry.Bases[p], 0)
	}
	return positions, nil
}

type eventsAdoptLogCommand struct {
	SameOffsets bool `help:"The broker's log is a copy of the old one, every record at its old offset (a restored or mirrored cluster)."`
	GiveUpOpen  bool `help:"Give up records that were being written to warehouse and lake when the old log was lost."`
	JSON        bool `help:"Print JSON."`
}

// adoption is what adopt-log did.
type adoption struct {
	// Events and Titles are the logs that are followed from now on.
	Events logid.Entry `json:"events"`
	Titles logid.Log   `json:"titles"`
	// Changed is false when the events' log was followed already.
	Changed bool `json:"changed"`
	// GivenUp names the ranges that were closed as lost.
	GivenUp []string `json:"given_up"`
	// TitlesToPublish is how many titles the catalogue will publish into its new log.
	TitlesToPublish int64 `json:"titles_to_publish"`
}

// Run makes everything that is stored by offset go on with the logs of the broker that is configured now.
func (a eventsAdoptLogCommand) Run(c *console) (err error) {
	e, err := c.open(alone)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	out, err := a.adopt(c.ctx, e)
	if err != nil {
		return err
	}
	if a.JSON {
		return printJSON(c.stdout, out)
	}
	if !out.Changed {
		fmt.Fprintf(c.stdout, "events: %s is followed already\n", out.Events.Log)
	} else {
		fmt.Fprintf(c.stdout, "events: following %s from now on\n", out.Events.Log)
	}
	for _, r := range out.GivenUp {
		fmt.Fprintf(c.stdout, "given up: %s; `marquee warehouse rebuild` takes what the warehouse has of it out again\n", r)
	}
	fmt.Fprintf(c.stdout, "titles: following %s; %d titles wait to be published\n", out.Titles, out.TitlesToPublish)
	return nil
}

// adopt can be repeated: what an interrupted run has done stays as it is.
func (a eventsAdoptLogCommand) adopt(ctx context.Context, e *engines) (*adoption, error) {
	client, err := e.NewClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	out := &adoption{GivenUp: []string{}}
	if err := a.adoptEvents(ctx, e, client, out); err != nil {
		return nil, err
	}
	if out.Titles, err = logid.Of(ctx, client, catalogv1.TopicTitleChanges); err != nil {
		return nil, err
	}
	out.TitlesToPublish, err = catalog.AdoptLog(ctx, e.db, out.Titles)
	return out, err
}

func (a eventsAdoptLogCommand) adoptEvents(ctx context.Context, e *engines, client *kgo.Client, out *adoption) error {
	log, err := logid.Of(ctx, client, ingestv1.TopicWatchEvents)
	if err != nil {
		return err
	}
	l, err := ledger.New(ctx, e.db)
	if err != nil {
		return err
	}
	starts, err := kadm.NewClient(client).ListStartOffsets(ctx, log.Topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("ask the broker where %s starts: %w", log.Topic, err)
	}
	from := map[int32]int64{}
	starts.Each(func(o kadm.ListedOffset) { from[o.Partition] = o.Offset })
	done, err := l.Adopt(ctx, ledger.Adoption{Log: log, Starts: from, SameOffsets: a.SameOffsets, GiveUpOpen: a.GiveUpOpen})
	if err != nil {
		return err
	}
	out.Events, out.Changed = done.Entry, !done.From.Same(log)
	for _, r := range done.GivenUp {
		out.GivenUp = append(out.GivenUp, r.String())
	}
	return events.WriteLog(ctx, e.lake, done.Entry)
}
