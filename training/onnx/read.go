package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Tensor is a constant of a model: its elements in row-major order.
type Tensor struct {
	Shape  []int
	Floats []float32
}

// Weights are a model's constants of float32 that lie in the file as raw bytes, which is how Graph writes them, by name. Others are left out.
// Errors wrap ErrModel.
func Weights(model []byte) (map[string]Tensor, error) {
	out := map[string]Tensor{}
	err := fields(model, func(number protowire.Number, graph []byte) error {
		if number != 7 {
			return nil
		}
		return fields(graph, func(number protowire.Number, tensor []byte) error {
			if number != 5 {
				return nil
			}
			name, t, err := readTensor(tensor)
			if err == nil && t != nil {
				out[name] = *t
			}
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be read: %w", ErrModel, err)
	}
	return out, nil
}

// readTensor reads a TensorProto; the tensor is nil where it is not of raw float32.
func readTensor(b []byte) (name string, t *Tensor, err error) {
	var dims, kind = []uint64{}, uint64(0)
	var raw []byte
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return "", nil, protowire.ParseError(n)
		}
		b = b[n:]
		var value []byte
		var v uint64
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, typ, b)
		}
		if n < 0 {
			return "", nil, protowire.ParseError(n)
		}
		b = b[n:]
		switch {
		case number == 1 && typ == protowire.VarintType:
			dims = append(dims, v)
		case number == 1 && typ == protowire.BytesType: // packed
			if dims, err = unpack(dims, value); err != nil {
				return "", nil, err
			}
		case number == 2 && typ == protowire.VarintType:
			kind = v
		case number == 8 && typ == protowire.BytesType:
			name = string(value)
		case number == 9 && typ == protowire.BytesType:
			raw = value
		}
	}
	if Type(kind) != Float || raw == nil {
		return name, nil, nil
	}
	t, err = floats(name, dims, raw)
	return name, t, err
}

func floats(name string, dims []uint64, raw []byte) (*Tensor, error) {
	t, size := &Tensor{}, uint64(1)
	for _, d := range dims {
		if d > math.MaxInt32 || size*d > math.MaxInt32 {
			return nil, fmt.Errorf("tensor %q of shape %v", name, dims)
		}
		size *= d
		t.Shape = append(t.Shape, int(d))
	}
	if uint64(len(raw)) != 4*size {
		return nil, fmt.Errorf("tensor %q of shape %v has %d bytes", name, dims, len(raw))
	}
	t.Floats = make([]float32, size)
	for i := range t.Floats {
		t.Floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return t, nil
}

func unpack(to []uint64, b []byte) ([]uint64, error) {
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		to, b = append(to, v), b[n:]
	}
	return to, nil
}

// fields calls do for each field of a message that is a string of bytes; the others are passed over.
func fields(b []byte, do func(protowire.Number, []byte) error) error {
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, typ, b); n < 0 {
				return protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := do(number, value); err != nil {
			return err
		}
	}
	return nil
}
