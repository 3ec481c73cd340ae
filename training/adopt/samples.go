package adopt

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"marquee/internal/ort"
)

// Bounds of a file of samples.
const (
	maxSamples = 10000
	maxLine    = 4 << 20
)

// sample is one of them: a value for each port, null where it is not a number.
type sample struct {
	line int
	in   [][]float64
	out  []float64
}

// compare runs the samples one by one, holds what comes out against what they say, and then runs them side by side, which must come to the
// same.
func compare(ctx context.Context, s *ort.Session, from io.Reader) (Report, error) {
	samples, err := readSamples(s, from)
	if err != nil {
		return Report{}, err
	}
	report := Report{Samples: len(samples)}
	var alone [][]float32
	for i := range samples {
		got, err := run(ctx, s, samples[i:i+1])
		if err != nil {
			return report, fmt.Errorf("samples, line %d: %w", samples[i].line, err)
		}
		for k, want := range samples[i].out {
			d := math.Abs(float64(got[k]) - want)
			if !(d <= Tolerance) {
				return report, fmt.Errorf("samples, line %d: number %d of %q is %v, the sample says %v; they may differ by %g. Was the model exported after the samples, and for inference?",
					samples[i].line, k, s.Outputs()[0].Name, got[k], want, Tolerance)
			}
			report.Worst = max(report.Worst, d)
		}
		alone = append(alone, got)
	}
	for lo := 0; lo < len(samples); lo += batch {
		hi := min(lo+batch, len(samples))
		together, err := run(ctx, s, samples[lo:hi])
		if err != nil {
			return report, fmt.Errorf("samples, lines %d to %d side by side: %w", samples[lo].line, samples[hi-1].line, err)
		}
		for k, want := range slices.Concat(alone[lo:hi]...) {
			if d := math.Abs(float64(together[k] - want)); !(d <= Tolerance) {
				at := lo + k/len(alone[lo])
				return report, fmt.Errorf("samples, line %d: beside others number %d of %q is %v, alone it is %v: the model must not count what fills lists up, which is -1 of whole numbers and 0 of others",
					samples[at].line, k%len(alone[lo]), s.Outputs()[0].Name, together[k], want)
			}
		}
	}
	return report, nil
}

// batch is how many samples are run side by side.
const batch = 64

func readSamples(s *ort.Session, from io.Reader) ([]sample, error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	var out []sample
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		x, err := readSample(s, lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("samples, line %d: %w", n, err)
		}
		if len(out) == maxSamples {
			return nil, fmt.Errorf("there are more than %d samples", maxSamples)
		}
		x.line = n
		out = append(out, x)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the samples: %w", err)
	}
	if len(out) == 0 {
		return nil, errors.New("there are no samples: give a line of JSON for each, with the model's inputs and outputs by name")
	}
	return out, nil
}

// readSample reads an object of the model's ports.
func readSample(s *ort.Session, line []byte) (sample, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return sample{}, fmt.Errorf("it is no object of JSON: %w", err)
	}
	var x sample
	ports := slices.Concat(s.Inputs(), s.Outputs())
	var names []string
	for i, p := range ports {
		names = append(names, p.Name)
		raw, ok := fields[p.Name]
		if !ok {
			return sample{}, fmt.Errorf("it has no %q; the model takes and gives %s", p.Name, portNames(ports))
		}
		values, err := numbers(raw)
		if err == nil {
			err = fitting(p, values)
		}
		if err != nil {
			return sample{}, fmt.Errorf("%q %w", p.Name, err)
		}
		if i < len(s.Inputs()) {
			x.in = append(x.in, values)
		} else {
			x.out = values
		}
	}
	for name := range fields {
		if !slices.Contains(names, name) {
			return sample{}, fmt.Errorf("the model has no %q; it takes and gives %s", name, portNames(ports))
		}
	}
	// Lists that are read together are of one length.
	length := -1
	for i, p := range s.Inputs() {
		if len(p.Shape) == 2 && p.Shape[1] < 0 {
			if length >= 0 && len(x.in[i]) != length {
				return sample{}, fmt.Errorf("%q has %d numbers, a list before it has %d", p.Name, len(x.in[i]), length)
			}
			length = len(x.in[i])
		}
	}
	return x, nil
}

func portNames(ports []ort.Port) string {
	var names []string
	for _, p := range ports {
		names = append(names, fmt.Sprintf("%q", p.Name))
	}
	return strings.Join(names, ", ")
}

// numbers reads a number or a list of them; null is NaN.
func numbers(raw json.RawMessage) ([]float64, error) {
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] != '[' {
		raw = slices.Concat([]byte{'['}, raw, []byte{']'})
	}
	var list []*float64
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, errors.New("must be a number or a list of numbers")
	}
	out := make([]float64, len(list))
	for i, v := range list {
		if out[i] = math.NaN(); v != nil {
			out[i] = *v
		}
	}
	return out, nil
}

// fitting holds values against a port: how many there are, and whether they are whole where they must be.
func fitting(p ort.Port, values []float64) error {
	want := int64(1)
	if len(p.Shape) == 2 {
		want = p.Shape[1]
	}
	if want >= 0 && int64(len(values)) != want {
		return fmt.Errorf("must have %d numbers, has %d", want, len(values))
	}
	if len(values) == 0 {
		return errors.New("must have a number at least")
	}
	for _, v := range values {
		if p.Type == ort.Int64 && (v != math.Trunc(v) || math.Abs(v) > 1<<53) {
			return fmt.Errorf("must hold whole numbers, has %v", v)
		}
	}
	return nil
}

// run asks the model of some samples at once.
func run(ctx context.Context, s *ort.Session, samples []sample) ([]float32, error) {
	n := len(samples)
	var in []ort.Tensor
	for i, p := range s.Inputs() {
		t := ort.Tensor{Shape: []int64{int64(n)}}
		width := 1
		if len(p.Shape) == 2 {
			for _, x := range samples {
				width = max(width, len(x.in[i]))
			}
			t.Shape = append(t.Shape, int64(width))
		}
		for _, x := range samples {
			for k := range width {
				filled, v := k >= len(x.in[i]), 0.0
				if !filled {
					v = x.in[i][k]
				}
				switch {
				case p.Type == ort.Int64 && filled:
					t.Ints = append(t.Ints, -1)
				case p.Type == ort.Int64:
					t.Ints = append(t.Ints, int64(v))
				default:
					t.Floats = append(t.Floats, float32(v))
				}
			}
		}
		in = append(in, t)
	}
	width := len(samples[0].out)
	out := make([]float32, n*width)
	if err := s.Run(ctx, in, []ort.Tensor{{Shape: []int64{int64(n), int64(width)}, Floats: out}}); err != nil {
		return nil, err
	}
	return out, nil
}
