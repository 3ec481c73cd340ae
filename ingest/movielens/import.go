package movielens

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	catalogv1 "marquee/catalog/v1"
	"marquee/ingest/imports"
	"marquee/internal/db"
	"marquee/internal/lake"
	"marquee/internal/logid"
)

// The stages of an import, in order.
const (
	StageRead   = "read"
	StageTitles = "titles"
	StageEvents = "events"
)

// Progress is where an import stands: Done of Total bytes (StageRead, of the file Item), titles or events.
type Progress struct {
	Stage string
	Item  string
	Done  int64
	Total int64
}

// Options are what an import needs. All but Namespace, Broker, Lake, Progress and BatchEvents are required.
type Options struct {
	// Dir is the folder with the published files.
	Dir string
	// Namespace prefixes every id; empty means the layout's own: ml100k, ml1m or mllatest.
	Namespace string
	Titles    imports.TitleWriter
	Publisher imports.Publisher
	// DB keeps the cursor.
	DB *db.DB
	// Broker is the log that Publisher writes to. An import whose cursor is of another log publishes there what the lake
	// does not have.
	Broker logid.Log
	// Lake, when given, is asked which events are there already if the files have changed other than at their end. Without
	// it such an import publishes everything again; readers count each event once either way.
	Lake *lake.Lake
	// Progress is called often, from one goroutine.
	Progress func(Progress)
	// BatchEvents is how many events are acknowledged, and the cursor moved, at a time; 0 means 5000.
	BatchEvents int
	Log         *slog.Logger
}

// importer is one run.
type importer struct {
	Options
	layout  layout
	source  *source
	summary Summary
	record  *imports.Import
	// refused are the movies the catalogue refused.
	refused map[uint32]bool
	// titleIDs are the ids of the movies, made once.
	titleIDs map[uint32]string
}

// Import imports a set and says what it did; the summary is valid also with an error. What is already imported is not
// published again, so a run that was interrupted, or failed, is continued by running it again.
func Import(ctx context.Context, o Options) (Summary, error) {
	i := &importer{Options: o, refused: make(map[uint32]bool), titleIDs: make(map[uint32]string)}
	if i.Progress == nil {
		i.Progress = func(Progress) {}
	}
	if i.BatchEvents == 0 {
		i.BatchEvents = 5000
	}
	err := i.run(ctx)
	return i.summary, err
}

func (i *importer) run(ctx context.Context) (err error) {
	if i.layout, err = detect(i.Dir); err != nil {
		return err
	}
	if i.Namespace == "" {
		i.Namespace = i.layout.namespace
	}
	if err := imports.CheckNamespace(i.Namespace); err != nil {
		return err
	}
	i.summary.Layout, i.summary.Namespace, i.summary.ImportID = i.layout.name, i.Namespace, "movielens:"+i.Namespace
	if i.record, err = imports.Open(ctx, i.DB, i.summary.ImportID, imports.Holder()); err != nil {
		return err
	}
	defer func() {
		// Also when the context has ended: the next run should not have to wait for the lease.
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, i.record.Close(closing))
	}()
	if i.source, err = readSource(ctx, i.Dir, i.layout, time.Now().Unix(), &i.summary, i.Progress); err != nil {
		return err
	}
	if err := i.putTitles(ctx); err != nil {
		return err
	}
	return i.publish(ctx)
}

// putTitles brings the movies into the catalogue.
func (i *importer) putTitles(ctx context.Context) error {
	firstRated := make(map[uint32]uint32, len(i.source.movies))
	for _, r := range i.source.ratings { // in time order
		if _, ok := firstRated[r.movie]; !ok {
			firstRated[r.movie] = r.at
		}
	}
	total := len(i.source.movies)
	for at := 0; at < total; at += imports.MaxTitles {
		part := i.source.movies[at:min(at+imports.MaxTitles, total)]
		titles := make([]*catalogv1.Title, len(part))
		for j, m := range part {
			i.titleIDs[m.id] = fmt.Sprintf("%s:%d", i.Namespace, m.id)
			titles[j] = title(m, i.titleIDs[m.id], int64(firstRated[m.id])*microsPerSecond)
		}
		results, err := imports.PutTitles(ctx, i.Titles, titles)
		if err != nil {
			return err
		}
		i.titleResults(part, results)
		i.Progress(Progress{Stage: StageTitles, Done: int64(at + len(part)), Total: int64(total)})
	}
	if len(i.refused) > 0 {
		i.dropRefused()
	}
	return nil
}

func (i *importer) titleResults(part []movie, results []*catalogv1.TitleResult) {
	for j, r := range results {
		if !r.Accepted {
			i.refused[part[j].id] = true
			i.summary.reject(i.layout.movies, part[j].line, problemf(ReasonTitleRefused, "movie %d: %s", part[j].id, imports.Refusal(r)))
			continue
		}
		i.summary.TitlesPut++
		if r.Changed {
			i.summary.TitlesChanged++
		}
	}
}

// dropRefused leaves out the ratings of movies the catalogue refused.
func (i *importer) dropRefused() {
	kept := i.source.ratings[:0]
	for _, r := range i.source.ratings {
		if i.refused[r.movie] {
			i.summary.RejectedRatings++
			i.summary.reject(i.layout.ratings, int(r.line), problemf(ReasonUnknownTitle, "the catalogue refused movie %d", r.movie))
			continue
		}
		kept = append(kept, r)
	}
	i.source.ratings = kept
}

// title is a movie as the catalogue keeps it; see the package comment. firstRated is in microseconds, 0 for never.
func title(m movie, id string, firstRated int64) *catalogv1.Title {
	t := &catalogv1.Title{
		TitleId: id, Kind: catalogv1.TitleKind_TITLE_KIND_FILM, Name: m.name, Year: m.year, Genres: m.genres,
		// One window without countries or times: everywhere and always.
		Availability: []*catalogv1.Window{{}},
	}
	if m.year > 0 {
		// Before 1970 there are no times in the contract.
		t.AddedAt = max(time.Date(int(m.year), 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), 1)
		if firstRated > 0 {
			t.AddedAt = min(t.AddedAt, firstRated)
		}
	}
	return t
}
