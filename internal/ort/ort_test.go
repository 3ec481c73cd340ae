package ort

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"marquee/internal/native"
)

func field(b []byte, n protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), m)
}

func varint(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

// model is an ONNX model of one operator from x to y, both rows x 2 of elements of the type, whose number of rows is free.
func model(operator string, element uint64) []byte {
	port := func(name string) []byte {
		shape := field(field(nil, 1, field(nil, 2, []byte("rows"))), 1, varint(nil, 1, 2))
		tensor := field(varint(nil, 1, element), 2, shape)
		return field(field(nil, 1, []byte(name)), 2, field(nil, 1, tensor))
	}
	node := field(field(field(nil, 1, []byte("x")), 2, []byte("y")), 4, []byte(operator))
	graph := field(field(field(field(nil, 1, node), 2, []byte("test")), 11, port("x")), 12, port("y"))
	b := field(varint(nil, 1, 10), 7, graph)
	b = field(b, 8, varint(nil, 2, 20))
	return field(b, 14, field(field(nil, 1, []byte("key")), 2, []byte("value")))
}

func TestRun(t *testing.T) {
	s, err := Open(model("Neg", 1), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if in := s.Inputs(); len(in) != 1 || in[0].Name != "x" || in[0].Type != Float || !slices.Equal(in[0].Shape, []int64{-1, 2}) {
		t.Errorf("inputs %v", in)
	}
	if s.Metadata()["key"] != "value" {
		t.Errorf("metadata %v", s.Metadata())
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, c := range []context.Context{context.Background(), ctx} {
		out := make([]float32, 4)
		err := s.Run(c, []Tensor{{Shape: []int64{2, 2}, Floats: []float32{1, 2, 3, 4}}}, []Tensor{{Shape: []int64{2, 2}, Floats: out}})
		if err != nil || !slices.Equal(out, []float32{-1, -2, -3, -4}) {
			t.Errorf("Run gives %v, %v", out, err)
		}
	}
	ints, err := Open(model("Neg", 7), Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, ints)
	out := make([]int64, 2)
	if err := ints.Run(ctx, []Tensor{{Shape: []int64{1, 2}, Ints: []int64{5, -7}}}, []Tensor{{Shape: []int64{1, 2}, Ints: out}}); err != nil || out[0] != -5 || out[1] != 7 {
		t.Errorf("Run gives %v, %v", out, err)
	}
	cancel()
	if err := s.Run(ctx, []Tensor{{Shape: []int64{1, 2}, Floats: make([]float32, 2)}}, []Tensor{{Shape: []int64{1, 2}, Floats: make([]float32, 2)}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run ends with %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if err := s.Run(context.Background(), []Tensor{{Shape: []int64{1, 2}, Floats: make([]float32, 2)}}, []Tensor{{Shape: []int64{1, 2}, Floats: make([]float32, 2)}}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed model answers %v", err)
	}
}

func closed(t *testing.T, s *Session) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestRunRefusesTensorsThatDoNotFit(t *testing.T) {
	s, err := Open(model("Neg", 1), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, s)
	good := Tensor{Shape: []int64{1, 2}, Floats: make([]float32, 2)}
	for name, c := range map[string]struct {
		in, out []Tensor
		want    string
	}{
		"none":          {nil, []Tensor{good}, "1 inputs, 0 were given"},
		"columns":       {[]Tensor{{Shape: []int64{1, 3}, Floats: make([]float32, 3)}}, []Tensor{good}, `"x" has shape [-1 2], given is [1 3]`},
		"dimensions":    {[]Tensor{{Shape: []int64{2}, Floats: make([]float32, 2)}}, []Tensor{good}, "given is [2]"},
		"no rows":       {[]Tensor{{Shape: []int64{0, 2}}}, []Tensor{good}, "given is [0 2]"},
		"elements":      {[]Tensor{good}, []Tensor{{Shape: []int64{1, 2}, Floats: make([]float32, 1)}}, `output "y" of shape [1 2] takes 2 elements of float, given are 1`},
		"other type":    {[]Tensor{{Shape: []int64{1, 2}, Ints: make([]int64, 2)}}, []Tensor{good}, "given are 0"},
		"output's rows": {[]Tensor{good}, []Tensor{{Shape: []int64{2, 2}, Floats: make([]float32, 4)}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Run(context.Background(), c.in, c.out)
			if err == nil || c.want != "" && (!errors.Is(err, ErrShape) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	ok := model("Neg", 1)
	for name, b := range map[string][]byte{
		"nothing":             nil,
		"garbage":             []byte("this is no model"),
		"cut":                 ok[:len(ok)/2],
		"an unknown operator": model("NoSuchOperator", 1),
		"doubles":             model("Neg", 11),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Open(b, Options{}); !errors.Is(err, ErrModel) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// TestManyAtOnce runs one model from many goroutines while it is closed.
func TestManyAtOnce(t *testing.T) {
	s, err := Open(model("Neg", 1), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			in, out := []float32{float32(i), 1}, make([]float32, 2)
			for range 200 {
				err := s.Run(context.Background(), []Tensor{{Shape: []int64{1, 2}, Floats: in}}, []Tensor{{Shape: []int64{1, 2}, Floats: out}})
				if err != nil {
					if !strings.Contains(err.Error(), "closed") {
						t.Error(err)
					}
					return
				}
				if out[0] != -in[0] {
					t.Errorf("%v of %v", out, in)
				}
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// TestWithoutTheLibrary runs in a process of its own, since one that has loaded the library keeps it.
func TestWithoutTheLibrary(t *testing.T) {
	if os.Getenv("ORT_TEST_CHILD") != "" {
		_, err := Open(model("Neg", 1), Options{})
		if !errors.Is(err, native.ErrMissing) {
			t.Fatalf("error is %v", err)
		}
		return
	}
	c := exec.Command(os.Args[0], "-test.run=^TestWithoutTheLibrary$")
	c.Env = append(os.Environ(), "ORT_TEST_CHILD=1", native.DirVariable+"="+t.TempDir())
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(model("Neg", 1))
	f.Add(model("Relu", 7))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Open(b, Options{})
		if err != nil {
			return
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestVersion(t *testing.T) {
	if v, err := Version(); err != nil || !strings.Contains(v, ".") {
		t.Errorf("version %q, %v", v, err)
	}
}
