package compact

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"marquee/ingest/events"
	"marquee/internal/lake"
)

// sweep deletes what was replaced before the grace began, and what interrupted runs left behind: data files first, then the
// manifests that named them. Nothing of it counts any more, so the order is of no consequence to readers.
func (r *run) sweep(ctx context.Context) error {
	set, err := events.Open(ctx, r.Lake)
	if err != nil {
		return err
	}
	w := &sweeper{run: r, set: set, since: make(map[string]time.Time)}
	manifests, err := w.readReplaced(ctx)
	if err != nil {
		return err
	}
	if err := w.deleteFiles(ctx); err != nil {
		return err
	}
	for _, key := range manifests {
		if err := r.delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// sweeper is one sweep.
type sweeper struct {
	*run
	set *events.Set
	// since says of the files that manifests name since when they do not count; the zero time is for those that do.
	since map[string]time.Time
}

// over says that the grace of what does not count since then is over.
func (w *sweeper) over(since time.Time) bool {
	return w.options.Erase != nil || w.now.Sub(since) > w.cfg.Grace
}

// readReplaced notes the files that are named, and returns the replaced manifests whose grace is over.
func (w *sweeper) readReplaced(ctx context.Context) (manifests []string, err error) {
	for _, f := range w.set.Files() {
		w.since[f.Key] = time.Time{}
	}
	for _, key := range w.set.Replaced() {
		m, isCompacted, err := w.set.ReadReplaced(ctx, key)
		if errors.Is(err, lake.ErrCorrupt) {
			w.Log.Warn("a replaced manifest is not readable: it is left", "manifest", key, "error", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		var spans []events.Span
		if isCompacted {
			spans = m.Covers
		} else if span, ok := spanOf(rangeManifest, key); ok {
			spans = []events.Span{span}
		}
		since, ok := w.coveredSince(spans)
		if !ok {
			w.Log.Warn("a replaced manifest covers what the lake does not have: it is left", "manifest", key)
			since = w.now
		}
		if isCompacted {
			for _, f := range m.Files {
				w.since[f.Key] = since
			}
		}
		if w.over(since) && ok {
			manifests = append(manifests, key)
		}
	}
	return manifests, nil
}

// coveredSince is when the manifests that have all of some spans were written, the last of them.
func (w *sweeper) coveredSince(spans []events.Span) (time.Time, bool) {
	var last int64
	for _, span := range spans {
		at, ok := w.set.CoveredSince(span)
		if !ok {
			return time.Time{}, false
		}
		last = max(last, at)
	}
	return time.UnixMicro(last), true
}

// The names of what a sweep may delete.
var (
	compactedFile = regexp.MustCompile(`/c\d{10,}-[0-9a-f]+-\d+\.parquet$`)
	rangeFile     = regexp.MustCompile(`/p(\d+)-(\d+)-(\d+)\.parquet$`)
	rangeManifest = regexp.MustCompile(`/p(\d+)-(\d+)-(\d+)\.json$`)
)

// deleteFiles deletes the data files that do not count. A range's files that nothing covers are left: a consumer that sleeps
// may yet write the manifest.
func (w *sweeper) deleteFiles(ctx context.Context) error {
	for o, err := range w.Lake.List(ctx, events.Prefix+"dt=") {
		if err != nil {
			return err
		}
		since, named := w.since[o.Key]
		switch {
		case named && since.IsZero():
			continue
		case named:
		case compactedFile.MatchString(o.Key):
			since = o.ModTime
		default:
			span, isRange := spanOf(rangeFile, o.Key)
			at, covered := w.set.CoveredSince(span)
			if !isRange || !covered {
				continue
			}
			// If it was written later, by a consumer that was paused, nobody reads it.
			since = time.UnixMicro(at)
		}
		if !w.over(since) {
			continue
		}
		if err := w.delete(ctx, o.Key); err != nil {
			return err
		}
	}
	return nil
}

// spanOf is the range that a key names.
func spanOf(name *regexp.Regexp, key string) (events.Span, bool) {
	part := name.FindStringSubmatch(key)
	if part == nil {
		return events.Span{}, false
	}
	partition, err1 := strconv.ParseInt(part[1], 10, 32)
	first, err2 := strconv.ParseInt(part[2], 10, 64)
	last, err3 := strconv.ParseInt(part[3], 10, 64)
	return events.Span{Partition: int32(partition), First: first, Last: last}, err1 == nil && err2 == nil && err3 == nil
}

func (r *run) delete(ctx context.Context, key string) error {
	if err := r.step("delete"); err != nil {
		return err
	}
	if !r.options.DryRun {
		if err := r.Lake.Delete(ctx, key); err != nil && !lake.IsNotExist(err) {
			return fmt.Errorf("delete lake file %s: %w", key, err)
		}
	}
	r.summary.Deleted++
	return nil
}
