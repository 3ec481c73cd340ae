package nn

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"marquee/internal/vec"
)

func nan() float64 { return math.NaN() }

// magic begins a checkpoint; after it come the length of the header, the header as JSON, and the tensors it lists.
const magic = "marquee-checkpoint-1\n"

// maxHeader bounds the header's bytes.
const maxHeader = 1 << 24

// header says what a checkpoint holds. The tensors of every parameter follow: the value, the optimiser's state, the best value.
type header struct {
	Fingerprint string   `json:"fingerprint"`
	Steps       int      `json:"steps"`
	Epochs      []Epoch  `json:"epochs"`
	Tensors     []tensor `json:"tensors"`
}

type tensor struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"`
	State int    `json:"state"` // tensors of the optimiser's state
	Best  bool   `json:"best"`
}

// save replaces the checkpoint: what is read is a whole one, the old or the new.
func (f *fitting) save() (err error) {
	path := f.schedule.Checkpoint
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	w := bufio.NewWriterSize(file, 1<<20)
	if err := f.write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func (f *fitting) write(w io.Writer) error {
	h := header{Fingerprint: f.schedule.Fingerprint, Steps: f.model.Optimizer().Steps(), Epochs: f.epochs}
	for i := range h.Epochs { // How long it took is nothing a resumed training shares with one that was not interrupted.
		h.Epochs[i].Seconds = math.Round(h.Epochs[i].Seconds*1000) / 1000
	}
	params := f.model.Params()
	for _, p := range params {
		h.Tensors = append(h.Tensors, tensor{Name: p.Name, Shape: p.Shape, State: p.states(), Best: f.best != nil})
	}
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	buf := append([]byte(magic), binary.LittleEndian.AppendUint32(nil, uint32(len(text)))...)
	if _, err := w.Write(append(buf, text...)); err != nil {
		return err
	}
	for i, p := range params {
		all := append([][]float32{p.Value}, p.state[:p.states()]...)
		if f.best != nil {
			all = append(all, f.best[i])
		}
		for _, v := range all {
			if err := binary.Write(w, binary.LittleEndian, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// states is the number of tensors the optimiser keeps.
func (p *Param) states() int {
	n := 0
	for n < len(p.state) && p.state[n] != nil {
		n++
	}
	return n
}

// resume goes on from the checkpoint where there is one.
func (f *fitting) resume() error {
	file, err := os.Open(f.schedule.Checkpoint)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = f.read(bufio.NewReaderSize(file, 1<<20))
	return errors.Join(err, file.Close())
}

func (f *fitting) read(r io.Reader) error {
	h, err := readHeader(r)
	if err != nil {
		return err
	}
	if h.Fingerprint != f.schedule.Fingerprint {
		return fmt.Errorf("%w: it is of other data or another configuration; remove it to begin anew", ErrCheckpoint)
	}
	params := f.model.Params()
	if len(h.Tensors) != len(params) {
		return fmt.Errorf("%w: it has %d parameters, the model %d", ErrCheckpoint, len(h.Tensors), len(params))
	}
	var best [][]float32
	for i, p := range params {
		t := h.Tensors[i]
		if t.Name != p.Name || !sameShape(t.Shape, p.Shape) || t.State < 0 || t.State > len(p.state) {
			return fmt.Errorf("%w: parameter %d is %s %v, the model's %s %v", ErrCheckpoint, i, t.Name, t.Shape, p.Name, p.Shape)
		}
		p.needState(t.State)
		all := append([][]float32{p.Value}, p.state[:t.State]...)
		if t.Best {
			best = append(best, vec.Large(len(p.Value)))
			all = append(all, best[i])
		}
		for _, v := range all {
			if err := binary.Read(r, binary.LittleEndian, v); err != nil {
				return fmt.Errorf("%w: %s: %w", ErrCheckpoint, p.Name, err)
			}
		}
	}
	if len(best) != 0 && len(best) != len(params) {
		return fmt.Errorf("%w: best values of %d parameters of %d", ErrCheckpoint, len(best), len(params))
	}
	if n, err := io.Copy(io.Discard, r); err != nil || n > 0 {
		return errors.Join(err, fmt.Errorf("%w: %d bytes behind its end", ErrCheckpoint, n))
	}
	f.best, f.epochs = best, h.Epochs
	f.model.Optimizer().SetSteps(h.Steps)
	return nil
}

func readHeader(r io.Reader) (*header, error) {
	start := make([]byte, len(magic)+4)
	if _, err := io.ReadFull(r, start); err != nil || string(start[:len(magic)]) != magic {
		return nil, errors.Join(fmt.Errorf("%w: it does not begin as one", ErrCheckpoint), err)
	}
	n := binary.LittleEndian.Uint32(start[len(magic):])
	if n > maxHeader {
		return nil, fmt.Errorf("%w: a header of %d bytes", ErrCheckpoint, n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrCheckpoint, err)
	}
	var h header
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrCheckpoint, err)
	}
	if h.Steps < 0 {
		return nil, fmt.Errorf("%w: after %d steps", ErrCheckpoint, h.Steps)
	}
	return &h, nil
}

func sameShape(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
