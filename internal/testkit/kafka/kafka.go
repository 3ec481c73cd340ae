// Package kafka runs a real Apache Kafka broker: one node in KRaft mode, broker and controller in one process, from jars that
// Maven Central keeps. Tests and `make kafka` use it; the service never does.
package kafka

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/internal/testkit/reap"
)

// Options say which broker to run.
type Options struct {
	// Cache holds the jars that Fetch fetched.
	Cache string
	// Dir is the broker's own folder: data, configuration, certificates, log. A folder a broker has used before is used again.
	Dir string
	// Listen is the address of the plain listener; by default a free port on 127.0.0.1. The secured listeners are always on
	// free ports of 127.0.0.1.
	Listen string
	// Sync has the broker sync its log to disk before it acknowledges, which Kafka leaves to replication otherwise.
	Sync bool
	// Remove removes Dir when the broker is closed, or its starter dies.
	Remove bool
}

// Server is a running broker. Its methods are for one goroutine.
type Server struct {
	opts     Options
	ports    ports
	certs    certFiles
	password string
	pid      int
	ended    chan struct{}
	reaper   *reap.Reaper
}

// The account that the secured listener knows, for every mechanism.
const account = "marquee"

// Start runs a broker and returns when it answers.
func Start(ctx context.Context, opts Options) (*Server, error) {
	s, err := start(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("start Apache Kafka: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, opts Options) (*Server, error) {
	if err := Ready(opts.Cache); err != nil {
		return nil, err
	}
	// The process runs elsewhere than its starter.
	for _, dir := range []*string{&opts.Cache, &opts.Dir} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return nil, err
		}
		*dir = abs
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, err
	}
	s := &Server{opts: opts}
	var err error
	if s.ports, err = choosePorts(opts.Listen); err != nil {
		return nil, err
	}
	if s.certs, err = writeCerts(opts.Dir); err != nil {
		return nil, err
	}
	if s.password, err = secret(filepath.Join(opts.Dir, "password")); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.properties(), []byte(s.config()), 0o600); err != nil {
		return nil, err
	}
	if err := s.format(ctx); err != nil {
		return nil, err
	}
	return s, s.run(ctx)
}

// secret reads the password a broker's folder was formatted with, or makes one.
func secret(file string) (string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		// What has a meaning in URLs and Java's configuration has to survive both.
		text = []byte(rand.Text()[:16] + "%:@/?#&=+é")
		err = os.WriteFile(file, text, 0o600)
	}
	return string(text), err
}

// format prepares the data folder, unless it is.
func (s *Server) format(ctx context.Context) error {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	id[0] &= 0x3f // An id that began with a dash would be taken for an option.
	args := []string{
		"kafka.tools.StorageTool", "format", "--ignore-formatted", "--config", s.properties(),
		"--cluster-id", base64.RawURLEncoding.EncodeToString(id),
	}
	if id := s.clusterID(); id != "" {
		args[len(args)-1] = id
	}
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, account, s.password))
	}
	cmd := s.java(ctx, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("format %s: %w\n%s", s.data(), err, bytes.ReplaceAll(out, []byte(s.password), []byte("***")))
	}
	return nil
}

// clusterID is the id the data folder was formatted with, or nothing.
func (s *Server) clusterID() string {
	text, err := os.ReadFile(filepath.Join(s.data(), "meta.properties"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "cluster.id="); ok {
			return id
		}
	}
	return ""
}

func (s *Server) java(ctx context.Context, args ...string) *exec.Cmd {
	all := append([]string{
		"-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-Dsun.jnu.encoding=UTF-8",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-cp", filepath.Join(jars(s.opts.Cache), "*"),
	}, args...)
	cmd := exec.CommandContext(ctx, "java", all...)
	cmd.Dir, cmd.Env = s.opts.Dir, append(os.Environ(), "LC_ALL=C.UTF-8")
	return cmd
}

func (s *Server) run(ctx context.Context) error {
	log, err := os.Create(s.log())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.java(context.WithoutCancel(ctx), "kafka.Kafka", s.properties())
	cmd.Stdout, cmd.Stderr = log, log
	// Its own group, so that an interrupt typed at the terminal reaches it through us, in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // Whatever ended it, its log says more.
	}()
	s.ended, s.pid = ended, cmd.Process.Pid
	remove := ""
	if s.opts.Remove {
		remove = s.opts.Dir
	}
	if s.reaper, err = reap.Watch(cmd.Process.Pid, "TERM", remove); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	if err := s.await(ctx); err != nil {
		text, _ := os.ReadFile(s.log()) // Only to say more.
		return errors.Join(fmt.Errorf("%w\n%s", err, text[max(0, len(text)-4000):]), s.reaper.Now())
	}
	return nil
}

// await returns when the broker answers, and fails when it ends, ctx does, or two minutes have passed.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Addr()), kgo.RetryTimeout(time.Second))
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		if err = client.Ping(ctx); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer on %s: %w", s.Addr(), err)
		case <-s.ended:
			return errors.New("the broker ended")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Addr is the host:port of the plain listener.
func (s *Server) Addr() string { return s.ports.plain }

// URL opens the plain listener.
func (s *Server) URL() string { return "kafka://" + s.Addr() }

// SASLURL opens the listener that wants TLS and an account, known by the mechanisms plain, scram-sha-256 and scram-sha-512.
func (s *Server) SASLURL(mechanism string) string {
	u := url.URL{Scheme: "kafka", User: url.UserPassword(account, s.password), Host: s.ports.sasl}
	u.RawQuery = url.Values{"sasl": {mechanism}, "tls": {"true"}, "ca": {s.certs.ca}}.Encode()
	return u.String()
}

// MutualURL opens the listener that wants a client certificate.
func (s *Server) MutualURL() string {
	u := url.URL{Scheme: "kafka", Host: s.ports.mutual}
	u.RawQuery = url.Values{
		"tls": {"true"}, "ca": {s.certs.ca}, "cert": {s.certs.clientCert}, "key": {s.certs.clientKey},
	}.Encode()
	return u.String()
}

// Done is closed when the broker has ended.
func (s *Server) Done() <-chan struct{} { return s.ended }

// Close stops the broker. Its folder stays, unless Options say otherwise.
func (s *Server) Close() error {
	err := s.reaper.Now()
	<-s.ended
	return err
}

// Signal sends the broker's process a signal: SIGSTOP lets it stand still as a machine that hangs does, until SIGCONT.
func (s *Server) Signal(signal syscall.Signal) error {
	if err := syscall.Kill(s.pid, signal); err != nil {
		return fmt.Errorf("signal Apache Kafka: %w", err)
	}
	return nil
}

// Kill ends the broker as SIGKILL does. Its folder stays, for Restart.
func (s *Server) Kill() error {
	if err := syscall.Kill(s.pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill Apache Kafka: %w", err)
	}
	<-s.ended
	return s.reaper.Forget()
}

// Restart starts a broker that was closed or killed again, on the same folder and ports.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("restart Apache Kafka: %w", err)
	}
	return nil
}

func (s *Server) properties() string { return filepath.Join(s.opts.Dir, "server.properties") }
func (s *Server) data() string       { return filepath.Join(s.opts.Dir, "data") }
func (s *Server) log() string        { return filepath.Join(s.opts.Dir, "kafka.log") }

type ports struct {
	plain, sasl, mutual, controller string // host:port
}

func choosePorts(listen string) (ports, error) {
	p := ports{plain: listen}
	// All are held at once, so that no two are the same.
	for _, addr := range []*string{&p.plain, &p.sasl, &p.mutual, &p.controller} {
		want := *addr
		if want == "" {
			want = "127.0.0.1:0"
		}
		l, err := net.Listen("tcp", want)
		if err != nil {
			return p, fmt.Errorf("listen on %s: %w", want, err)
		}
		defer l.Close()
		host, _, err := net.SplitHostPort(want)
		if err != nil {
			return p, err
		}
		*addr = net.JoinHostPort(host, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return p, nil
}
