package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"marquee/internal/datadir"
)

const (
	startTimeout = 3 * time.Minute
	stopTimeout  = time.Minute
)

// service is a running `marquee serve`.
type service struct {
	cmd     *exec.Cmd
	data    string
	log     string
	address string
	exited  chan struct{}
	exitErr error
}

// startService starts the binary on a data folder and returns when it is ready.
func startService(ctx context.Context, binary, data, logFile string) (*service, error) {
	out, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	s := &service{data: data, log: logFile, exited: make(chan struct{})}
	s.cmd = exec.Command(binary, "--data-dir", data, "serve", "--modules", "catalog,ingest,recommend", "--listen", "127.0.0.1:0")
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	go func() {
		s.exitErr = s.cmd.Wait()
		close(s.exited)
	}()
	if err := s.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *service) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.ready(ctx) {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("the service ended: %w\n%s", s.exitErr, s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("wait for the service: %w\n%s", ctx.Err(), s.logTail())
		case <-tick.C:
		}
	}
}

func (s *service) ready(ctx context.Context) bool {
	owner, held, err := datadir.Peek(s.data)
	if err != nil || !held || owner.Address == "" {
		return false
	}
	s.address = owner.Address
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, owner.Address+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// logTail is the end of the service's log, for errors.
func (s *service) logTail() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return filepath.Base(s.log) + ": " + strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// stop ends the service and waits for it.
func (s *service) stop() error {
	select {
	case <-s.exited:
		return s.exitErr
	default:
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the service: %w", err)
	}
	select {
	case <-s.exited:
		return s.exitErr
	case <-time.After(stopTimeout):
		return errors.Join(errors.New("the service did not stop in time"), s.cmd.Process.Kill())
	}
}

// resident is what the service's process holds in memory, and the most it ever held, in bytes; its child, the embedded
// warehouse, is not counted.
func (s *service) resident() (now, peak int64) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), "status"))
	if err != nil {
		return 0, 0
	}
	return statusField(string(text), "VmRSS:"), statusField(string(text), "VmHWM:")
}

// statusField reads a field of /proc/PID/status in bytes; 0 where it is not there.
func statusField(status, field string) int64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

// processorTime is the time the processors have spent on a process.
func processorTime(pid int) time.Duration {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may hold anything: what counts is behind the last one.
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')'):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100)
}
