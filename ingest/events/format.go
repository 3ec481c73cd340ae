// Package events is the one reader of watch events over the lake. Everything that reads the lake's events goes through
// it, because the raw files may hold an event more than once: a client that got no answer sends its events again, and
// both copies stay. The reader yields each event_id once, the copy that came first in the log.
//
// Layout: `events/dt=YYYY-MM-DD/…parquet`, where dt is the UTC date of received_at, so a day that is over is never
// reopened, whatever arrives late. Columns have the names and types of the warehouse's events_raw, enums as strings and
// times as TIMESTAMP(MICROS, UTC). A file exists when a manifest under `events/manifests/` names it. There are two kinds:
//
//   - A range of the log becomes one file a date it touches, `p<partition>-<first>-<last>.parquet` with rows in log order, and
//     one manifest, `p<partition>-<first>-<last>.json`, written last.
//   - Compaction makes day files of them, `c<number>-<attempt>-<n>.parquet` with rows sorted by profile and time, and one
//     manifest, `c<number>.json`. The one with the highest number counts, and those it names; a range that they cover counts
//     no more. What was replaced is deleted when readers of before have had time to finish.
//
// Whoever reads the folders without manifests (DuckDB, Spark, polars, pandas) sees replaced files for that long beside those that
// took their places, and repeats in any case: count distinct event_id, or take the files from `marquee lake files`.
package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"marquee/internal/lake"
)

// The lake's folders.
const (
	Prefix         = "events/"
	ManifestPrefix = "events/manifests/"
)

// MaintenanceLease is the lease that Maintain takes.
const MaintenanceLease = "lake events"

// ManifestVersion is the version of the manifest's format.
const ManifestVersion = 1

// Row is one event as the lake's files hold it. It is the Parquet schema.
type Row struct {
	EventID        [16]byte `parquet:"event_id,uuid"`
	SchemaVersion  uint32   `parquet:"schema_version,uint(16)"`
	ProfileID      string   `parquet:"profile_id"`
	TitleID        string   `parquet:"title_id,dict"`
	PlayableID     string   `parquet:"playable_id,dict"`
	PlayID         string   `parquet:"play_id"`
	Type           string   `parquet:"type,dict"`
	OccurredAt     int64    `parquet:"occurred_at,timestamp(microsecond),delta"`
	ReceivedAt     int64    `parquet:"received_at,timestamp(microsecond),delta"`
	SessionID      string   `parquet:"session_id"`
	DeviceClass    string   `parquet:"device_class,dict"`
	Country        string   `parquet:"country,dict"`
	Surface        string   `parquet:"surface,dict"`
	Autoplay       bool     `parquet:"autoplay"`
	PositionMS     int64    `parquet:"position_ms"`
	WatchedMS      int64    `parquet:"watched_ms"`
	DurationMS     int64    `parquet:"duration_ms"`
	Query          string   `parquet:"query"`
	RequestID      string   `parquet:"request_id"`
	Row            *uint32  `parquet:"row,optional"`
	Rank           *uint32  `parquet:"rank,optional"`
	SeenTitleIDs   []string `parquet:"seen_title_ids,list"`
	ImportID       string   `parquet:"import_id,dict"`
	ClockSkew      int64    `parquet:"clock_skew"`
	KafkaPartition int32    `parquet:"kafka_partition"`
	KafkaOffset    int64    `parquet:"kafka_offset,delta"`
	// UnknownFields are the fields of the event that the release which stored it did not know, in protobuf wire form. Files
	// of the first release have no such column.
	UnknownFields []byte `parquet:"unknown_fields,dict"`
}

// EffectiveAt is when the event happened as far as can be known: occurred_at, or received_at where the client's clock
// cannot be right. Microseconds since the Unix epoch.
func (r *Row) EffectiveAt() int64 {
	if r.ClockSkew != 0 {
		return r.ReceivedAt
	}
	return r.OccurredAt
}

// File is one data file of a manifest.
type File struct {
	lake.FileInfo
	Rows int64 `json:"rows"`
}

// Date is the file's UTC day of received_at, as 2006-01-02; empty for a key that names none.
func (f File) Date() string {
	const begin, end = len(Prefix) + len("dt="), len(Prefix) + len("dt=2006-01-02")
	if len(f.Key) < end {
		return ""
	}
	return f.Key[begin:end]
}

// Month is the month of the file's day, as 2006-01.
func (f File) Month() string { return f.Date()[:min(len(f.Date()), len("2006-01"))] }

// Day is the file's day as days since the Unix epoch; -1 for a key that names none.
func (f File) Day() int64 {
	at, err := time.Parse(time.DateOnly, f.Date())
	if err != nil {
		return -1
	}
	return at.Unix() / secondsPerDay
}

// Manifest says what one range of the log became. It is a pure function of the range, so writing it again changes
// nothing.
type Manifest struct {
	Version   int    `json:"version"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// First and Last are the range's offsets, both included.
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	// Epoch is the ledger epoch the range was fixed under.
	Epoch int64 `json:"epoch"`
	// Dead is how many records of the range became dead letters.
	Dead  int64  `json:"dead"`
	Files []File `json:"files"`
	// Checksum is the SHA-256 of all the rest. The first release wrote none.
	Checksum string `json:"checksum,omitempty"`
}

// Rows is the number of raw rows in the manifest's files.
func (m *Manifest) Rows() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Rows
	}
	return n
}

// Key is the manifest's key in the lake.
func (m *Manifest) Key() string { return ManifestKey(m.Partition, m.First, m.Last) }

// ManifestKey is the key of a range's manifest.
func ManifestKey(partition int32, first, last int64) string {
	return fmt.Sprintf("%sp%d-%d-%d.json", ManifestPrefix, partition, first, last)
}

// FileKey is the key of a range's data file for a day, which is days since the Unix epoch, UTC.
func FileKey(day int64, partition int32, first, last int64) string {
	return fmt.Sprintf("%s/p%d-%d-%d.parquet", dayFolder(day), partition, first, last)
}

// dayFolder is the folder of a day's files.
func dayFolder(day int64) string {
	return Prefix + "dt=" + time.Unix(day*secondsPerDay, 0).UTC().Format(time.DateOnly)
}

const secondsPerDay = 24 * 60 * 60

// Day returns the UTC day of a time in microseconds, as days since the Unix epoch.
func Day(micros int64) int64 {
	const microsPerDay = secondsPerDay * 1_000_000
	day := micros / microsPerDay
	if micros%microsPerDay < 0 {
		day--
	}
	return day
}

// Encode writes the manifest with its checksum; the same manifest always gives the same bytes.
func (m *Manifest) Encode() ([]byte, error) { return encodeSummed(m.Key(), m, &m.Checksum) }

// encodeBare is how the first release wrote manifests: without checksum.
func (m *Manifest) encodeBare() ([]byte, error) {
	m.Checksum = ""
	out, err := json.MarshalIndent(m, "", "  ")
	return append(out, '\n'), err
}

// DecodeManifest reads and checks a manifest found under the given key.
func DecodeManifest(key string, content []byte) (*Manifest, error) {
	var m Manifest
	encode := m.Encode
	if !bytes.Contains(content, []byte(`"checksum"`)) {
		encode = m.encodeBare
	}
	if err := decodeSummed(content, &m, &m.Version, ManifestVersion, &m.Checksum, encode); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", key, err)
	}
	if err := m.check(key); err != nil {
		return nil, fmt.Errorf("manifest %s: %w: %w", key, err, lake.ErrCorrupt)
	}
	return &m, nil
}

func (m *Manifest) check(key string) error {
	if m.Partition < 0 || m.First < 0 || m.Last < m.First || m.Dead < 0 {
		return fmt.Errorf("partition %d, first %d, last %d, dead %d is no range of a log", m.Partition, m.First, m.Last, m.Dead)
	}
	if key != m.Key() {
		return fmt.Errorf("its content belongs under %s", m.Key())
	}
	var rows int64
	suffix := fmt.Sprintf("/p%d-%d-%d.parquet", m.Partition, m.First, m.Last)
	for _, f := range m.Files {
		if !strings.HasPrefix(f.Key, Prefix+"dt=") || !strings.HasSuffix(f.Key, suffix) || len(f.SHA256) != 64 || f.Bytes <= 0 || f.Rows <= 0 {
			return fmt.Errorf("file %q (%d rows, %d bytes, SHA-256 %q) is not one of this range's", f.Key, f.Rows, f.Bytes, f.SHA256)
		}
		rows += f.Rows
	}
	if rows < 0 || rows > m.Last-m.First+1-m.Dead {
		return fmt.Errorf("%d rows and %d dead letters do not fit in offsets %d to %d", rows, m.Dead, m.First, m.Last)
	}
	return nil
}
