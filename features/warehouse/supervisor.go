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

	mu      sync.Mutex
	current *process
	closing bool
	done    chan struct{}
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
	p, err := s.start(ctx)
	if err != nil {
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
	cmd.Env = append(os.Environ(), childVariable+"=1")
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
	return p, s.await(ctx, p, ready)
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

// listen takes the child's first line as its answer and the rest as messages.
func (s *supervisor) listen(r io.Reader, ready chan<- string) {
	in := bufio.NewScanner(r)
	if in.Scan() {
		ready <- in.Text()
	}
	close(ready)
	for in.Scan() {
		s.log.Info("warehouse engine", "output", in.Text())
	}
}

func (s *supervisor) forward(r io.Reader) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if line = strings.TrimSpace(line); line != "" {
			s.log.Warn("warehouse engine", "output", line)
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
	for {
		s.mu.Lock()
		p := s.current
		s.mu.Unlock()
		<-p.exited
		s.mu.Lock()
		closing := s.closing
		s.mu.Unlock()
		if closing {
			return
		}
		s.log.Error("the embedded warehouse's process ended; starting it again", "error", p.err, "after", time.Since(p.began).Round(time.Millisecond))
		if time.Since(p.began) > time.Minute {
			backoff = firstBackoff
		}
		next, ok := s.restart(backoff)
		if !ok {
			return
		}
		backoff = min(2*backoff, lastBackoff)
		s.mu.Lock()
		s.current, closing = next, s.closing
		s.mu.Unlock()
		if closing {
			s.end(next)
			return
		}
	}
}

// restart tries until a child is ready; it gives up when the supervisor is stopped.
func (s *supervisor) restart(backoff time.Duration) (*process, bool) {
	for {
		time.Sleep(backoff)
		s.mu.Lock()
		closing := s.closing
		s.mu.Unlock()
		if closing {
			return nil, false
		}
		p, err := s.start(context.Background())
		if err == nil {
			return p, true
		}
		s.log.Error("start the embedded warehouse again", "error", err, "next_try_in", backoff)
		backoff = min(2*backoff, lastBackoff)
	}
}

// stop ends the child and returns when it is gone.
func (s *supervisor) stop() error {
	s.mu.Lock()
	s.closing = true
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
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopWait):
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
