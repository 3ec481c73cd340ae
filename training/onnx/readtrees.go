package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"marquee/training/gbdt"
)

// Calibrated is a sum of trees with what is made of it: 1 / (1 + exp(-(Slope * sum + Intercept))).
type Calibrated struct {
	Trees            *gbdt.Model
	Slope, Intercept float32
}

// errOther is why a model is no calibrated sum of trees; it is no fault of the model.
var errOther = errors.New("not a calibrated sum of trees")

// ReadCalibrated reads a model that is one calibrated sum of trees over so many features and nothing else, as Graph.Trees and three operators write
// it. It reports false for any other model, which may be as good; an error, which wraps ErrModel, is for bytes that are no model.
func ReadCalibrated(model []byte, features int) (Calibrated, bool, error) {
	var nodes []operator
	err := fields(model, func(number protowire.Number, graph []byte) error {
		if number != 7 {
			return nil
		}
		return fields(graph, func(number protowire.Number, b []byte) error {
			if number != 1 {
				return nil
			}
			o, err := readOperator(b)
			nodes = append(nodes, o)
			return err
		})
	})
	if err != nil {
		return Calibrated{}, false, fmt.Errorf("%w: it cannot be read: %w", ErrModel, err)
	}
	weights, err := Weights(model)
	if err != nil {
		return Calibrated{}, false, err
	}
	c, err := calibrated(nodes, weights, features)
	if errors.Is(err, errOther) || errors.Is(err, gbdt.ErrData) {
		return Calibrated{}, false, nil
	}
	return c, err == nil, err
}

// calibrated follows the operators from the features to the output: trees, a factor and a summand that may be missing, a sigmoid.
func calibrated(nodes []operator, weights map[string]Tensor, features int) (Calibrated, error) {
	c := Calibrated{Slope: 1}
	if len(nodes) == 0 || nodes[0].kind != "TreeEnsembleRegressor" || len(nodes[0].out) != 1 {
		return c, errOther
	}
	value, done := nodes[0].out[0], 0 // how far the operators below have been met
	for _, o := range nodes[1:] {
		if len(o.in) == 0 || len(o.out) != 1 || o.in[0] != value {
			return c, errOther
		}
		value = o.out[0]
		w, scalar := Tensor{}, false
		if len(o.in) == 2 {
			w, scalar = weights[o.in[1]]
			scalar = scalar && len(w.Floats) == 1
		}
		switch {
		case o.kind == "Mul" && scalar && done < 1:
			c.Slope, done = w.Floats[0], 1
		case o.kind == "Add" && scalar && done < 2:
			c.Intercept, done = w.Floats[0], 2
		case o.kind == "Sigmoid" && len(o.in) == 1 && done < 3:
			done = 3
		default:
			return c, errOther
		}
	}
	if done < 3 {
		return c, errOther
	}
	var err error
	c.Trees, err = nodes[0].ensemble(features)
	return c, err
}

// ensemble takes an operator's trees: those with one target, whose tests are all of "at most".
func (o operator) ensemble(features int) (*gbdt.Model, error) {
	text := func(name, unset string) bool {
		v, set := o.text[name]
		return !set || v == unset
	}
	if o.number["n_targets"] != 1 || !text("aggregate_function", "SUM") || !text("post_transform", "NONE") {
		return nil, errOther
	}
	known := []string{
		"n_targets", "aggregate_function", "post_transform", "base_values", "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_modes", "nodes_values",
		"nodes_truenodeids", "nodes_falsenodeids", "nodes_missing_value_tracks_true", "target_treeids", "target_nodeids", "target_ids", "target_weights", "nodes_hitrates",
	}
	for _, name := range o.names {
		if !slices.Contains(known, name) {
			return nil, errOther
		}
	}
	tree, node, feature, mode := o.ints["nodes_treeids"], o.ints["nodes_nodeids"], o.ints["nodes_featureids"], o.texts["nodes_modes"]
	bound, left, right, missing := o.floats["nodes_values"], o.ints["nodes_truenodeids"], o.ints["nodes_falsenodeids"], o.ints["nodes_missing_value_tracks_true"]
	n := len(tree)
	if missing == nil {
		missing = make([]int64, n)
	}
	if len(node) != n || len(feature) != n || len(mode) != n || len(bound) != n || len(left) != n || len(right) != n || len(missing) != n {
		return nil, errOther
	}
	m := &gbdt.Model{Features: features}
	for i := range tree {
		// Trees stand one after the other and their nodes in order, as they are written here; anything else is left to the runtime.
		if i == 0 || tree[i] != tree[i-1] {
			if node[i] != 0 || tree[i] != int64(len(m.Trees)) {
				return nil, errOther
			}
			m.Trees = append(m.Trees, make(gbdt.Tree, 0, 16))
		}
		t := &m.Trees[len(m.Trees)-1]
		if node[i] != int64(len(*t)) {
			return nil, errOther
		}
		leaf := mode[i] == "LEAF"
		if !leaf && mode[i] != "BRANCH_LEQ" || !leaf && (left[i] <= 0 || left[i] > math.MaxInt32 || right[i] <= 0 || right[i] > math.MaxInt32 || feature[i] < 0 || feature[i] > math.MaxInt32) {
			return nil, errOther
		}
		made := gbdt.Node{}
		if !leaf {
			made = gbdt.Node{Feature: int32(feature[i]), Threshold: bound[i], Left: int32(left[i]), Right: int32(right[i]), MissingLeft: missing[i] != 0}
		}
		*t = append(*t, made)
	}
	if err := o.weigh(m); err != nil {
		return nil, err
	}
	return m, m.Validate()
}

// weigh sets the leaves' values and the base.
func (o operator) weigh(m *gbdt.Model) error {
	tree, node, target, weight := o.ints["target_treeids"], o.ints["target_nodeids"], o.ints["target_ids"], o.floats["target_weights"]
	if len(node) != len(tree) || len(target) != len(tree) || len(weight) != len(tree) {
		return errOther
	}
	for i := range tree {
		if target[i] != 0 || tree[i] < 0 || tree[i] >= int64(len(m.Trees)) || node[i] < 0 || node[i] >= int64(len(m.Trees[tree[i]])) {
			return errOther
		}
		leaf := &m.Trees[tree[i]][node[i]]
		if leaf.Left != 0 || leaf.Value != 0 { // a weight of an inner node, or two of one leaf
			return errOther
		}
		leaf.Value = weight[i]
	}
	switch base := o.floats["base_values"]; len(base) {
	case 0:
	case 1:
		m.Base = base[0]
	default:
		return errOther
	}
	return nil
}

// operator is a NodeProto.
type operator struct {
	kind    string
	in, out []string
	names   []string // of attributes
	number  map[string]int64
	text    map[string]string
	ints    map[string][]int64
	floats  map[string][]float32
	texts   map[string][]string
}

func readOperator(b []byte) (operator, error) {
	o := operator{number: map[string]int64{}, text: map[string]string{}, ints: map[string][]int64{}, floats: map[string][]float32{}, texts: map[string][]string{}}
	err := fields(b, func(number protowire.Number, value []byte) error {
		switch number {
		case 1:
			o.in = append(o.in, string(value))
		case 2:
			o.out = append(o.out, string(value))
		case 4:
			o.kind = string(value)
		case 5:
			return o.attribute(value)
		}
		return nil
	})
	return o, err
}

// attribute reads an AttributeProto, lists of numbers packed or not.
func (o *operator) attribute(b []byte) error {
	var name string
	var whole int64
	var word string
	var ints []int64
	var floats []float32
	var words []string
	var hasWhole, hasWord bool
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		switch {
		case kind == protowire.BytesType:
			var value []byte
			if value, n = protowire.ConsumeBytes(b); n < 0 {
				break
			}
			switch number {
			case 1:
				name = string(value)
			case 4:
				word, hasWord = string(value), true
			case 7:
				if len(value)%4 != 0 {
					return fmt.Errorf("attribute %q has %d bytes of floats", name, len(value))
				}
				for ; len(value) > 0; value = value[4:] {
					floats = append(floats, math.Float32frombits(binary.LittleEndian.Uint32(value)))
				}
			case 8:
				packed, err := unpack(nil, value)
				if err != nil {
					return err
				}
				for _, v := range packed {
					ints = append(ints, int64(v))
				}
			case 9:
				words = append(words, string(value))
			}
		case kind == protowire.VarintType && (number == 3 || number == 8):
			var v uint64
			if v, n = protowire.ConsumeVarint(b); n < 0 {
				break
			}
			if number == 3 {
				whole, hasWhole = int64(v), true
			} else {
				ints = append(ints, int64(v))
			}
		case kind == protowire.Fixed32Type && number == 7:
			var v uint32
			if v, n = protowire.ConsumeFixed32(b); n < 0 {
				break
			}
			floats = append(floats, math.Float32frombits(v))
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
	}
	o.names = append(o.names, name)
	if hasWhole {
		o.number[name] = whole
	}
	if hasWord {
		o.text[name] = word
	}
	if ints != nil {
		o.ints[name] = ints
	}
	if floats != nil {
		o.floats[name] = floats
	}
	if words != nil {
		o.texts[name] = words
	}
	return nil
}
