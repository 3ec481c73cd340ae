package consumer

import (
	"context"
	"errors"
	"maps"

	"marquee/ingest/events"
	"marquee/internal/logid"
)

// follow makes sure that the broker's log is the one that the ledger's and the lake's positions belong to. What is new
// takes it up; a ledger that is new takes it from the lake.
func (m *Module) follow(ctx context.Context) error {
	log, err := logid.Of(ctx, m.client, topic)
	if err != nil {
		return err
	}
	inLake, known, err := events.ReadLog(ctx, m.deps.Lake)
	if err != nil {
		return err
	}
	want := logid.Entry{Log: log}
	if known {
		want.Bases = inLake.Bases
		if !inLake.Log.Same(log) {
			// The ledger's answer is the better one when it disagrees as well.
			if _, ok, err := m.ledger.Followed(ctx, topic); err != nil || !ok {
				return errors.Join(err, &logid.OtherError{Keeper: "the lake", Want: inLake.Log, Got: log})
			}
		}
	}
	entry, err := m.ledger.Follow(ctx, want)
	if err != nil {
		return err
	}
	if known && !inLake.Log.Same(log) {
		return &logid.OtherError{Keeper: "the lake", Want: inLake.Log, Got: log}
	}
	if known && maps.Equal(inLake.Bases, entry.Bases) {
		return nil
	}
	return events.WriteLog(ctx, m.deps.Lake, entry)
}
