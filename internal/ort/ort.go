// Package ort runs ONNX models with ONNX Runtime, over the caller's memory. It is the only package with cgo, and the only one that
// knows the runtime's bindings.
package ort

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"

	"marquee/internal/native"
)

// Errors to be matched with errors.Is.
var (
	// ErrModel is wrapped by every error about a model that the runtime cannot read or does not support.
	ErrModel = errors.New("unusable ONNX model")
	// ErrShape is wrapped where tensors do not fit a model's inputs or outputs.
	ErrShape = errors.New("tensors do not fit the model")
)

// environment guards the runtime's one environment of a process, whose state the bindings hold.
var environment sync.Mutex

// Load loads libonnxruntime, found as package native says; a process that has loaded it keeps it. Errors wrap native.ErrMissing where
// the library is not there.
func Load() error {
	environment.Lock()
	defer environment.Unlock()
	if onnx.IsInitialized() {
		return nil
	}
	path, err := native.LibraryPath(native.ONNXRuntime)
	if err != nil {
		return err
	}
	onnx.SetSharedLibraryPath(path)
	if err := onnx.InitializeEnvironment(onnx.WithLogLevelError()); err != nil {
		return fmt.Errorf("start ONNX Runtime from %s: %w", path, err)
	}
	if err := onnx.DisableTelemetry(); err != nil {
		return fmt.Errorf("switch ONNX Runtime's telemetry off: %w", err)
	}
	return nil
}

// Version is the loaded runtime's version, or why there is none.
func Version() (string, error) {
	if err := Load(); err != nil {
		return "", err
	}
	return onnx.GetVersion(), nil
}

// Type is the type of a tensor's elements.
type Type string

// The types of elements that models of ours have.
const (
	Float Type = "float"
	Int64 Type = "int64"
)

// Port is an input or an output of a model.
type Port struct {
	Name string
	Type Type
	// Shape has -1 for a dimension that is free, such as that of a batch.
	Shape []int64
}

// Tensor is a value of a port: its elements in row-major order, in the slice of the port's type.
type Tensor struct {
	Shape  []int64
	Floats []float32
	Ints   []int64
}

// Session is a loaded model. It is safe for concurrent use.
type Session struct {
	session         *onnx.DynamicAdvancedSession
	inputs, outputs []Port
	metadata        map[string]string
	close           sync.RWMutex
	closed          bool
}

// Options are how a model is run.
type Options struct {
	// Threads is how many threads one Run may use; 0 means 1, which is best where many run at once.
	Threads int
}

// Open loads a model of at most 2 GiB from memory. Errors about the model wrap ErrModel and say what the runtime says.
func Open(model []byte, o Options) (s *Session, err error) {
	if err := Load(); err != nil {
		return nil, err
	}
	if len(model) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrModel)
	}
	options, err := onnx.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("ask ONNX Runtime for options: %w", err)
	}
	defer func() { err = errors.Join(err, options.Destroy()) }()
	if err := setOptions(options, max(1, o.Threads)); err != nil {
		return nil, fmt.Errorf("set ONNX Runtime's options: %w", err)
	}
	if s, err = ports(model); err != nil {
		return nil, err
	}
	if s.session, err = onnx.NewDynamicAdvancedSessionWithONNXData(model, names(s.inputs), names(s.outputs), options); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModel, err)
	}
	if s.metadata, err = metadata(s.session); err != nil {
		return nil, errors.Join(err, s.session.Destroy())
	}
	return s, nil
}

func setOptions(o *onnx.SessionOptions, threads int) error {
	return errors.Join(
		o.SetIntraOpNumThreads(threads), o.SetInterOpNumThreads(1),
		// A thread that waits in a loop for the next request takes the processor from those that answer.
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		o.SetGraphOptimizationLevel(onnx.GraphOptimizationLevelEnableAll),
	)
}

func ports(model []byte) (*Session, error) {
	in, out, err := onnx.GetInputOutputInfoWithONNXData(model)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModel, err)
	}
	s := &Session{}
	if s.inputs, err = describe("input", in); err != nil {
		return nil, err
	}
	if s.outputs, err = describe("output", out); err != nil {
		return nil, err
	}
	return s, nil
}

func describe(what string, infos []onnx.InputOutputInfo) ([]Port, error) {
	var out []Port
	for _, info := range infos {
		p := Port{Name: info.Name, Shape: info.Dimensions}
		switch {
		case info.OrtValueType != onnx.ONNXTypeTensor:
			return nil, fmt.Errorf("%w: %s %q is no tensor", ErrModel, what, info.Name)
		case info.DataType == onnx.TensorElementDataTypeFloat:
			p.Type = Float
		case info.DataType == onnx.TensorElementDataTypeInt64:
			p.Type = Int64
		default:
			return nil, fmt.Errorf("%w: %s %q has elements of %s; float32 and int64 are supported", ErrModel, what, info.Name, info.DataType)
		}
		out = append(out, p)
	}
	return out, nil
}

func names(ports []Port) []string {
	out := make([]string, len(ports))
	for i, p := range ports {
		out[i] = p.Name
	}
	return out
}

func metadata(s *onnx.DynamicAdvancedSession) (out map[string]string, err error) {
	m, err := s.GetModelMetadata()
	if err != nil {
		return nil, fmt.Errorf("read the model's metadata: %w", err)
	}
	defer func() { err = errors.Join(err, m.Destroy()) }()
	keys, err := m.GetCustomMetadataMapKeys()
	if err != nil {
		return nil, fmt.Errorf("read the model's metadata: %w", err)
	}
	out = make(map[string]string, len(keys))
	for _, k := range keys {
		if out[k], _, err = m.LookupCustomMetadataMap(k); err != nil {
			return nil, fmt.Errorf("read the model's metadata %q: %w", k, err)
		}
	}
	return out, nil
}

// Inputs are the model's inputs, in the order that Run takes them.
func (s *Session) Inputs() []Port { return s.inputs }

// Outputs are the model's outputs, in the order that Run fills them.
func (s *Session) Outputs() []Port { return s.outputs }

// Metadata is what the model's author wrote beside it, by key.
func (s *Session) Metadata() map[string]string { return s.metadata }

// Run computes the outputs, into the caller's memory: every tensor must have a shape that fits its port and exactly the elements of
// the shape. A context that ends stops the model between its operators. Errors about tensors wrap ErrShape.
func (s *Session) Run(ctx context.Context, in, out []Tensor) (err error) {
	if err := errors.Join(fits("input", s.inputs, in), fits("output", s.outputs, out)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("run an ONNX model: %w", err)
	}
	s.close.RLock()
	defer s.close.RUnlock()
	if s.closed {
		return errors.New("run an ONNX model: it is closed")
	}
	// The runtime keeps the addresses of the tensors' memory until they are destroyed.
	var pin runtime.Pinner
	defer pin.Unpin()
	inputs, err := values(&pin, s.inputs, in)
	defer func() { err = errors.Join(err, destroy(inputs)) }()
	if err != nil {
		return err
	}
	outputs, err := values(&pin, s.outputs, out)
	defer func() { err = errors.Join(err, destroy(outputs)) }()
	if err != nil {
		return err
	}
	if ctx.Done() == nil {
		if err := s.session.Run(inputs, outputs); err != nil {
			return fmt.Errorf("run an ONNX model: %w", err)
		}
		return nil
	}
	return s.runUntil(ctx, inputs, outputs)
}

func (s *Session) runUntil(ctx context.Context, inputs, outputs []onnx.Value) (err error) {
	options, err := onnx.NewRunOptions()
	if err != nil {
		return fmt.Errorf("ask ONNX Runtime for options: %w", err)
	}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { ended <- options.Terminate() })
	defer func() {
		if !stop() { // the options must outlive their use
			err = errors.Join(err, <-ended)
		}
		err = errors.Join(err, options.Destroy())
	}()
	if err := s.session.RunWithOptions(inputs, outputs, options); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("run an ONNX model: %w", ctx.Err())
		}
		return fmt.Errorf("run an ONNX model: %w", err)
	}
	return nil
}

func fits(what string, ports []Port, tensors []Tensor) error {
	if len(ports) != len(tensors) {
		return fmt.Errorf("%w: the model has %d %ss, %d were given", ErrShape, len(ports), what, len(tensors))
	}
	for i, p := range ports {
		t := tensors[i]
		n := int64(1)
		ok := len(t.Shape) == len(p.Shape)
		for d, size := range t.Shape {
			n *= size
			ok = ok && size > 0 && (p.Shape[d] < 0 || p.Shape[d] == size)
		}
		if !ok {
			return fmt.Errorf("%w: %s %q has shape %v, given is %v (-1 is any)", ErrShape, what, p.Name, p.Shape, t.Shape)
		}
		have := int64(len(t.Floats))
		if p.Type == Int64 {
			have = int64(len(t.Ints))
		}
		if have != n {
			return fmt.Errorf("%w: %s %q of shape %v takes %d elements of %s, given are %d", ErrShape, what, p.Name, t.Shape, n, p.Type, have)
		}
	}
	return nil
}

func values(pin *runtime.Pinner, ports []Port, tensors []Tensor) ([]onnx.Value, error) {
	out := make([]onnx.Value, 0, len(ports))
	for i, p := range ports {
		v, err := value(pin, p.Type, tensors[i])
		if err != nil {
			return out, fmt.Errorf("hand %q to ONNX Runtime: %w", p.Name, err)
		}
		out = append(out, v)
	}
	return out, nil
}

func value(pin *runtime.Pinner, t Type, x Tensor) (onnx.Value, error) {
	if t == Int64 {
		pin.Pin(&x.Ints[0])
		return onnx.NewTensor(x.Shape, x.Ints)
	}
	pin.Pin(&x.Floats[0])
	return onnx.NewTensor(x.Shape, x.Floats)
}

func destroy(values []onnx.Value) error {
	var errs []error
	for _, v := range values {
		errs = append(errs, v.Destroy())
	}
	return errors.Join(errs...)
}

// Close frees the model once nobody runs it. A second call does nothing.
func (s *Session) Close() error {
	s.close.Lock()
	defer s.close.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if err := s.session.Destroy(); err != nil {
		return fmt.Errorf("close an ONNX model: %w", err)
	}
	return nil
}
