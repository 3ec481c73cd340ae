package compact

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"marquee/ingest/events"
	"marquee/internal/lake"
)

// sweep deletes what was replaced before the grace began, and what interrupted runs left behind.
func (r *run) sweep(ctx context.Context) error {
	set, err := events.Open(ctx, r.Lake)
	if err != nil {
		return err
	}
	at := make(map[int64]time.Time)
	for _, s := range append(set.Sources(), set.Replaced()...) {
		if s.Number > 0 {
			at[s.Number] = time.UnixMicro(s.At)
		}
	}
	for _, s := range set.Replaced() {
		if replaced, ok := at[s.ReplacedBy]; ok && len(s.Replaces)+len(s.Covers) > 0 && r.now.Sub(replaced) > r.cfg.Grace {
			if err := r.deleteReplaced(ctx, s); err != nil {
				return err
			}
		}
	}
	return r.deleteLeft(ctx)
}

// deleteReplaced deletes a manifest's files and then it. A compacted one is not deleted but emptied: its number stays taken.
func (r *run) deleteReplaced(ctx context.Context, s *events.Source) error {
	for _, f := range s.Files {
		if err := r.delete(ctx, f.Key); err != nil {
			return err
		}
	}
	if s.Number == 0 {
		return r.delete(ctx, s.Key)
	}
	// What it replaced must be gone first, or would count again.
	for _, key := range s.Replaces {
		there, err := r.Lake.Exists(ctx, key)
		if err != nil {
			return fmt.Errorf("look for %s: %w", key, err)
		}
		if content, err := r.Lake.ReadFile(ctx, key); there && (err != nil || !emptied(key, content)) {
			return err
		}
	}
	stub := &events.Compacted{Version: events.CompactedVersion, Number: s.Number, Topic: s.Topic, At: s.At, ReplacedBy: s.ReplacedBy}
	content, err := stub.Encode()
	if err != nil {
		return err
	}
	if err := r.step("empty"); err != nil {
		return err
	}
	_, err = r.Lake.WriteBytes(ctx, s.Key, content)
	return err
}

// emptied says that a manifest is an emptied one, which replaces nothing.
func emptied(key string, content []byte) bool {
	c, err := events.DecodeCompacted(key, content)
	return err == nil && c.ReplacedBy != 0
}

func (r *run) delete(ctx context.Context, key string) error {
	if err := r.step("delete"); err != nil {
		return err
	}
	err := r.Lake.Delete(ctx, key)
	if lake.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete lake file %s: %w", key, err)
	}
	r.summary.Deleted++
	return nil
}

// The names of data files.
var (
	compactedFile = regexp.MustCompile(`/c\d{10}-[0-9a-f]+-\d+\.parquet$`)
	rangeFile     = regexp.MustCompile(`/p(\d+)-(\d+)-(\d+)\.parquet$`)
)

// deleteLeft deletes data files that no manifest names and that none will: those of compactions that were interrupted, and
// those of ranges whose manifest is there without them. A range's files without any manifest are left: a consumer that
// sleeps may yet write it.
func (r *run) deleteLeft(ctx context.Context) error {
	set, err := events.Open(ctx, r.Lake)
	if err != nil {
		return err
	}
	named := make(map[string]bool)
	for _, s := range append(set.Sources(), set.Replaced()...) {
		for _, f := range s.Files {
			named[f.Key] = true
		}
	}
	for o, err := range r.Lake.List(ctx, events.Prefix+"dt=") {
		if err != nil {
			return err
		}
		if named[o.Key] || r.now.Sub(o.ModTime) <= r.cfg.Grace || !compactedFile.MatchString(o.Key) && !coveredRange(set, o.Key) {
			continue
		}
		if err := r.delete(ctx, o.Key); err != nil {
			return err
		}
	}
	return nil
}

// coveredRange says that a key is a range's file and that manifests have all of the range.
func coveredRange(set *events.Set, key string) bool {
	part := rangeFile.FindStringSubmatch(key)
	if part == nil {
		return false
	}
	partition, err1 := strconv.ParseInt(part[1], 10, 32)
	first, err2 := strconv.ParseInt(part[2], 10, 64)
	last, err3 := strconv.ParseInt(part[3], 10, 64)
	return err1 == nil && err2 == nil && err3 == nil && set.Covers(int32(partition), first, last)
}
