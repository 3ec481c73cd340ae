// Package snapshot reads built feature sets from the lake: manifests, their checks, and columns as Go slices.
//
// A snapshot is every feature set as of one instant. A set of it is a folder features/SET/SNAPSHOT of Parquet parts and a
// manifest.json, which is written last: a set without one does not exist. This package is what training and serving
// import; building is the parent package's business.
package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"marquee/internal/lake"
)

// Format is the version of the manifest this code writes, and the only one it reads.
const Format = 1

// Root is the lake folder of all feature sets.
const Root = "features/"

var (
	// ErrNotFound is wrapped where a set or snapshot is not in the lake.
	ErrNotFound = errors.New("no such feature snapshot")
	// ErrCorrupt is wrapped where a manifest or a part is not what it should be.
	ErrCorrupt = errors.New("corrupt feature snapshot")
)

// Manifest says what one set of a snapshot consists of.
type Manifest struct {
	Format   int    `json:"format"`
	Set      string `json:"set"`
	Snapshot string `json:"snapshot"`
	// SQLSHA256 is the checksum of the whole query that was run, definitions included, comments not.
	SQLSHA256 string    `json:"sql_sha256"`
	AsOf      time.Time `json:"as_of"`
	BuiltAt   time.Time `json:"built_at"`
	Input     Input     `json:"input"`
	RowCount  int64     `json:"row_count"`
	Schema    []Column  `json:"schema"`
	Parts     []Part    `json:"parts"`
	// ContentChecksum is over the rows in order, whatever the parts: see features.Builder.
	ContentChecksum string `json:"content_checksum"`
}

// Input is the range of events a snapshot was built from: those with effective_at up to and including as_of, in these
// offsets.
type Input struct {
	// Events counts them once each, however often they were sent.
	Events     uint64  `json:"events"`
	Partitions []Range `json:"partitions"`
}

// Range is the first and last broker offset, inclusive, that one partition gave.
type Range struct {
	Partition int32  `json:"partition"`
	First     int64  `json:"first"`
	Last      int64  `json:"last"`
	Events    uint64 `json:"events"`
}

// Column is one column of a set.
type Column struct {
	Name string `json:"name"`
	Type Type   `json:"type"`
}

// Part is one Parquet file.
type Part struct {
	lake.FileInfo
	Rows int64 `json:"rows"`
}

// Type is a column's type. There are no floating-point types: their sums depend on the order of addition.
type Type string

// The types. Timestamp is int64 microseconds since the Unix epoch, UTC.
const (
	String    Type = "string"
	Bool      Type = "bool"
	Int32     Type = "int32"
	Int64     Type = "int64"
	Uint32    Type = "uint32"
	Uint64    Type = "uint64"
	Timestamp Type = "timestamp_us"

	StringList    Type = "list<string>"
	Int32List     Type = "list<int32>"
	TimestampList Type = "list<timestamp_us>"
)

// Known reports whether t is one of the types above.
func (t Type) Known() bool {
	switch t {
	case String, Bool, Int32, Int64, Uint32, Uint64, Timestamp, StringList, Int32List, TimestampList:
		return true
	default:
		return false
	}
}

// Bytes of all parts.
func (m *Manifest) Bytes() int64 {
	var n int64
	for _, p := range m.Parts {
		n += p.Bytes
	}
	return n
}

// ColumnType returns a column's type, or false when the set has no such column.
func (m *Manifest) ColumnType(name string) (Type, bool) {
	for _, c := range m.Schema {
		if c.Name == name {
			return c.Type, true
		}
	}
	return "", false
}

// Folder returns the lake folder of a set in a snapshot, with its final slash.
func Folder(set, id string) string { return Root + set + "/" + id + "/" }

// ManifestKey returns the lake key of a set's manifest.
func ManifestKey(set, id string) string { return Folder(set, id) + "manifest.json" }

// PartKey returns the lake key of a set's i-th part, from 0.
func PartKey(set, id string, i int) string {
	return fmt.Sprintf("%spart-%05d.parquet", Folder(set, id), i)
}

// stored is a manifest as its file has it: with the SHA-256 of the file, in which the checksum's own digits are zeroes.
type stored struct {
	*Manifest
	Checksum string `json:"manifest_sha256"`
}

const noChecksum = "0000000000000000000000000000000000000000000000000000000000000000"

// withChecksum is the file with one checksum in place of another.
func withChecksum(file []byte, was, is string) []byte {
	const field = `"manifest_sha256": "`
	return bytes.Replace(file, []byte(field+was), []byte(field+is), 1)
}

// checksum is what a file that says the given checksum should say.
func checksum(file []byte, says string) string {
	sum := sha256.Sum256(withChecksum(file, says, noChecksum))
	return hex.EncodeToString(sum[:])
}

// Encode returns the manifest as indented JSON, with a checksum of itself.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(stored{Manifest: m, Checksum: noChecksum}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode manifest of %s %s: %w", m.Set, m.Snapshot, err)
	}
	b = append(b, '\n')
	return withChecksum(b, noChecksum, checksum(b, noChecksum)), nil
}

// Decode reads and validates a manifest. Its errors wrap ErrCorrupt. Fields it does not know are passed over, so that
// fields can be added within a format.
func Decode(b []byte) (*Manifest, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	var m Manifest
	file := stored{Manifest: &m}
	if err := dec.Decode(&file); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: the manifest breaks off after %d bytes", ErrCorrupt, len(b))
		}
		return nil, fmt.Errorf("%w: the manifest is not JSON as expected: %w", ErrCorrupt, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: the manifest goes on after its end, at byte %d", ErrCorrupt, dec.InputOffset())
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if file.Checksum != checksum(b, file.Checksum) {
		return nil, fmt.Errorf("%w: the manifest of %s %s does not match its checksum: build the set again (marquee features build)", ErrCorrupt, m.Set, m.Snapshot)
	}
	return &m, nil
}

// Validate checks that the manifest is consistent in itself. Its errors wrap ErrCorrupt.
func (m *Manifest) Validate() error {
	switch {
	case m.Format != Format:
		return fmt.Errorf("%w: manifest format %d, this release reads format %d", ErrCorrupt, m.Format, Format)
	case !ValidName(m.Set):
		return fmt.Errorf("%w: set name %q, want lower-case letters, digits and underscores", ErrCorrupt, m.Set)
	case !ValidID(m.Snapshot):
		return fmt.Errorf("%w: snapshot id %q, want TIME-HASH", ErrCorrupt, m.Snapshot)
	case !isSHA256(m.SQLSHA256):
		return fmt.Errorf("%w: sql_sha256 %q, want 64 hexadecimal digits", ErrCorrupt, m.SQLSHA256)
	case !isSHA256(m.ContentChecksum):
		return fmt.Errorf("%w: content_checksum %q, want 64 hexadecimal digits", ErrCorrupt, m.ContentChecksum)
	case !strings.HasPrefix(m.Snapshot, m.AsOf.UTC().Format(idTime)+"-"):
		return fmt.Errorf("%w: as_of %s is not that of snapshot %s", ErrCorrupt, m.AsOf, m.Snapshot)
	}
	return errors.Join(m.validateInput(), m.validateSchema(), m.validateParts())
}

func (m *Manifest) validateInput() error {
	var events uint64
	for i, r := range m.Input.Partitions {
		switch {
		case r.Partition < 0 || i > 0 && m.Input.Partitions[i-1].Partition >= r.Partition:
			return fmt.Errorf("%w: input partition %d is out of order", ErrCorrupt, r.Partition)
		case r.First < 0 || r.Last < r.First:
			return fmt.Errorf("%w: input partition %d runs from offset %d to %d", ErrCorrupt, r.Partition, r.First, r.Last)
		case r.Events == 0 || r.Events > uint64(r.Last-r.First)+1:
			return fmt.Errorf("%w: input partition %d gives %d events in offsets %d to %d", ErrCorrupt, r.Partition, r.Events, r.First, r.Last)
		}
		events += r.Events
	}
	if events != m.Input.Events {
		return fmt.Errorf("%w: input has %d events, its partitions add up to %d", ErrCorrupt, m.Input.Events, events)
	}
	return nil
}

func (m *Manifest) validateSchema() error {
	if len(m.Schema) == 0 {
		return fmt.Errorf("%w: the schema has no columns", ErrCorrupt)
	}
	seen := make(map[string]bool, len(m.Schema))
	for _, c := range m.Schema {
		if !ValidName(c.Name) || seen[c.Name] {
			return fmt.Errorf("%w: column name %q is invalid or given twice", ErrCorrupt, c.Name)
		}
		if !c.Type.Known() {
			return fmt.Errorf("%w: column %s has the unknown type %q", ErrCorrupt, c.Name, c.Type)
		}
		seen[c.Name] = true
	}
	return nil
}

func (m *Manifest) validateParts() error {
	var rows int64
	for i, p := range m.Parts {
		switch {
		case p.Key != PartKey(m.Set, m.Snapshot, i):
			return fmt.Errorf("%w: part %d is at %q, want %q", ErrCorrupt, i, p.Key, PartKey(m.Set, m.Snapshot, i))
		case p.Rows <= 0 || p.Rows > m.RowCount-rows:
			return fmt.Errorf("%w: part %d has %d rows, of %d in all", ErrCorrupt, i, p.Rows, m.RowCount)
		case p.Bytes <= 0 || !isSHA256(p.SHA256):
			return fmt.Errorf("%w: part %d has %d bytes and checksum %q", ErrCorrupt, i, p.Bytes, p.SHA256)
		}
		rows += p.Rows
	}
	if rows != m.RowCount {
		return fmt.Errorf("%w: row_count is %d, the parts add up to %d", ErrCorrupt, m.RowCount, rows)
	}
	return nil
}

// idTime is the form of as_of within a snapshot id: it sorts as time does.
const idTime = "20060102T150405.000000Z"

// ID makes a snapshot's id from its as_of and a digest of all else that determines its content.
func ID(asOf time.Time, digest []byte) string {
	return fmt.Sprintf("%s-%x", asOf.UTC().Format(idTime), digest[:6])
}

// ParseID returns the as_of within a snapshot id.
func ParseID(id string) (time.Time, error) {
	if !ValidID(id) {
		return time.Time{}, fmt.Errorf("snapshot id %q: want the form 20261123T040500.000000Z-0123456789ab", id)
	}
	return time.Parse(idTime, id[:len(idTime)])
}

// ValidID reports whether id has the form of a snapshot id, of an instant that exists.
func ValidID(id string) bool {
	if len(id) != len(idTime)+1+12 || id[len(idTime)] != '-' || strings.Trim(id[len(idTime)+1:], "0123456789abcdef") != "" {
		return false
	}
	t, err := time.Parse(idTime, id[:len(idTime)])
	return err == nil && t.Format(idTime) == id[:len(idTime)]
}

// ValidName reports whether s may name a set or a column.
func ValidName(s string) bool {
	ok, err := regexp.MatchString(`^[a-z][a-z0-9_]{0,62}$`, s)
	return err == nil && ok
}

func isSHA256(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }
