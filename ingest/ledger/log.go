package ledger

import (
	"context"
	"fmt"
	"strings"

	"github.com/uptrace/bun"

	"marquee/internal/logid"
)

const keeper = "the ingest ledger"

// Follow makes the ledger follow a log, unless it follows one already: then the error is a *logid.OtherError if that is
// another. A ledger that is new follows the log with the bases given.
func (l *Ledger) Follow(ctx context.Context, e logid.Entry) (logid.Entry, error) {
	return l.book.Follow(ctx, keeper, e)
}

// Followed returns the log of a topic that the ledger follows, and whether it follows one.
func (l *Ledger) Followed(ctx context.Context, topic string) (logid.Entry, bool, error) {
	return l.book.Entry(ctx, l.db, topic)
}

// base returns a partition's base in the log that is followed, which must be the one given. A topic that is not followed
// yet has none.
func (l *Ledger) base(ctx context.Context, q bun.IDB, log logid.Log, partition int32) (int64, error) {
	e, ok, err := l.book.Entry(ctx, q, log.Topic)
	if err != nil || !ok {
		return 0, err
	}
	if !e.Log.Same(log) {
		return 0, &logid.OtherError{Keeper: keeper, Want: e.Log, Got: log}
	}
	return e.Bases[partition], nil
}

// Adoption says how another log is to take the place of the one that is followed.
type Adoption struct {
	Log logid.Log
	// Starts are the first offsets of the log's partitions. What the ledger has goes on with them.
	Starts map[int32]int64
	// SameOffsets says that the log is a copy of the old one, record by record at the same offsets: then positions go on
	// where they are and Starts plays no part.
	SameOffsets bool
	// GiveUpOpen closes ranges that are in one sink at most, as lost: without the old log nobody can finish them.
	GiveUpOpen bool
}

// Adopted says what an adoption did.
type Adopted struct {
	// From is the log followed before; its Topic is empty when none was.
	From  logid.Log
	Entry logid.Entry
	// GivenUp are the ranges that were closed as lost.
	GivenUp []Range
}

// Adopt makes the ledger follow another log from now on, and fences every consumer of the old one. Adopting the log that
// is followed already changes nothing.
func (l *Ledger) Adopt(ctx context.Context, a Adoption) (Adopted, error) {
	var out Adopted
	err := l.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		out = Adopted{}
		e, ok, err := l.book.Entry(ctx, tx, a.Log.Topic)
		if err != nil {
			return err
		}
		if ok {
			out.From = e.Log
		}
		if ok && e.Log.Same(a.Log) {
			out.Entry = e
			return nil
		}
		rows, err := l.fenceAll(ctx, tx, a.Log.Topic, "adoption of another log")
		if err != nil {
			return err
		}
		if out.GivenUp, err = l.closeOpen(ctx, tx, a); err != nil {
			return err
		}
		out.Entry = logid.Entry{Log: a.Log, Bases: map[int32]int64{}}
		for _, p := range rows {
			out.Entry.Bases[p.PartitionNo] = p.NextOffset - a.Starts[p.PartitionNo]
			if a.SameOffsets {
				out.Entry.Bases[p.PartitionNo] = e.Bases[p.PartitionNo]
			}
		}
		return l.book.Adopt(ctx, tx, out.Entry)
	})
	if err != nil {
		return Adopted{}, fmt.Errorf("adopt %s: %w", a.Log, err)
	}
	return out, nil
}

// closeOpen closes the open ranges, or refuses to.
func (l *Ledger) closeOpen(ctx context.Context, tx bun.Tx, a Adoption) ([]Range, error) {
	if a.SameOffsets {
		return nil, nil // the copy has their records
	}
	open, err := openRows(ctx, tx, a.Log.Topic)
	if err != nil {
		return nil, err
	}
	ranges := make([]Range, len(open))
	names := make([]string, len(open))
	for i := range open {
		if ranges[i], err = open[i].toRange(); err != nil {
			return nil, err
		}
		names[i] = ranges[i].String()
	}
	if len(open) == 0 {
		return nil, nil
	}
	if !a.GiveUpOpen {
		return nil, fmt.Errorf("%d ranges of the log that is followed are not in both sinks yet (%s): start the service on its broker until "+
			"they are, or give up what is missing of them with --give-up-open", len(open), strings.Join(names, ", "))
	}
	for i := range open {
		open[i].State, open[i].FinishedAt = Lost, l.now().UnixMicro()
		if err := open[i].save(ctx, tx); err != nil {
			return nil, err
		}
	}
	return ranges, nil
}
