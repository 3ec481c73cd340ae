package movielens

// Reason is why a row was rejected, coarse enough to count by.
type Reason string

// The reasons.
const (
	// ReasonMalformed: the row does not have the layout's form.
	ReasonMalformed Reason = "malformed"
	// ReasonEncoding: the text is in another encoding than the published file's.
	ReasonEncoding Reason = "encoding"
	// ReasonRating: the rating is not on the scale.
	ReasonRating Reason = "rating"
	// ReasonTimestamp: the timestamp cannot be one.
	ReasonTimestamp Reason = "timestamp"
	// ReasonUnknownTitle: the movie is not in the movies file, or was rejected there.
	ReasonUnknownTitle Reason = "unknown_title"
	// ReasonDuplicate: an earlier row has the same user and movie, or the same movie.
	ReasonDuplicate Reason = "duplicate"
	// ReasonTitleRefused: the catalogue refused the title.
	ReasonTitleRefused Reason = "title_refused"
)

// maxListed is how many rejections a summary lists one by one.
const maxListed = 100

// Rejection is one row that was not imported.
type Rejection struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Reason Reason `json:"reason"`
	// Detail says what would be right.
	Detail string `json:"detail"`
}

// Summary is what an import did.
type Summary struct {
	Layout    string `json:"layout"`
	Namespace string `json:"namespace"`
	ImportID  string `json:"import_id"`
	// RowsRead counts the rows of the ratings file: each is published, imported already, rejected, or, when the import was
	// interrupted, left for the next run.
	RowsRead              int64 `json:"rows_read"`
	EventsPublished       int64 `json:"events_published"`
	EventsAlreadyImported int64 `json:"events_already_imported"`
	TitlesRead            int64 `json:"titles_read"`
	TitlesPut             int64 `json:"titles_put"`
	TitlesChanged         int64 `json:"titles_changed"`
	// Rejected counts the rejected rows of both files; RejectedRatings those of the ratings file.
	Rejected         int64            `json:"rejected"`
	RejectedRatings  int64            `json:"rejected_ratings"`
	RejectedByReason map[Reason]int64 `json:"rejected_by_reason,omitempty"`
	// Rejections lists the first of them.
	Rejections []Rejection `json:"rejections,omitempty"`
	// ContentChanged says that an earlier import of this namespace was of files with other content.
	ContentChanged bool `json:"content_changed"`
	// FirstEventAt and LastEventAt are microseconds since the Unix epoch; 0 when there are no events.
	FirstEventAt int64 `json:"first_event_at"`
	LastEventAt  int64 `json:"last_event_at"`
}

func (s *Summary) reject(file string, line int, p *problem) {
	s.Rejected++
	if s.RejectedByReason == nil {
		s.RejectedByReason = make(map[Reason]int64)
	}
	s.RejectedByReason[p.reason]++
	if len(s.Rejections) < maxListed {
		s.Rejections = append(s.Rejections, Rejection{File: file, Line: line, Reason: p.reason, Detail: p.detail})
	}
}
