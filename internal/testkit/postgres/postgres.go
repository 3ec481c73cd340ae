// Package postgres runs a private PostgreSQL server for tests, from what is installed on the machine. The service never does.
package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"marquee/internal/testkit/port"
	"marquee/internal/testkit/reap"
)

// ErrMissing means that PostgreSQL is not installed.
var ErrMissing = errors.New("no initdb in PATH or /usr/lib/postgresql/*/bin")

// Options say which server to run.
type Options struct {
	// Durable makes a commit survive the death of the server, which can be killed and restarted then. The power of the
	// machine is not to fail either way.
	Durable bool
}

// Server is a running PostgreSQL. Its methods are for one goroutine, but URL and Exec, which are for any.
type Server struct {
	opts     Options
	bin      string
	dir      string
	attr     *syscall.SysProcAttr
	port     int
	password string
	process  *os.Process
	ended    chan struct{}
	log      *bytes.Buffer
	// reaper must be held on to: collected, it would take the server down.
	reaper *reap.Reaper
}

// Start runs a server and returns when it answers. It ends, and its files go, with Close or this process.
func Start(opts Options) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	// More than once: another process may take the free port before the server does.
	for attempt := 0; ; attempt++ {
		s := &Server{opts: opts, bin: bin, password: rand.Text()}
		if err = s.start(); err == nil {
			return s, nil
		}
		if attempt == 2 {
			return nil, fmt.Errorf("start PostgreSQL: %w", err)
		}
	}
}

func (s *Server) start() error {
	var err error
	if s.dir, err = os.MkdirTemp("", "marquee-postgres-"); err != nil {
		return err
	}
	if s.attr, err = unprivileged(s.dir); err == nil {
		err = s.initialize()
	}
	if err == nil {
		s.port, err = port.Free()
	}
	if err == nil {
		err = s.run()
	}
	if err != nil && s.reaper != nil {
		err = errors.Join(err, s.reaper.Now())
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(s.dir))
	}
	return nil
}

func (s *Server) initialize() error {
	secret := filepath.Join(s.dir, "password")
	// Readable by the account that runs initdb; the folder is closed to everybody else.
	if err := os.WriteFile(secret, []byte(s.password), 0o644); err != nil {
		return err
	}
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "--pgdata", filepath.Join(s.dir, "data"), "--username=postgres",
		"--pwfile", secret, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	initdb.SysProcAttr, initdb.Dir = s.attr, s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// run starts the server and waits until it answers.
func (s *Server) run() error {
	commit := "off"
	if s.opts.Durable {
		commit = "on"
	}
	// The data is worth nothing after the test, so it need not reach the disk.
	server := exec.Command(filepath.Join(s.bin, "postgres"), "-D", filepath.Join(s.dir, "data"), "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
		"-c", "synchronous_commit="+commit, "-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB")
	s.log = new(bytes.Buffer)
	server.SysProcAttr, server.Dir, server.Stderr = s.attr, s.dir, s.log
	if err := server.Start(); err != nil {
		return err
	}
	s.process = server.Process
	ended := make(chan struct{})
	s.ended = ended
	go func() {
		defer close(ended)
		_ = server.Wait() // Whatever ended it, its own log says more.
	}()
	var err error
	if s.reaper, err = reap.Watch(server.Process.Pid, "QUIT", s.dir); err != nil {
		return errors.Join(err, server.Process.Kill())
	}
	return s.await()
}

func (s *Server) await() error {
	for deadline := time.Now().Add(time.Minute); ; {
		err := s.Exec("SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("postgres ended\n%s", s.log)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after a minute: %w", err)
		}
	}
}

// URL opens a database of the server.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", s.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Exec runs a statement on the server's database postgres.
func (s *Server) Exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// Kill ends the server as SIGKILL does. Its files stay for Restart.
func (s *Server) Kill() error {
	if err := s.process.Kill(); err != nil {
		return fmt.Errorf("kill PostgreSQL: %w", err)
	}
	<-s.ended
	return nil
}

// Restart starts a server that was killed again, on the same files and port.
func (s *Server) Restart() error {
	// Its sessions notice the server's death one by one, and no other server starts before the last has gone.
	former := s.reaper
	for deadline := time.Now().Add(30 * time.Second); ; {
		err := s.run()
		if err == nil {
			return former.Forget()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("restart PostgreSQL: %w", err)
		}
		if s.reaper != former {
			if err := s.reaper.Forget(); err != nil {
				return fmt.Errorf("restart PostgreSQL: %w", err)
			}
		}
		s.reaper = former
		time.Sleep(50 * time.Millisecond)
	}
}

// Close ends the server and removes its files.
func (s *Server) Close() error {
	err := s.reaper.Now()
	<-s.ended
	return err
}

func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", ErrMissing
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(found[len(found)-1]), nil
}

func version(path string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	if err != nil {
		return 0
	}
	return n
}

// unprivileged gives dir to the account that is to run the server, since PostgreSQL refuses to run as root.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		if account, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(dir, int(uid), int(gid))
}
