package events

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"marquee/internal/lake"
)

// CompactedVersion is the version of the format of a Compacted.
const CompactedVersion = 1

// Span is a stretch of a partition's log, both ends included.
type Span struct {
	Partition int32 `json:"partition"`
	First     int64 `json:"first"`
	Last      int64 `json:"last"`
}

// DayFile is one data file of a Compacted. Its rows are sorted by profile_id, occurred_at, event_id and place in the log.
type DayFile struct {
	File
	// Types counts the rows of each type.
	Types map[string]int64 `json:"types"`
}

// Compacted is a manifest of day files. The one with the highest number says what counts: itself, those that it names, and the
// ranges that none of them covers. So it takes the places of others by being written; they and their files are kept for a
// while for readers that have listed the lake before.
type Compacted struct {
	Version int    `json:"version"`
	Number  int64  `json:"number"`
	Topic   string `json:"topic"`
	// At is when it was written: microseconds since the Unix epoch.
	At int64 `json:"at"`
	// Live are the numbers of the earlier manifests that count beside it, ascending. Any other is replaced.
	Live []int64 `json:"live"`
	// Covers is what it has of the log, in order.
	Covers []Span `json:"covers"`
	// Dead is how many records of it became dead letters.
	Dead int64 `json:"dead"`
	// Dropped counts the rows of each type that were left out for good, for retention or because they were erased.
	Dropped map[string]int64 `json:"dropped,omitempty"`
	Files   []DayFile        `json:"files"`
	// Through is the last position of each partition that this manifest and those before it cover; all of it is in the warehouse
	// too. The newest manifest is what a ledger is held against.
	Through map[int32]int64 `json:"through"`
	// Checksum is the SHA-256 of all the rest.
	Checksum string `json:"checksum"`
}

// Key is the manifest's key in the lake.
func (c *Compacted) Key() string { return CompactedKey(c.Number) }

// CompactedKey is the key of a compacted manifest.
func CompactedKey(number int64) string { return fmt.Sprintf("%sc%010d.json", ManifestPrefix, number) }

// compactedFileKey is the key of a day's nth file by an attempt to write the manifest of that number. attempt makes it
// unique: of two attempts at a number one succeeds, and the other's files must not be its.
func compactedFileKey(day, number int64, attempt string, n int) string {
	return fmt.Sprintf("%s/c%010d-%s-%03d.parquet", dayFolder(day), number, attempt, n)
}

// Encode writes the manifest with its checksum; the same manifest always gives the same bytes.
func (c *Compacted) Encode() ([]byte, error) {
	return encodeSummed(c.Key(), c, &c.Checksum)
}

// DecodeCompacted reads and checks a manifest found under the given key.
func DecodeCompacted(key string, content []byte) (*Compacted, error) {
	var c Compacted
	if err := decodeSummed(content, &c, &c.Version, CompactedVersion, &c.Checksum, c.Encode); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", key, err)
	}
	if c.Checksum == "" {
		return nil, fmt.Errorf("manifest %s has no checksum: %w", key, lake.ErrCorrupt)
	}
	if err := c.check(key); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", key, err)
	}
	return &c, nil
}

func (c *Compacted) check(key string) error {
	if c.Number < 1 || key != c.Key() {
		return fmt.Errorf("its content belongs under %s: %w", c.Key(), lake.ErrCorrupt)
	}
	for i, n := range c.Live {
		if n < 1 || n >= c.Number || i > 0 && n <= c.Live[i-1] {
			return fmt.Errorf("it names %d as one that counts beside it: %w", n, lake.ErrCorrupt)
		}
	}
	room := -c.Dead
	for i, s := range c.Covers {
		if s.Partition < 0 || s.First < 0 || s.Last < s.First {
			return fmt.Errorf("partition %d, first %d, last %d is no range of a log: %w", s.Partition, s.First, s.Last, lake.ErrCorrupt)
		}
		if i > 0 && (cmpSpan(c.Covers[i-1], s) >= 0 || c.Covers[i-1].Partition == s.Partition && c.Covers[i-1].Last >= s.First) {
			return fmt.Errorf("it covers %d/%d-%d twice or out of order: %w", s.Partition, s.First, s.Last, lake.ErrCorrupt)
		}
		room += s.Last - s.First + 1
	}
	prefix := fmt.Sprintf("/c%010d-", c.Number)
	for _, f := range c.Files {
		var typed int64
		for _, n := range f.Types {
			typed += n
		}
		if !strings.HasPrefix(f.Key, Prefix+"dt=") || !strings.Contains(f.Key, prefix) || len(f.SHA256) != 64 || f.Bytes <= 0 || f.Rows <= 0 || typed != f.Rows {
			return fmt.Errorf("file %q (%d rows, %d by type, %d bytes, SHA-256 %q) is not one of this manifest's: %w", f.Key, f.Rows, typed, f.Bytes, f.SHA256, lake.ErrCorrupt)
		}
		room -= f.Rows
	}
	if room < 0 || c.Dead < 0 {
		return fmt.Errorf("its rows and dead letters do not fit into what it covers: %w", lake.ErrCorrupt)
	}
	return nil
}

func cmpSpan(a, b Span) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.First, b.First))
}

// JoinSpans sorts spans and joins those that follow each other.
func JoinSpans(spans []Span) []Span {
	spans = slices.Clone(spans)
	slices.SortFunc(spans, cmpSpan)
	out := spans[:0]
	for _, s := range spans {
		if n := len(out) - 1; n >= 0 && out[n].Partition == s.Partition && out[n].Last+1 == s.First {
			out[n].Last = s.Last
		} else {
			out = append(out, s)
		}
	}
	return out
}

// encodeSummed writes v as JSON with the checksum of itself without one.
func encodeSummed(key string, v any, sum *string) ([]byte, error) {
	*sum = ""
	bare, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		hash := sha256.Sum256(bare)
		*sum = hex.EncodeToString(hash[:])
		bare, err = json.MarshalIndent(v, "", "  ")
	}
	if err != nil {
		return nil, fmt.Errorf("encode manifest %s: %w", key, err)
	}
	return append(bare, '\n'), nil
}

// decodeSummed reads what encodeSummed wrote. Content that differs from it in a single bit is ErrCorrupt, unless it says that it is
// of a later version, which only a later release can read.
func decodeSummed[T any](content []byte, v *T, version *int, known int, sum *string, encode func() ([]byte, error)) error {
	d := json.NewDecoder(bytes.NewReader(content))
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("not readable (%w): %w", err, lake.ErrCorrupt)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("there is something after its end: %w", lake.ErrCorrupt)
	}
	if *version > known {
		return fmt.Errorf("version %d, this program reads up to version %d: it was written by a newer one; use that", *version, known)
	}
	if *version != known {
		return fmt.Errorf("version %d is none that was ever written: %w", *version, lake.ErrCorrupt)
	}
	stored := *sum
	again, err := encode()
	if err != nil {
		return err
	}
	if stored != *sum || !bytes.Equal(content, again) {
		return fmt.Errorf("its content does not match its checksum: %w", lake.ErrCorrupt)
	}
	return nil
}
