package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"marquee/internal/datadir"
)

const (
	startTimeout = time.Minute
	stopTimeout  = time.Minute
)

// service is a running `marquee serve`.
type service struct {
	options
	cmd     *exec.Cmd
	data    string
	log     string
	owner   datadir.Owner
	exited  chan struct{}
	exitErr error
}

// startService starts the binary on a data folder and returns when it is ready.
func startService(ctx context.Context, o options, data, logFile string) (*service, error) {
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	out, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	s := &service{options: o, data: data, log: logFile, exited: make(chan struct{})}
	s.cmd = s.command("serve", "--modules", o.modules, "--listen", "127.0.0.1:0")
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.binary, err)
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

// command is a call of the binary on the service's data folder and broker.
func (s *service) command(args ...string) *exec.Cmd {
	all := []string{"--data-dir", s.data}
	if s.broker != "" {
		all = append(all, "--broker", s.broker)
	}
	return exec.Command(s.binary, append(all, args...)...)
}

func (s *service) pid() int { return s.cmd.Process.Pid }

// warehouseURL opens the warehouse the service runs.
func (s *service) warehouseURL() string { return s.owner.Engines["warehouse"] }

// brokerURL opens the broker the service uses.
func (s *service) brokerURL() string {
	if s.broker != "" {
		return s.broker
	}
	return s.owner.Engines["broker"]
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
	s.owner = owner
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
