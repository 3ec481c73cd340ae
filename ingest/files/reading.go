package files

import (
	"context"
	"errors"
	"fmt"
	"io"

	"marquee/ingest/tabular"
)

const (
	// firstRows is how many rows at the start may all be wrong before the mapping is taken to be.
	firstRows = 1000
	// progressRows is how often the context is asked and progress is told.
	progressRows = 4096
)

// reading goes through a file's rows.
type reading struct {
	*Options
	file *tabular.File
	row  tabular.Row
	// rows counts the rows read in this run, rejected those of the whole file that were rejected, good whether any was not.
	rows     int64
	rejected int64
	good     bool
	first    Rejection
	// stop is why reading ends before the file does.
	stop error
}

// next reads the next row and gives it to take. It returns the row's rejection, if that is what became of it, and io.EOF
// at the end or where reading is to stop: stop says why.
func (r *reading) next(ctx context.Context, take func(*tabular.Row) error) (*Rejection, error) {
	if r.stop != nil {
		return nil, r.stop
	}
	err := r.file.Next(&r.row)
	var unread *tabular.RowError
	switch {
	case errors.Is(err, io.EOF):
		r.Progress(r.file.Consumed(), r.file.Fingerprint().Size)
		r.stop = r.end()
		return nil, r.stop
	case err != nil && !errors.As(err, &unread):
		r.stop = err
		return nil, err
	}
	if r.rows++; r.rows%progressRows == 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.Progress(r.file.Consumed(), r.file.Fingerprint().Size)
	}
	if err == nil {
		err = take(&r.row)
	}
	if err == nil {
		r.good = true
		return nil, nil
	}
	out := rejection(r.Path, &r.row, err)
	if r.Rejects != nil {
		out.Raw = r.file.Raw()
	}
	r.tooMany(out)
	return &out, nil
}

// tooMany decides whether a rejected row is one too many.
func (r *reading) tooMany(out Rejection) {
	if r.rejected++; r.rejected == 1 {
		r.first = out
	}
	switch {
	case r.MaxErrors != nil && r.rejected > *r.MaxErrors:
		r.stop = fmt.Errorf("more than %d rows are rejected, the last in %s: %s: %s", *r.MaxErrors, out.Place(), out.Reason, out.Detail)
	case !r.good && r.rows == firstRows:
		r.stop = r.none(fmt.Sprintf("none of the first %d rows", firstRows))
	}
}

func (r *reading) none(rows string) error {
	return fmt.Errorf("%s of %s can be imported: %s: %s: %s", rows, r.Path, r.first.Place(), r.first.Reason, r.first.Detail)
}

// end is how reading to the end ends: an error where no row was right.
func (r *reading) end() error {
	if !r.good && r.rows > 0 && r.rejected >= r.rows {
		return r.none("no row")
	}
	return io.EOF
}
