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
	"runtime"
	"strings"
	"sync"
	"syscall"
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
// when a child is replaced. Connections made in between wait for the next child, for as long as a start may take.
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
	up      chan struct{} // closed while a child serves
	failure error         // why none does
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
		ln:  ln, socket: socket, log: log, timeout: timeout, done: make(chan struct{}), up: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	p, err := s.start(ctx)
	if err != nil {
		s.cancel()
		return nil, errors.Join(err, ln.Close(), socket.Close())
	}
	s.serves(p)
	go s.keep()
	return s, nil
}

func (s *supervisor) options() *clickhouse.Options {
	return &clickhouse.Options{
		Protocol: clickhouse.HTTP,
		Addr:     []string{s.ln.Addr().String()},
		Auth:     clickhouse.Auth{Database: "default", Username: "default", Password: s.cfg.Token},

		DialContext: s.dial,
	}
}

// serves notes that a child is ready.
func (s *supervisor) serves(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current, s.failure = p, nil
	close(s.up)
}

// fails notes why no child serves.
func (s *supervisor) fails(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
	select {
	case <-s.up:
		s.up = make(chan struct{})
	default:
	}
}

// dial connects to the child that serves. Where none comes up in time, its error says why: in the socket's queue a
// call would wait for its answer as if it were a long query.
func (s *supervisor) dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.mu.Lock()
	up := s.up
	s.mu.Unlock()
	select {
	case <-up:
	case <-s.ctx.Done():
		return nil, errClosed
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, fmt.Errorf("the embedded warehouse is not running (%w): %w", s.failure, ctx.Err())
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func (s *supervisor) dsn() string {
	return fmt.Sprintf("http://default:%s@%s/default", s.cfg.Token, s.ln.Addr())
}

// start runs this binary again as a child and waits until it is ready or says why not.
func (s *supervisor) start(ctx context.Context) (*process, error) {
	// By its path this might be another program by now: a newer one, put in its place while it runs.
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"marquee-warehouse"}
	// The end of standard input tells the child too, but not one that hangs.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
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
	ready := make(chan string, 1)
	started := make(chan error)
	go p.live(started, func() { s.listen(stdout, ready) }, func() { s.forward(stderr) })
	if err := <-started; err != nil {
		return nil, fmt.Errorf("run the warehouse's process: %w", err)
	}
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

// live runs the process and the readers of its output until it has exited.
func (p *process) live(started chan<- error, readers ...func()) {
	// To the kernel, the thread that started a process is its parent: the thread must not end before the process does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	var output sync.WaitGroup
	for _, read := range readers {
		output.Go(read)
	}
	output.Wait()
	p.err = p.cmd.Wait()
	close(p.exited)
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

var (
	errEnded  = errors.New("the engine's own output is in the log")
	errClosed = errors.New("the embedded warehouse is closed")
)

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
		s.fails(errors.Join(p.err, errEnded))
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
		p = next
		s.serves(next)
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
		s.fails(err)
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
