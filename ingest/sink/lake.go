package sink

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"marquee/ingest/events"
	"marquee/ingest/ledger"
	"marquee/internal/crashpoint"
	"marquee/internal/lake"
)

// chunkRows is how many rows are turned from columns into rows at a time.
const chunkRows = 1024

// Lake writes ranges as Parquet files. It is safe for concurrent use.
type Lake struct {
	lake  *lake.Lake
	names names
}

// NewLake makes the sink over an open lake.
func NewLake(l *lake.Lake) *Lake {
	return &Lake{lake: l, names: enumNames()}
}

// newWriter makes a writer for one file. One that was used before would lay its pages out by what it held then, and the
// bytes must be a function of the range alone.
func newWriter(to io.Writer) *parquet.GenericWriter[events.Row] {
	return parquet.NewGenericWriter[events.Row](to,
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest, Concurrency: 1}),
		parquet.CreatedBy("marquee", "1", ""),
		parquet.DataPageStatistics(true),
		parquet.MaxRowsPerRowGroup(256<<10),
	)
}

// Write writes the range's files, one a UTC date of received_at, and then its manifest. A range that is already there,
// whole, is left alone: a former owner may have finished it, with other code.
func (s *Lake) Write(ctx context.Context, r ledger.Range, b *Batch) ([]lake.FileInfo, error) {
	if there := s.existing(ctx, r); there != nil {
		return infos(there), nil
	}
	m := &events.Manifest{
		Version: events.ManifestVersion, Topic: r.Topic, Partition: r.Partition, First: r.First, Last: r.Last, Epoch: r.Epoch,
		Dead: b.dead, Files: []events.File{},
	}
	for _, day := range b.days() {
		key := events.FileKey(day.day, r.Partition, r.First, r.Last)
		info, err := s.lake.WriteFile(ctx, key, func(w io.Writer) error { return s.writeRows(w, b, day.rows) })
		if err != nil {
			return nil, err
		}
		m.Files = append(m.Files, events.File{FileInfo: info, Rows: int64(len(day.rows))})
	}
	crashpoint.At(crashpoint.LakeFiles)
	content, err := m.Encode()
	if err != nil {
		return nil, err
	}
	if _, err := s.lake.WriteBytes(ctx, m.Key(), content); err != nil {
		return nil, err
	}
	return infos(m), nil
}

// existing returns the range's manifest when it is there, whole, and its files are what it says. Whatever is wrong with
// it, the range is at hand and is written again: that mends it, or fails in its own right.
func (s *Lake) existing(ctx context.Context, r ledger.Range) *events.Manifest {
	key := events.ManifestKey(r.Partition, r.First, r.Last)
	if there, err := s.lake.Exists(ctx, key); err != nil || !there {
		return nil
	}
	content, err := s.lake.ReadFile(ctx, key)
	if err != nil {
		return nil
	}
	m, err := events.DecodeManifest(key, content)
	if err != nil {
		return nil
	}
	for _, f := range m.Files {
		if s.lake.Verify(ctx, f.FileInfo) != nil {
			return nil
		}
	}
	return m
}

func infos(m *events.Manifest) []lake.FileInfo {
	out := make([]lake.FileInfo, len(m.Files))
	for i, f := range m.Files {
		out[i] = f.FileInfo
	}
	return out
}

// dayRows are the indexes of a day's events, in log order.
type dayRows struct {
	day  int64
	rows []int32
}

// days groups the batch by the UTC date of received_at, in date order. Nearly always there is one.
func (b *Batch) days() []dayRows {
	byDay := make(map[int64]*dayRows)
	var current *dayRows
	for i, at := range b.receivedAt {
		day := events.Day(at)
		if current == nil || current.day != day {
			if current = byDay[day]; current == nil {
				current = &dayRows{day: day}
				byDay[day] = current
			}
		}
		current.rows = append(current.rows, int32(i))
	}
	out := make([]dayRows, 0, len(byDay))
	for _, d := range byDay {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b dayRows) int { return int(a.day - b.day) })
	return out
}

func (s *Lake) writeRows(to io.Writer, b *Batch, rows []int32) error {
	w := newWriter(to)
	chunk := make([]events.Row, min(chunkRows, len(rows)))
	for part := range slices.Chunk(rows, chunkRows) {
		for i, at := range part {
			s.fill(&chunk[i], b, int(at))
		}
		if _, err := w.Write(chunk[:len(part)]); err != nil {
			return fmt.Errorf("write parquet rows: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("finish the parquet file: %w", err)
	}
	return nil
}

func (s *Lake) fill(r *events.Row, b *Batch, i int) {
	*r = events.Row{
		EventID: b.eventID[i], SchemaVersion: uint32(b.schemaVersion[i]), ProfileID: b.profileID[i], TitleID: b.titleID[i],
		PlayableID: b.playableID[i], PlayID: b.playID[i], Type: s.names.types[b.eventType[i]], OccurredAt: b.occurredAt[i],
		ReceivedAt: b.receivedAt[i], SessionID: b.sessionID[i], DeviceClass: s.names.devices[b.deviceClass[i]], Country: b.country[i],
		Surface: b.surface[i], Autoplay: b.autoplay[i], PositionMS: b.positionMS[i], WatchedMS: b.watchedMS[i],
		DurationMS: b.durationMS[i], Query: b.query[i], RequestID: b.requestID[i], Row: b.row[i], Rank: b.rank[i],
		SeenTitleIDs: b.seen[i], ImportID: b.importID[i], ClockSkew: b.clockSkew[i], KafkaPartition: b.partition[i],
		KafkaOffset: b.offset[i], UnknownFields: []byte(b.unknown[i]),
	}
}
