package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"marquee/internal/native"
	"marquee/internal/ort"
	"marquee/internal/sparse"
	"marquee/training/model/ranking"
)

// Names of the sources whose scores a release can tell its ranker.
const (
	SourceALS      = "als"
	SourceKNN      = "knn"
	SourcePopular  = "popular"
	SourceTrending = "popular_decayed"
)

// RankerSources are the sources that a release's ranker is told of, in order.
func RankerSources() []string {
	return []string{SourceALS, SourceKNN, SourcePopular, SourceTrending}
}

// Ranker is what a release ranks its candidates with.
type Ranker struct {
	// Order and Outcomes are ONNX models of features, batch x ranking.Names(RankerSources()), to scores of 0 to 1: in what order to
	// show titles, batch x 1; how likely they are played and how much of a whole watch that is then, batch x 2.
	Order, Outcomes []byte
	// Near is titles x titles: each title's nearest, at most MaxNeighbours, with their similarities.
	Near *sparse.CSR
	// FirstAt is when anybody first met each title: microseconds since the Unix epoch, 0 for nobody.
	FirstAt []int64
	// Response is how often a title is clicked relative to what the places it was shown at bring; nil where that is not known.
	Response []float32
	// Candidates is how many each source offered in training.
	Candidates int
	// Report says how it was trained and how well it does, for people.
	Report json.RawMessage
}

// RankerInfo is what a manifest says of a release's ranker.
type RankerInfo struct {
	Features   []string `json:"features"`
	Candidates int      `json:"candidates"`
	// Neighbours is the width of neighbours.arrow.
	Neighbours int             `json:"neighbours"`
	Report     json.RawMessage `json:"report,omitempty"`
}

// MaxNeighbours is how many of a title's nearest a release carries at most; a byte holds their number.
const MaxNeighbours = 200

// ErrNoRuntime is why a release's ranker cannot be asked on a machine without ONNX Runtime.
var ErrNoRuntime = errors.New("no ONNX Runtime to rank with")

// ranked is the ranker of an open bundle.
type ranked struct {
	order, outcomes *ort.Session
	trees           *trees // the order's, nil where it is another model
	width           int
	near            []uint32 // titles x width: a row's nearest, then itself
	similarity      []float32
	neighbours      []uint8 // by title: how many of its row of near are its nearest
	firstAt         []int64
	response        []float32 // nil where not known
	// missing is why there are no sessions.
	missing error
}

// Ranks reports whether the release has a ranker, and why it cannot be asked: nil, or an error that wraps ErrNoRuntime.
func (b *Bundle) Ranks() (bool, error) {
	if b.ranker == nil {
		return false, nil
	}
	return true, b.ranker.missing
}

// Order writes to dst the score to order candidates by, 0 to 1, from their features, len(dst) x the width of ranking.Table. It may be
// called only where Ranks says so.
func (b *Bundle) Order(ctx context.Context, dst, features []float32) error {
	r := b.ranker
	if r.trees == nil {
		return r.run(ctx, r.order, dst, features, len(dst))
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("order candidates: %w", err)
	}
	r.trees.order(dst, features)
	return nil
}

// Outcomes writes to dst, candidates x 2, how likely each is played and how much of a whole watch that is then.
func (b *Bundle) Outcomes(ctx context.Context, dst, features []float32) error {
	return b.ranker.run(ctx, b.ranker.outcomes, dst, features, len(dst)/2)
}

func (r *ranked) run(ctx context.Context, s *ort.Session, dst, features []float32, n int) error {
	if r.missing != nil {
		return r.missing
	}
	if n == 0 {
		return nil
	}
	return s.Run(ctx, []ort.Tensor{{Shape: []int64{int64(n), int64(len(features) / n)}, Floats: features}},
		[]ort.Tensor{{Shape: []int64{int64(n), int64(len(dst) / n)}, Floats: dst}})
}

// Near returns the titles nearest to a row's, by who watches them, with their similarities, above 0. A release without a ranker has none.
func (b *Bundle) Near(row uint32) ([]uint32, []float32) {
	if b.ranker == nil {
		return nil, nil
	}
	lo := int(row) * b.ranker.width
	hi := lo + int(b.ranker.neighbours[row])
	return b.ranker.near[lo:hi], b.ranker.similarity[lo:hi]
}

// RankingTitles are the release's titles as its ranker was told of them, without what the catalogue knows of them: their years and
// genres. The slices end with the reference.
func (b *Bundle) RankingTitles() ranking.Titles {
	return ranking.Titles{
		Popularity: b.popularity, Decayed: b.trending, Profiles: b.manifest.Profiles, FirstAt: b.FirstAt(), Response: b.response(),
		Factors: b.factors.Data, Dim: b.manifest.Dim,
	}
}

// FirstAt is when anybody first met the titles, by row: microseconds since the Unix epoch, 0 for nobody. Nil without a ranker.
func (b *Bundle) FirstAt() []int64 {
	if b.ranker == nil {
		return nil
	}
	return b.ranker.firstAt
}

func (b *Bundle) response() []float32 {
	if b.ranker == nil {
		return nil
	}
	return b.ranker.response
}

// completeRanker checks the ranker against the release's titles.
func (r *Release) completeRanker() error {
	r.Manifest.Ranker = nil
	if r.Ranker == nil {
		return nil
	}
	k, n := r.Ranker, len(r.TitleIDs)
	if k.Near == nil || k.Near.Rows != n || k.Near.Cols != n || len(k.FirstAt) != n || k.Response != nil && len(k.Response) != n || k.Candidates < 1 {
		return fmt.Errorf("the ranker's neighbours, first times, responses or candidates do not fit %d titles", n)
	}
	if err := k.Near.Validate(); err != nil {
		return fmt.Errorf("the ranker's neighbours: %w", err)
	}
	width := 1
	for row := range n {
		width = max(width, k.Near.RowLen(row))
		if k.Near.Has(row, uint32(row)) {
			return fmt.Errorf("title %d is its own neighbour", row)
		}
	}
	if width > MaxNeighbours {
		return fmt.Errorf("a title has %d neighbours, at most %d are carried", width, MaxNeighbours)
	}
	r.Manifest.Ranker = &RankerInfo{Features: ranking.Names(RankerSources()), Candidates: k.Candidates, Neighbours: width, Report: k.Report}
	return nil
}

type part struct {
	name  string
	write func(w io.Writer) error
}

func (r *Release) rankerParts() []part {
	if r.Ranker == nil {
		return nil
	}
	bytes := func(b []byte) func(io.Writer) error {
		return func(w io.Writer) error { _, err := w.Write(b); return err }
	}
	return []part{
		{RankerFile, bytes(r.Ranker.Order)}, {OutcomesFile, bytes(r.Ranker.Outcomes)},
		{NeighboursFile, func(w io.Writer) error { return writeNeighbours(w, r.Ranker, r.Manifest.Ranker.Neighbours) }},
	}
}

func neighboursSchema(width int) *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "first_at", Type: arrow.PrimitiveTypes.Int64},
		{Name: "response", Type: arrow.PrimitiveTypes.Float32},
		{Name: "neighbours", Type: arrow.FixedSizeListOfNonNullable(int32(width), arrow.PrimitiveTypes.Uint32)},
		{Name: "similarities", Type: arrow.FixedSizeListOfNonNullable(int32(width), arrow.PrimitiveTypes.Float32)},
	}, nil)
}

func writeNeighbours(w io.Writer, k *Ranker, width int) error {
	n := k.Near.Rows
	rows, similarity := make([]uint32, n*width), make([]float32, n*width)
	for row := range n {
		to := rows[row*width : (row+1)*width]
		cols, sims := k.Near.Row(row)
		for i := copy(to, cols); i < width; i++ {
			to[i] = uint32(row)
		}
		copy(similarity[row*width:], sims)
	}
	response := k.Response
	if response == nil {
		response = slices.Repeat([]float32{float32(math.NaN())}, n)
	}
	schema := neighboursSchema(width)
	buffer := func(of arrow.DataType, length int, b []byte) *array.Data {
		return array.NewData(of, length, []*memory.Buffer{nil, memory.NewBufferBytes(b)}, nil, 0, 0)
	}
	list := func(field int, values *array.Data) arrow.Array {
		return array.MakeFromData(array.NewData(schema.Field(field).Type, n, []*memory.Buffer{nil}, []arrow.ArrayData{values}, 0, 0))
	}
	return writeBatch(w, schema, n,
		array.MakeFromData(buffer(arrow.PrimitiveTypes.Int64, n, arrow.Int64Traits.CastToBytes(k.FirstAt))),
		array.MakeFromData(flat32(response)),
		list(2, buffer(arrow.PrimitiveTypes.Uint32, n*width, arrow.Uint32Traits.CastToBytes(rows))),
		list(3, flat32(similarity)))
}

func (b *Bundle) loadRanker(dir string) error {
	info := b.manifest.Ranker
	if info == nil {
		return nil
	}
	if want := ranking.Names(RankerSources()); !slices.Equal(info.Features, want) {
		return fmt.Errorf("%w: the ranker takes the features %s; this program computes %s", ErrVersion, strings.Join(info.Features, ", "), strings.Join(want, ", "))
	}
	r := &ranked{width: info.Neighbours}
	b.ranker = r
	if err := b.loadNeighbours(dir); err != nil {
		return fmt.Errorf("%s: %w", NeighboursFile, err)
	}
	if err := ort.Load(); errors.Is(err, native.ErrMissing) {
		r.missing = fmt.Errorf("%w: %w", ErrNoRuntime, err)
		return nil
	} else if err != nil {
		return err
	}
	for name, session := range map[string]struct {
		to    **ort.Session
		heads int64
	}{RankerFile: {&r.order, 1}, OutcomesFile: {&r.outcomes, 2}} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = openRanker(data, session.to, int64(len(info.Features)), session.heads)
		}
		if err == nil && name == RankerFile {
			r.trees, err = plainTrees(data, r.order, len(info.Features))
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrCorrupt, name, err)
		}
	}
	return nil
}

// openRanker opens a model of batch x features to batch x heads.
func openRanker(data []byte, to **ort.Session, features, heads int64) error {
	s, err := ort.Open(data, ort.Options{})
	if err != nil {
		return err
	}
	*to = s
	in, out := s.Inputs(), s.Outputs()
	if len(in) != 1 || len(out) != 1 || in[0].Type != ort.Float || out[0].Type != ort.Float ||
		!slices.Equal(in[0].Shape, []int64{-1, features}) || !slices.Equal(out[0].Shape, []int64{-1, heads}) {
		return fmt.Errorf("it takes %v and gives %v, want float [-1 %d] and [-1 %d]", in, out, features, heads)
	}
	return nil
}

func (b *Bundle) loadNeighbours(dir string) error {
	r, n := b.ranker, b.manifest.Titles
	data, err := b.openMapped(dir, NeighboursFile)
	if err != nil {
		return err
	}
	err = readBatch(data, neighboursSchema(r.width), n, func(columns []arrow.Array) error {
		first, ok := columns[0].(*array.Int64)
		response, okResponse := columns[1].(*array.Float32)
		rows, okRows := columns[2].(*array.FixedSizeList)
		if !ok || !okResponse || !okRows || rows.Offset() != 0 {
			return fmt.Errorf("%w: not a table of neighbours", ErrCorrupt)
		}
		list, ok := rows.ListValues().(*array.Uint32)
		if !ok || list.NullN() != 0 || list.Len() < n*r.width {
			return fmt.Errorf("%w: not a table of neighbours", ErrCorrupt)
		}
		r.firstAt, r.response, r.near = first.Int64Values(), response.Float32Values(), list.Uint32Values()[:n*r.width:n*r.width]
		var err error
		r.similarity, err = vectors[float32](columns[3], n, r.width)
		return err
	})
	if err != nil {
		return err
	}
	r.neighbours = make([]uint8, n)
	for title := range n {
		list := r.near[title*r.width : (title+1)*r.width]
		for _, row := range list {
			if int(row) >= n {
				return fmt.Errorf("%w: title %d has the neighbour %d of %d titles", ErrCorrupt, title, row, n)
			}
		}
		own := slices.Index(list, uint32(title))
		if own < 0 {
			own = len(list)
		}
		r.neighbours[title] = uint8(own)
	}
	return nil
}

func (r *ranked) close() error {
	if r == nil {
		return nil
	}
	var errs []error
	for _, s := range []*ort.Session{r.order, r.outcomes} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}
