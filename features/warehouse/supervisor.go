package warehouse

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"marquee/internal/native"
)

const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 10 * time.Second
	// stopWait is how long a child may take to close its files before it is killed.
	stopWait = 10 * time.Second
)

// supervisor keeps the embedded engine's child running. It owns the listening socket, so the address stays the same
// when a child is replaced, and calls made in between wait in the socket's queue.
type supervisor struct {
	cfg     childConfig
	ln      *net.TCPListener
	socket  *os.File
	log     *slog.Logger
	timeout time.Duration

	// ctx ends when the supervisor is to stop; done is closed when keep has returned.
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	current *process
}

// process is one child.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	began  time.Time
	exited chan struct{}
	err    error // after exited
}

// supervise starts a child on dir and returns once it serves.
func supervise(ctx context.Context, dir string, timeout time.Duration, log *slog.Logger) (*supervisor, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	library, err := native.LibraryPath(native.ChDB)
	if err != nil {
		return nil, err
	}
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("listen for the warehouse: %w", err)
	}
	socket, err := ln.File()
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	s := &supervisor{
		cfg: childConfig{Dir: abs, Library: library, Token: rand.Text()},
		ln:  ln, socket: socket, log: log, timeout: timeout, done: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	p, err := s.start(ctx)
	if err != nil {
		s.cancel()
		return nil, errors.Join(err, ln.Close(), socket.Close())
	}
	s.current = p
	go s.keep()
	return s, nil
}

func (s *supervisor) options() *clickhouse.Options {
	return &clickhouse.Options{
		Protocol: clickhouse.HTTP,
		Addr:     []string{s.ln.Addr().String()},
		Auth:     clickhouse.Auth{Database: "default", Username: "default", Password: s.cfg.Token},
	}
}

func (s *supervisor) dsn() string {
	return fmt.Sprintf("http://default:%s@%s/default", s.cfg.Token, s.ln.Addr())
}

// start runs this binary again as a child and waits until it is ready or says why not.
func (s *supervisor) start(ctx context.Context) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's own file: %w", err)
	}
	cmd := exec.Command(exe)
	// The engine's zone is UTC whatever the machine's is, as it tells its clients.
	cmd.Env = append(os.Environ(), childVariable+"=1", "TZ=UTC")
	cmd.ExtraFiles = []*os.File{s.socket}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, stdin: stdin, began: time.Now(), exited: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run the warehouse's process: %w", err)
	}
	ready := make(chan string, 1)
	var output sync.WaitGroup
	output.Go(func() { s.listen(stdout, ready) })
	output.Go(func() { s.forward(stderr) })
	go func() {
		output.Wait()
		p.err = cmd.Wait()
		close(p.exited)
	}()
	instructions, err := json.Marshal(s.cfg)
	if err == nil {
		_, err = stdin.Write(append(instructions, '\n'))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("instruct the warehouse's process: %w", err), p.kill())
	}
	if err := s.await(ctx, p, ready); err != nil {
		return nil, err
	}
	return p, nil
}

func (s *supervisor) await(ctx context.Context, p *process, ready <-chan string) error {
	timer := time.NewTimer(s.timeout)
	defer timer.Stop()
	select {
	case line, ok := <-ready:
		if version, good := strings.CutPrefix(line, "ready "); ok && good {
			s.log.Debug("embedded warehouse ready", "version", version, "pid", p.cmd.Process.Pid, "took", time.Since(p.began).Round(time.Millisecond))
			return nil
		}
		<-p.exited
		if reason, said := strings.CutPrefix(line, "error "); said {
			return errors.New(reason)
		}
		return fmt.Errorf("its process ended before it was ready: %w", errors.Join(p.err, errEnded))
	case <-timer.C:
		return errors.Join(fmt.Errorf("its process was not ready within %s (warehouse.dial_timeout)", s.timeout), p.kill())
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.kill())
	}
}

var errEnded = errors.New("the engine's own output is in the log")

// listen takes the child's answer, a line that begins with ready or error, and logs the others: they are the engine's.
func (s *supervisor) listen(r io.Reader, ready chan<- string) {
	answered := false
	eachLine(r, func(line string) {
		if !answered && (strings.HasPrefix(line, "ready ") || strings.HasPrefix(line, "error ")) {
			answered = true
			ready <- line
			return
		}
		s.log.Info("warehouse engine", "output", line)
	})
	close(ready)
}

func (s *supervisor) forward(r io.Reader) {
	eachLine(r, func(line string) { s.log.Warn("warehouse engine", "output", line) })
}

// eachLine hands every line on, until the end or an error of r, which is the end too: the process is gone. Lines beyond
// the buffer come in pieces, so that the writer never blocks.
func eachLine(r io.Reader, each func(string)) {
	in := bufio.NewReaderSize(r, 1<<16)
	for {
		line, _, err := in.ReadLine()
		if text := strings.TrimSpace(string(line)); text != "" {
			each(text)
		}
		if err != nil {
			return
		}
	}
}

// keep replaces a child that ended unasked.
func (s *supervisor) keep() {
	defer close(s.done)
	backoff := firstBackoff
	for p := s.current; ; {
		<-p.exited
		if s.ctx.Err() != nil {
			return
		}
		lived := time.Since(p.began)
		s.log.Error("the embedded warehouse's process ended; starting it again", "error", p.err, "after", lived.Round(time.Millisecond))
		if lived > time.Minute {
			backoff = firstBackoff
		}
		next, err := s.restart(backoff)
		if err != nil {
			return
		}
		backoff = min(2*backoff, lastBackoff)
		s.mu.Lock()
		s.current, p = next, next
		s.mu.Unlock()
		if s.ctx.Err() != nil {
			// stop may have seen the one before.
			if err := s.end(next); err != nil {
				s.log.Error("end the embedded warehouse", "error", err)
			}
			return
		}
	}
}

// restart tries until a child is ready; its only error is that the supervisor is to stop.
func (s *supervisor) restart(backoff time.Duration) (*process, error) {
	for {
		select {
		case <-time.After(backoff):
		case <-s.ctx.Done():
			return nil, s.ctx.Err()
		}
		p, err := s.start(s.ctx)
		if err == nil {
			return p, nil
		}
		if s.ctx.Err() != nil {
			return nil, s.ctx.Err()
		}
		backoff = min(2*backoff, lastBackoff)
		s.log.Error("start the embedded warehouse again", "error", err, "next_try_in", backoff)
	}
}

// stop ends the child and returns when it is gone.
func (s *supervisor) stop() error {
	s.cancel()
	s.mu.Lock()
	p := s.current
	s.mu.Unlock()
	err := s.end(p)
	<-s.done
	return errors.Join(err, s.ln.Close(), s.socket.Close())
}

// end asks the child to leave by closing its standard input, and kills it when it does not.
func (s *supervisor) end(p *process) error {
	if err := p.stdin.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return errors.Join(err, p.kill())
	}
	timer := time.NewTimer(stopWait)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
		s.log.Warn("the embedded warehouse did not end; killing it", "waited", stopWait)
		return p.kill()
	}
}

func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the warehouse's process: %w", err)
	}
	<-p.exited
	return nil
}
