package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed peer.py
var peerScript string

// peer is the Python process that the other engines run in.
type peer struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	dir     string // where vectors, queries and results are handed over
	Version struct {
		HNSWLib string `json:"hnswlib"`
		Faiss   string `json:"faiss"`
		SIMD    string `json:"simd"`
	}
}

// command is a line sent to the peer.
type command struct {
	Do             string `json:"do"` // load, build, search, save or restore
	Engine         string `json:"engine,omitempty"`
	Vectors        string `json:"vectors,omitempty"`
	Queries        string `json:"queries,omitempty"`
	Out            string `json:"out"` // the file to write; of restore, to read
	Metric         string `json:"metric,omitempty"`
	Dim            int    `json:"dim,omitempty"`
	K              int    `json:"k,omitempty"`
	M              int    `json:"m,omitempty"`
	EFConstruction int    `json:"ef_construction,omitempty"`
	Threads        int    `json:"threads,omitempty"`
	EF             int    `json:"ef,omitempty"`
}

// startPeer starts the interpreter given, which must have hnswlib, faiss and numpy.
func startPeer(ctx context.Context, python, dir string) (*peer, error) {
	p := &peer{cmd: exec.CommandContext(ctx, python, "-c", peerScript), dir: dir}
	p.cmd.Stderr = os.Stderr
	// BLAS and OpenMP threads that wait would count as CPU time.
	p.cmd.Env = append(os.Environ(), "OMP_WAIT_POLICY=passive", "OPENBLAS_NUM_THREADS=1")
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the Python peer: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the Python peer: %w", err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the Python peer: %w", err)
	}
	if err := p.read(&p.Version); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *peer) close() error {
	_ = p.in.Close() // it ends when its input does
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the Python peer: %w", err)
	}
	return nil
}

func (p *peer) read(into any) error {
	if !p.out.Scan() {
		return errors.Join(errors.New("the Python peer ended early"), p.out.Err())
	}
	if err := json.Unmarshal(p.out.Bytes(), into); err != nil {
		return fmt.Errorf("the Python peer's answer: %w", err)
	}
	return nil
}

// answer is what the peer says to a command.
type answer struct {
	CPU      float64 `json:"cpu"`      // seconds it took
	Resident int64   `json:"resident"` // bytes of memory that a restore added
}

// ask sends a command and returns the CPU time it took.
func (p *peer) ask(c command) (time.Duration, error) {
	a, err := p.exchange(c)
	return time.Duration(a.CPU * float64(time.Second)), err
}

func (p *peer) exchange(c command) (a answer, err error) {
	line, err := json.Marshal(c)
	if err != nil {
		return a, fmt.Errorf("ask the Python peer: %w", err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return a, fmt.Errorf("ask the Python peer: %w", err)
	}
	return a, p.read(&a)
}

// load hands a set over and returns the k true neighbours of each query.
func (p *peer) load(s *set) (truth []uint32, err error) {
	c := command{Do: "load", Metric: s.metricName(), Dim: s.dim, K: k}
	c.Vectors, c.Queries, c.Out = p.file("vectors"), p.file("queries"), p.file("truth")
	if err := writeFloats(c.Vectors, s.vectors); err != nil {
		return nil, err
	}
	if err := writeFloats(c.Queries, s.queries); err != nil {
		return nil, err
	}
	if _, err := p.ask(c); err != nil {
		return nil, err
	}
	return readIDs(c.Out)
}

func (p *peer) file(name string) string { return filepath.Join(p.dir, name) }

func writeFloats(path string, v []float32) error {
	b := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("hand vectors over: %w", err)
	}
	return nil
}

func readIDs(path string) ([]uint32, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	ids := make([]uint32, len(b)/4)
	for i := range ids {
		ids[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return ids, nil
}

// python is an engine in the peer.
type python struct {
	*peer
	engine string
}

func (e python) name() string { return e.engine }

func (e python) build(_ context.Context, _ *set, threads int) (time.Duration, error) {
	return e.ask(command{Do: "build", Engine: e.engine, M: m, EFConstruction: efConstruction, Threads: threads})
}

func (e python) search(_ context.Context, ef int) ([]uint32, error) {
	out := e.file("ids")
	if _, err := e.ask(command{Do: "search", Engine: e.engine, EF: ef, Out: out}); err != nil {
		return nil, err
	}
	return readIDs(out)
}

func (e python) time(_ context.Context, ef int) (time.Duration, error) {
	return e.ask(command{Do: "search", Engine: e.engine, EF: ef})
}
