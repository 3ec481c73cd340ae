package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"marquee/internal/native"
	"marquee/internal/testkit"
	"marquee/internal/testkit/reap"
)

// patience bounds every wait of these tests; nothing takes nearly that long unless it is broken.
const patience = 5 * time.Minute

// binaryVariable names a built binary to test instead of this test binary, which is the same program.
const binaryVariable = "MARQUEE_TEST_BINARY"

// install is a data folder and the settings its commands are run with.
type install struct {
	t   *testing.T
	dir string
	env []string
	// begin starts a process, in a way of its own where it is not nil.
	begin func(*exec.Cmd) error
}

// newInstall is an install on a folder; settings are environment variables, NAME=VALUE, and win over the usual ones.
func newInstall(t *testing.T, dir string, settings ...string) *install {
	t.Helper()
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.Getenv("TMPDIR"),
		native.DirVariable + "=" + nativeDir(testkit.ProjectRoot(t)),
		"MARQUEE_DATA_DIR=" + dir, "MARQUEE_RPC_LISTEN=127.0.0.1:0", "MARQUEE_SERVING_RELEASE_POLL=50ms",
	}
	return &install{t: t, dir: dir, env: append(env, settings...)}
}

// command is a marquee process, not started: this binary by another name, or the one that MARQUEE_TEST_BINARY names.
func (i *install) command(args ...string) *exec.Cmd {
	i.t.Helper()
	path := os.Getenv(binaryVariable)
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			i.t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(i.t.Context(), path, args...)
	cmd.Args[0] = "marquee"
	cmd.Env = i.env
	// A group of its own, so that a test that dies can take the whole of it along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// finished is a command that has ended.
type finished struct {
	t              *testing.T
	args           []string
	stdout, stderr string
	code           int
}

// run runs a command to its end.
func (i *install) run(args ...string) *finished {
	i.t.Helper()
	return i.start(args...).wait()
}

func (o *finished) String() string {
	return fmt.Sprintf("marquee %s: exit %d\nstdout:\n%s\nstderr:\n%s", strings.Join(o.args, " "), o.code, o.stdout, o.stderr)
}

// ok fails the test unless the command did well and said all of these, regular expressions, on standard output.
func (o *finished) ok(says ...string) *finished {
	o.t.Helper()
	if o.code != exitOK {
		o.t.Fatalf("want exit 0: %v", o)
	}
	o.says("standard output", o.stdout, says)
	return o
}

// fails fails the test unless the command ended with that code and said all of these, regular expressions, on standard error,
// and its last word was an error a person can read.
func (o *finished) fails(code int, says ...string) *finished {
	o.t.Helper()
	if o.code != code {
		o.t.Fatalf("want exit %d: %v", code, o)
	}
	lines := strings.Split(strings.TrimSpace(o.stderr), "\n")
	if strings.Contains(o.stderr, "goroutine ") || strings.Contains(o.stderr, "panic:") {
		o.t.Errorf("a panic is no answer: %v", o)
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "marquee: ") {
			o.says("standard error", o.stderr, says)
			return o
		}
	}
	o.t.Errorf("no line says what went wrong: %v", o)
	return o
}

func (o *finished) says(where, text string, patterns []string) {
	o.t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(text) {
			o.t.Errorf("%s does not say %q: %v", where, p, o)
		}
	}
}

// json reads standard output, which must be one JSON document and nothing else.
func (o *finished) json(into any) *finished {
	o.t.Helper()
	d := json.NewDecoder(strings.NewReader(o.stdout))
	if err := d.Decode(into); err != nil {
		o.t.Fatalf("standard output is not JSON: %v: %v", err, o)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		o.t.Fatalf("there is more on standard output than one JSON document: %v", o)
	}
	return o
}

// process is a command under way.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr *output
	reaper         *reap.Reaper
	ended          chan struct{}
}

// output is what a process has said so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start starts a command, which ends with the test at the latest.
func (i *install) start(args ...string) *process {
	i.t.Helper()
	p := &process{t: i.t, cmd: i.command(args...), stdout: new(output), stderr: new(output), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	begin := i.begin
	if begin == nil {
		begin = (*exec.Cmd).Start
	}
	if err := begin(p.cmd); err != nil {
		i.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended is in its state
	}()
	var err error
	if p.reaper, err = reap.Watch(p.cmd.Process.Pid, "KILL", ""); err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() {
		if err := p.reaper.Now(); err != nil {
			i.t.Errorf("end marquee %s: %v", strings.Join(args, " "), err)
		}
		<-p.ended
	})
	return p
}

// wait waits for the end.
func (p *process) wait() *finished {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("marquee %s does not end:\n%s", strings.Join(p.cmd.Args[1:], " "), p.stderr.String())
	}
	return &finished{p.t, p.cmd.Args[1:], p.stdout.String(), p.stderr.String(), p.cmd.ProcessState.ExitCode()}
}

// signal sends a signal.
func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// until polls until ask reports true; the process must live that long.
func (p *process) until(what string, ask func() bool) {
	p.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ask() {
		select {
		case <-p.ended:
			p.t.Fatalf("ended while waiting for %s: %v", what, p.wait())
		case <-deadline:
			p.t.Fatalf("no %s:\n%s", what, p.stderr.String())
		case <-tick.C:
		}
	}
}

// logged waits for a log line that matches and returns its first group, or the match.
func (p *process) logged(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	p.until("log line "+pattern, func() bool {
		found = re.FindStringSubmatch(p.stderr.String())
		return found != nil
	})
	return found[len(found)-1]
}

// server is a running service.
type server struct {
	*process
	url string
}

// serve starts the service and waits until it is ready.
func (i *install) serve(args ...string) *server {
	i.t.Helper()
	p := i.start(append([]string{"serve"}, args...)...)
	s := &server{p, p.logged(`"msg":"serving","address":"([^"]+)"`)}
	s.until("readiness", func() bool { code, _ := s.get("/readyz"); return code == http.StatusOK })
	return s
}

// get asks for a page; the code is 0 when nobody answers.
func (s *server) get(path string) (code int, text string) {
	s.t.Helper()
	resp, err := http.Get(s.url + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// The services' names in URLs.
const (
	ingestService  = "/marquee.ingest.v1.IngestService/"
	catalogService = "/marquee.catalog.v1.CatalogService/"
	servingService = "/marquee.serving.v1.RecommendationService/"
)

// ask posts JSON as any HTTP client would and reads the answer, which is JSON whatever the code, into a value unless that is
// nil.
func ask(url, body string, into any) (code int, err error) {
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || into == nil {
		return resp.StatusCode, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return resp.StatusCode, fmt.Errorf("%w: %s", err, text)
	}
	return resp.StatusCode, nil
}

// call asks a method; the answer must have that code.
func (s *server) call(want int, method, body string, into any) {
	s.t.Helper()
	var text json.RawMessage
	code, err := ask(s.url+method, body, &text)
	if err != nil || code != want {
		s.t.Fatalf("%s %.300s: %d %s %v, want %d", method, body, code, text, err, want)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(text, into); err != nil {
		s.t.Fatalf("%s: %v: %s", method, err, text)
	}
}

// terminate asks the service to end and waits for it, which must go well.
func (s *server) terminate() *finished {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	return s.wait().ok()
}

// copyOf is a copy of a data folder that no process holds.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}
