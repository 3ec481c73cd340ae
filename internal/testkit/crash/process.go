package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"marquee/internal/testkit/port"
	"marquee/internal/testkit/reap"
)

// upTimeout bounds a start, stopTimeout an orderly end.
const (
	upTimeout   = 45 * time.Second
	stopTimeout = 30 * time.Second
)

// process is a marquee serve that can be killed and started again.
type process struct {
	name   string
	binary string
	// dir is its data folder, args what it is started with beyond that and its address.
	dir  string
	args []string
	port int

	cmd    *exec.Cmd
	ended  chan struct{}
	reaper *reap.Reaper
}

func newProcess(name, binary, dir string, args ...string) (*process, error) {
	p, err := port.Free()
	return &process{name: name, binary: binary, dir: dir, args: args, port: p}, err
}

func (p *process) url() string { return "http://127.0.0.1:" + strconv.Itoa(p.port) }

// start starts the process with more arguments and environment, and returns without waiting until it is up.
func (p *process) start(args []string, env ...string) error {
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(p.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	all := append([]string{"serve", "--data-dir", p.dir, "--listen", "127.0.0.1:" + strconv.Itoa(p.port)}, p.args...)
	p.cmd = exec.Command(p.binary, append(all, args...)...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = append(os.Environ(), env...), log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	fmt.Fprintf(log, "--- %s: starting %v %v\n", time.Now().Format(time.StampMilli), p.cmd.Args, env)
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	p.ended = ended
	cmd := p.cmd
	go func() {
		defer close(ended)
		_ = cmd.Wait() // Killed, mostly; its log says more.
	}()
	if p.reaper, err = reap.Watch(p.cmd.Process.Pid, "KILL", ""); err != nil {
		return errors.Join(err, p.cmd.Process.Kill())
	}
	return nil
}

// awaitUp waits until the process says it is ready, or ends.
func (p *process) awaitUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	for {
		if status, _, err := get(ctx, p.url()+"/readyz"); err == nil && status == 200 {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended while it was starting: see %s.log", p.name, p.dir)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready within %v: see %s.log", p.name, upTimeout, p.dir)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// up starts the process and waits until it is ready.
func (p *process) up(ctx context.Context) error {
	if err := p.start(nil); err != nil {
		return err
	}
	return p.awaitUp(ctx)
}

func (p *process) running() bool {
	if p.ended == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill ends the process as SIGKILL does, and returns when it is gone.
func (p *process) kill() error {
	if p.ended == nil {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	return p.gone()
}

// gone waits for the end of a process that is dying or dead.
func (p *process) gone() error {
	<-p.ended
	return p.reaper.Forget()
}

// stop ends the process in order.
func (p *process) stop(ctx context.Context) error {
	if !p.running() {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.ended:
		return p.reaper.Forget()
	case <-ctx.Done():
	case <-time.After(stopTimeout):
	}
	return errors.Join(fmt.Errorf("%s does not stop within %v: see %s.log", p.name, stopTimeout, p.dir), p.kill())
}

// killWarehouse kills the warehouse's process, a child of this one.
func (p *process) killWarehouse() error {
	pid := p.cmd.Process.Pid
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	children := strings.Fields(string(text))
	if err == nil && len(children) == 0 {
		// A child belongs to the thread that made it.
		children, err = childrenOfThreads(pid)
	}
	if err != nil {
		return fmt.Errorf("find the warehouse of %s: %w", p.name, err)
	}
	for _, child := range children {
		line, err := os.ReadFile("/proc/" + child + "/cmdline")
		if err != nil || !strings.HasPrefix(string(line), "marquee-warehouse") {
			continue
		}
		id, err := strconv.Atoi(child)
		if err != nil {
			return err
		}
		return syscall.Kill(id, syscall.SIGKILL)
	}
	return fmt.Errorf("%s has no warehouse among its processes %v", p.name, children)
}

func childrenOfThreads(pid int) ([]string, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	var children []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has ended
		}
		children = append(children, strings.Fields(string(text))...)
	}
	return children, nil
}
