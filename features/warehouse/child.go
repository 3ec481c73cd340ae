package warehouse

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"marquee/features/warehouse/chdb"
)

// childVariable marks a process as the embedded warehouse's child.
const childVariable = "MARQUEE_WAREHOUSE_CHILD"

// listenerFD is where the child finds the listening socket. The parent owns the socket, so the address outlives a child.
const listenerFD = 3

// childConfig is what the parent tells its child, on standard input, so that no token stands in a process list.
type childConfig struct {
	Dir     string `json:"dir"`
	Library string `json:"library"`
	Token   string `json:"token"`
}

// IsChild says that this process was started as the embedded warehouse's child. main and TestMain ask it before anything
// else and hand over to ChildMain.
func IsChild() bool { return os.Getenv(childVariable) == "1" }

// ChildMain is the child's whole life; it returns the exit code.
func ChildMain() int {
	in, out, err := parentLine()
	if err == nil {
		err = child(in, out)
	}
	if err != nil {
		// One line: the parent passes it on as the reason that the engine did not start.
		fmt.Fprintln(out, "error "+strings.ReplaceAll(err.Error(), "\n", " "))
		return 1
	}
	return 0
}

// parentLine moves the line to the parent away from standard input and output, which are the engine's: input() and
// file('-') would wait for the parent's words and swallow them, and what the engine prints would stand between the
// answers. The engine reads nothing instead, and prints to standard error.
func parentLine() (in, out *os.File, err error) {
	out = os.Stdout
	fds := [2]int{}
	for i := range fds {
		if fds[i], err = unix.FcntlInt(uintptr(i), unix.F_DUPFD_CLOEXEC, listenerFD+1); err != nil {
			return nil, out, fmt.Errorf("move the line to the parent: %w", err)
		}
	}
	in, out = os.NewFile(uintptr(fds[0]), "parent in"), os.NewFile(uintptr(fds[1]), "parent out")
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return nil, out, err
	}
	defer nothing.Close()
	if err := errors.Join(unix.Dup3(int(nothing.Fd()), 0, 0), unix.Dup3(2, 1, 0)); err != nil {
		return nil, out, fmt.Errorf("move the line to the parent: %w", err)
	}
	return in, out, nil
}

func child(stdin io.Reader, stdout io.Writer) error {
	// The terminal sends an interrupt to the whole group; the parent decides when its child ends.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the parent's instructions: %w", err)
	}
	var cfg childConfig
	if err := json.Unmarshal(line, &cfg); err != nil {
		return fmt.Errorf("read the parent's instructions: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	lib, err := chdb.Load(cfg.Library)
	if err != nil {
		return err
	}
	f, err := newFront(lib, cfg.Dir, cfg.Token)
	if err != nil {
		return err
	}
	file := os.NewFile(listenerFD, "listener")
	ln, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("take over the listening socket: %w", err)
	}
	if err := file.Close(); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "ready %s\n", f.version); err != nil {
		return err
	}
	return serveUntilOrphaned(f, ln, in)
}

// lockDir takes the folder's lock, waiting a while for a child that is on its way out. The lock's file names its holder.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for range 100 {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return f, signLock(f)
		}
		time.Sleep(50 * time.Millisecond)
	}
	defer f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("the warehouse folder %s is in use by another process%s; stop it, or use another folder", dir, holder(f))
	}
	return nil, fmt.Errorf("lock the warehouse folder %s: %w", dir, err)
}

// signLock writes who holds the lock: the parent, which is the process to stop.
func signLock(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("sign the warehouse folder's lock: %w", err)
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getppid())+"\n"), 0); err != nil {
		return fmt.Errorf("sign the warehouse folder's lock: %w", err)
	}
	return nil
}

// holder says who signed the lock, as far as can be read.
func holder(f *os.File) string {
	b := make([]byte, 20)
	n, err := f.ReadAt(b, 0)
	pid, bad := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil && !errors.Is(err, io.EOF) || bad != nil {
		return ""
	}
	return fmt.Sprintf(" (%d)", pid)
}

// leaveWait bounds the child's end, in which it kills what still runs and closes the engine.
const leaveWait = 8 * time.Second

// serveUntilOrphaned serves until standard input ends, which it does when the parent dies however it dies.
func serveUntilOrphaned(f *front, ln net.Listener, stdin io.Reader) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server := &http.Server{
		Handler: f, ReadHeaderTimeout: 10 * time.Second,
		// With it, every statement is killed at the end: nobody is there to take its result.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	orphaned := make(chan struct{})
	go func() {
		defer close(orphaned)
		// What comes on the line is of no interest; that it ends is.
		if _, err := io.Copy(io.Discard, stdin); err != nil {
			fmt.Fprintln(os.Stderr, "the line to the parent broke:", err)
		}
	}()
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-orphaned:
	}
	// An engine that hangs must not keep the folder locked for the next child.
	watchdog := time.AfterFunc(leaveWait, func() {
		fmt.Fprintln(os.Stderr, "the engine did not close; leaving without")
		os.Exit(1)
	})
	defer watchdog.Stop()
	cancel()
	return leave(f, server)
}

func leave(f *front, server *http.Server) error {
	// http.Server.Shutdown would do it but for connections on which nothing was ever said, for which it waits 5 s.
	drained := f.sessions.drain(leaveWait / 4)
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "close the connections:", err)
	}
	if drained != nil {
		// These wait for clients that neither read nor write, and end now that they are cut off.
		if err := f.sessions.drain(leaveWait / 4); err != nil {
			return fmt.Errorf("leave without a clean shutdown: %w", err)
		}
	}
	return f.close(leaveWait / 4)
}
