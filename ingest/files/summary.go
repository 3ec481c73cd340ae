package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"marquee/ingest/mapping"
	"marquee/ingest/tabular"
)

// ReasonTitleRefused is the reason of a title that the catalogue did not take; the others are mapping's and tabular's.
const ReasonTitleRefused = "title_refused"

// maxListed is how many rejections a summary lists one by one.
const maxListed = 100

// Rejection is one row that was not taken.
type Rejection struct {
	File string `json:"file"`
	// Line is the line the row starts in, from 1; 0 in Parquet. Row counts rows from 1, a header aside.
	Line   int64  `json:"line,omitempty"`
	Row    int64  `json:"row"`
	Reason string `json:"reason"`
	// Field is the field that is wrong, where one is.
	Field string `json:"field,omitempty"`
	// Detail says what would be right.
	Detail string `json:"detail"`
	// Raw is the row as the file has it; only among rejected rows written out.
	Raw string `json:"raw,omitempty"`
}

// Place is file:line, or file row n where there are no lines.
func (r Rejection) Place() string {
	if r.Line > 0 {
		return fmt.Sprintf("%s:%d", r.File, r.Line)
	}
	return fmt.Sprintf("%s row %d", r.File, r.Row)
}

// Summary is what an import of a file did, or would do.
type Summary struct {
	Kind      string `json:"kind"`
	File      string `json:"file"`
	Format    string `json:"format"`
	Namespace string `json:"namespace"`
	ImportID  string `json:"import_id,omitempty"`
	// RowsRead counts the rows of this run: each was published, skipped by the mapping's filter, or rejected.
	// RowsBefore are those of earlier runs that this one went on after.
	RowsRead   int64 `json:"rows_read"`
	RowsBefore int64 `json:"rows_before"`
	Skipped    int64 `json:"skipped"`
	// Events is how many events were published; a row can be several.
	Events int64 `json:"events"`
	// Titles is how many titles were put, TitlesChanged how many of them were new or changed; Repeated counts rows that
	// say what an earlier one said of the same title.
	Titles           int64            `json:"titles"`
	TitlesChanged    int64            `json:"titles_changed"`
	Repeated         int64            `json:"repeated"`
	Rejected         int64            `json:"rejected"`
	RejectedByReason map[string]int64 `json:"rejected_by_reason,omitempty"`
	// Rejections lists the first of them.
	Rejections []Rejection `json:"rejections,omitempty"`
	// FirstEventAt and LastEventAt are microseconds since the Unix epoch, over earlier runs too; 0 when there are no events.
	FirstEventAt int64 `json:"first_event_at"`
	LastEventAt  int64 `json:"last_event_at"`
	// Finished says that the whole file is imported.
	Finished bool `json:"finished"`
}

func (s *Summary) reject(rs []Rejection) {
	for _, r := range rs {
		s.Rejected++
		if s.RejectedByReason == nil {
			s.RejectedByReason = make(map[string]int64)
		}
		s.RejectedByReason[r.Reason]++
		if len(s.Rejections) < maxListed {
			r.Raw = ""
			s.Rejections = append(s.Rejections, r)
		}
	}
}

// span widens the time the events cover.
func (s *Summary) span(first, last int64) {
	if first > 0 && (s.FirstEventAt == 0 || first < s.FirstEventAt) {
		s.FirstEventAt = first
	}
	s.LastEventAt = max(s.LastEventAt, last)
}

// rejection describes why a row was not taken.
func rejection(file string, row *tabular.Row, why error) Rejection {
	r := Rejection{File: file, Line: row.Line, Row: row.Number}
	var unread *tabular.RowError
	var unmapped *mapping.Rejection
	switch {
	case errors.As(why, &unread):
		r.Reason, r.Detail = string(unread.Reason), unread.Detail
	case errors.As(why, &unmapped):
		r.Reason, r.Field, r.Detail = string(unmapped.Reason), unmapped.Field, unmapped.Detail
	}
	return r
}

// writeRejects writes rejected rows out.
func writeRejects(w io.Writer, rs []Rejection) error {
	if w == nil || len(rs) == 0 {
		return nil
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, r := range rs {
		if err := e.Encode(r); err != nil {
			return fmt.Errorf("write rejected rows: %w", err)
		}
	}
	return nil
}
