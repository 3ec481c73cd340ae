package movielens

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// source is a set read into memory: what is importable of it, in the order it is imported in.
type source struct {
	layout  layout
	movies  []movie
	ratings []rating
	// content is the SHA-256 of both files, in hexadecimal.
	content string
}

// reader reads one set.
type reader struct {
	dir      string
	layout   layout
	latest   int64
	summary  *Summary
	progress func(Progress)
	hash     hash.Hash
	known    map[uint32]bool
	source   source
}

// readSource reads both files. Rows that are wrong are counted in the summary; only a file that cannot be read at all, or
// that holds no row that is right, is an error.
func readSource(ctx context.Context, dir string, l layout, latest int64, s *Summary, progress func(Progress)) (*source, error) {
	r := &reader{dir: dir, layout: l, latest: latest, summary: s, progress: progress, hash: sha256.New(), known: make(map[uint32]bool)}
	r.source.layout = l
	if err := r.file(ctx, l.movies, l.moviesHeader, r.movie); err != nil {
		return nil, err
	}
	if len(r.source.movies) == 0 {
		return nil, r.unreadable(l.movies)
	}
	if err := r.file(ctx, l.ratings, l.ratingsHeader, r.rating); err != nil {
		return nil, err
	}
	if len(r.source.ratings) == 0 {
		return nil, r.unreadable(l.ratings)
	}
	r.source.content = hex.EncodeToString(r.hash.Sum(nil))
	r.source.ratings = dropRepeated(r.source.ratings, func(first, again rating) {
		s.RejectedRatings++
		s.reject(l.ratings, int(again.line), problemf(ReasonDuplicate,
			"a user rates a movie once; user %d rated movie %d in line %d", again.user, again.movie, first.line))
	})
	// Lines are distinct, so the order is total.
	slices.SortFunc(r.source.ratings, func(a, b rating) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.line, b.line)) })
	return &r.source, nil
}

// unreadable says that no row of a file is right, with the first thing that is wrong.
func (r *reader) unreadable(file string) error {
	for _, rejection := range r.summary.Rejections {
		if rejection.File == file {
			return fmt.Errorf("no row of %s can be read as a %s set has it; line %d: %s", filepath.Join(r.dir, file), r.layout.name, rejection.Line, rejection.Detail)
		}
	}
	return fmt.Errorf("%s is empty", filepath.Join(r.dir, file))
}

// file hands the lines of a file to take.
func (r *reader) file(ctx context.Context, name, header string, take func(file string, line int, row []byte)) (err error) {
	f, err := os.Open(filepath.Join(r.dir, name))
	if err != nil {
		return fmt.Errorf("open the MovieLens file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open the MovieLens file: %w", err)
	}
	counted := &counter{r: f}
	in := newLines(io.TeeReader(counted, r.hash))
	for {
		more, err := in.next()
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if !more {
			break
		}
		if in.number%10_000 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			r.progress(Progress{Stage: StageRead, Item: name, Done: counted.n, Total: info.Size()})
		}
		r.line(name, header, in, take)
	}
	r.progress(Progress{Stage: StageRead, Item: name, Done: info.Size(), Total: info.Size()})
	return nil
}

func (r *reader) line(name, header string, in *lines, take func(file string, line int, row []byte)) {
	row := in.text
	if in.number == 1 && header != "" {
		row = bytes.TrimPrefix(row, []byte("\ufeff"))
		if string(row) == header {
			return
		}
		if len(row) == 0 || row[0] < '0' || row[0] > '9' {
			r.count(name)
			r.refuse(name, 1, problemf(ReasonMalformed, "the first line is %q, this is %q", header, clip(row)))
			return
		}
	}
	if in.tooLong {
		r.count(name)
		r.refuse(name, in.number, problemf(ReasonMalformed, "a line has at most %d bytes", maxLine))
		return
	}
	if len(row) == 0 {
		return
	}
	take(name, in.number, row)
}

func (r *reader) count(file string) {
	if file == r.layout.ratings {
		r.summary.RowsRead++
	} else {
		r.summary.TitlesRead++
	}
}

func (r *reader) refuse(file string, line int, p *problem) {
	if file == r.layout.ratings {
		r.summary.RejectedRatings++
	}
	r.summary.reject(file, line, p)
}

func (r *reader) movie(file string, line int, row []byte) {
	r.count(file)
	m, p := r.layout.parseMovie(row)
	if p == nil && r.known[m.id] {
		p = problemf(ReasonDuplicate, "movie %d is in an earlier line", m.id)
	}
	if p != nil {
		r.refuse(file, line, p)
		return
	}
	m.line = line
	r.known[m.id] = true
	r.source.movies = append(r.source.movies, m)
}

func (r *reader) rating(file string, line int, row []byte) {
	r.count(file)
	rated, p := r.layout.parseRating(row, r.latest)
	if p == nil && !r.known[rated.movie] {
		p = problemf(ReasonUnknownTitle, "movie %d is not in %s", rated.movie, r.layout.movies)
	}
	if p != nil {
		r.refuse(file, line, p)
		return
	}
	rated.line = uint32(line)
	r.source.ratings = append(r.source.ratings, rated)
}

// dropRepeated keeps the first rating of each user and movie, by line.
func dropRepeated(ratings []rating, report func(first, again rating)) []rating {
	slices.SortFunc(ratings, func(a, b rating) int {
		return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.movie, b.movie), cmp.Compare(a.line, b.line))
	})
	kept := ratings[:0]
	for _, r := range ratings {
		if n := len(kept); n > 0 && kept[n-1].user == r.user && kept[n-1].movie == r.movie {
			report(kept[n-1], r)
			continue
		}
		kept = append(kept, r)
	}
	return kept
}

// counter counts the bytes read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
