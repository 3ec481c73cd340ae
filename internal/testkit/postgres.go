package testkit

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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"marquee/internal/testkit/reap"
)

// One PostgreSQL server a test binary, begun by the first test that asks: initdb takes longer than most tests.
var sharedPostgres = sync.OnceValues(startPostgres)

var errNoPostgres = errors.New("no initdb in PATH or /usr/lib/postgresql/*/bin")

// NeedPostgres returns the postgres:// URL of a new, empty database on a private PostgreSQL server. The database is dropped
// when the test ends, the server stops and its files go when the test binary does.
func NeedPostgres(t testing.TB) string {
	t.Helper()
	server, err := sharedPostgres()
	if errors.Is(err, errNoPostgres) {
		LeftOut(t, "PostgreSQL", "install it (Debian: apt-get install postgresql)")
	}
	if err != nil {
		t.Fatal(err)
	}
	name := "test_" + strings.ToLower(rand.Text()[:12])
	if err := server.exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.exec("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return server.url(name)
}

type postgres struct {
	// reaper must be held on to: collected, it would take the server down.
	reaper   *reap.Reaper
	port     int
	password string
}

func (p *postgres) url(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", p.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)), Path: database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

func (p *postgres) exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.url("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

func postgresBin() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errNoPostgres
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

// startPostgres tries more than once: another process may take the free port before the server does.
func startPostgres() (*postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		p := &postgres{password: rand.Text()}
		err := p.start(bin)
		if err == nil {
			return p, nil
		}
		if attempt == 2 {
			return nil, fmt.Errorf("start PostgreSQL: %w", err)
		}
	}
}

func (p *postgres) start(bin string) error {
	dir, err := os.MkdirTemp("", "marquee-postgres-")
	if err != nil {
		return err
	}
	attr, err := unprivileged(dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := p.initialize(bin, dir, attr); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return p.run(bin, dir, attr)
}

func (p *postgres) initialize(bin, dir string, attr *syscall.SysProcAttr) error {
	secret := filepath.Join(dir, "password")
	// Readable by the account that runs initdb; the folder is closed to everybody else.
	if err := os.WriteFile(secret, []byte(p.password), 0o644); err != nil {
		return err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "--pgdata", filepath.Join(dir, "data"), "--username=postgres",
		"--pwfile", secret, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// run starts the server and waits until it answers. From then on dir belongs to the reaper.
func (p *postgres) run(bin, dir string, attr *syscall.SysProcAttr) error {
	var err error
	if p.port, err = FreePort(); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	// The data is worth nothing after the test, so it need not reach the disk.
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"), "-p", strconv.Itoa(p.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
		"-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB")
	var log bytes.Buffer
	server.SysProcAttr, server.Dir, server.Stderr = attr, dir, &log
	if err := server.Start(); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Wait() // Whatever ended it, its own log says more.
	}()
	if p.reaper, err = reap.Watch(server.Process.Pid, "QUIT", dir); err != nil {
		return errors.Join(err, server.Process.Kill(), os.RemoveAll(dir))
	}
	if err := p.await(ended); err != nil {
		err = errors.Join(err, p.reaper.Now())
		<-ended
		return fmt.Errorf("%w\n%s", err, log.String())
	}
	return nil
}

func (p *postgres) await(ended <-chan struct{}) error {
	for deadline := time.Now().Add(time.Minute); ; {
		err := p.exec("SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("postgres ended")
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after a minute: %w", err)
		}
	}
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

// FreePort is a TCP port on 127.0.0.1 that nobody listened on a moment ago.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
