package peruser_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"

	"marquee/eval/metric"
	"marquee/eval/metric/judge"
	"marquee/eval/peruser"
	"marquee/internal/sparse"
)

// result judges three users of five titles; the last has seen all but one.
func result(t *testing.T, scores []float32, ties metric.Ties) *judge.Result {
	t.Helper()
	m, err := sparse.FromTriplets(3, 5, []uint32{0, 1, 2, 2, 2, 2}, []uint32{0, 1, 0, 1, 2, 3}, nil, sparse.Reject)
	if err != nil {
		t.Fatal(err)
	}
	h := &judge.Holdout{Train: m, Users: []uint32{0, 1, 2}, Relevant: [][]uint32{{1}, {0, 4}, {4}}}
	r, err := judge.Judge(t.Context(), h, judge.Constant(scores), judge.Options{Cutoffs: []int{2}, Ties: ties})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type row struct {
	Model       string   `parquet:"model"`
	Seed        uint64   `parquet:"seed"`
	Fingerprint string   `parquet:"fingerprint"`
	User        uint32   `parquet:"user"`
	ProfileID   string   `parquet:"profile_id"`
	List        []uint32 `parquet:"list,list"`
	NDCG        float64  `parquet:"ndcg@2"`
	Recall      float64  `parquet:"recall@2"`
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	up, down := result(t, []float32{1, 2, 3, 4, 5}, metric.Worst), result(t, []float32{5, 4, 3, 2, 1}, metric.Worst)
	var b bytes.Buffer
	err := peruser.Write(&b, []peruser.Run{{"up", 1, up}, {"down", 7, down}}, func(u uint32) string { return fmt.Sprint("p", u) })
	if err != nil {
		t.Fatal(err)
	}
	rows, err := parquet.Read[row](bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 6 {
		t.Fatalf("%d rows", len(rows))
	}
	for n, got := range rows {
		r, name, seed := up, "up", uint64(1)
		if n >= 3 {
			r, name, seed = down, "down", 7
		}
		i := n % 3
		if got.Model != name || got.Seed != seed || got.User != r.Users[i] || got.ProfileID != fmt.Sprint("p", i) ||
			got.Fingerprint != r.Fingerprint.String() || !slices.Equal(got.List, r.List(i)) ||
			got.NDCG != r.PerUser["ndcg@2"][i] || got.Recall != r.PerUser["recall@2"][i] {
			t.Errorf("row %d is %+v", n, got)
		}
	}
	f, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := f.Lookup("fingerprint"); !ok || !bytes.Contains([]byte(v), []byte(up.Fingerprint.Split)) {
		t.Errorf("the file says of its protocol: %q", v)
	}
}

func TestNothingOfTwoProtocolsInOneFile(t *testing.T) {
	scores := []float32{1, 2, 3, 4, 5}
	err := peruser.Write(io.Discard, []peruser.Run{{"a", 1, result(t, scores, metric.Worst)}, {"b", 1, result(t, scores, metric.Best)}}, nil)
	if !errors.Is(err, judge.ErrFingerprint) {
		t.Error(err)
	}
	if err := peruser.Write(io.Discard, nil, nil); err == nil {
		t.Error("nothing was written as a file")
	}
	if err := peruser.Write(full{}, []peruser.Run{{"a", 1, result(t, scores, metric.Worst)}}, nil); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
