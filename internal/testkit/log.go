package testkit

import (
	"bytes"
	"io"
	"log/slog"
	"sync"
	"testing"
)

// Log is a logger whose lines appear in the test's output. Lines logged after the test has ended, by a goroutine that
// outlives it, are dropped: testing would panic on them.
func Log(t testing.TB) *slog.Logger {
	t.Helper()
	w := &testWriter{t: t}
	t.Cleanup(w.end)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// testWriter turns each write, which slog makes one line, into a line of the test's log.
type testWriter struct {
	mu    sync.Mutex
	t     testing.TB
	ended bool
}

var _ io.Writer = (*testWriter)(nil)

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.t.Log(string(bytes.TrimRight(p, "\n")))
	}
	return len(p), nil
}

func (w *testWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}
