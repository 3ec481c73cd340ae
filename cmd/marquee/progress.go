package main

import (
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a long command is: a bar on a terminal, a log line every few seconds elsewhere.
type progress struct {
	bar   *progressbar.ProgressBar
	log   *slog.Logger
	what  string
	total int64

	mu   sync.Mutex
	last time.Time
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// newProgress begins showing progress towards total of what; a total below 1 is unknown.
func newProgress(w io.Writer, log *slog.Logger, what string, total int64) *progress {
	p := &progress{log: log, what: what, total: total, last: time.Now()}
	if isTerminal(w) {
		if total < 1 {
			total = -1
		}
		p.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish())
	}
	return p
}

// set says that done of the total are done. It may be called from any goroutine.
func (p *progress) set(done int64) {
	if p.bar != nil {
		// A bar that cannot be drawn is no reason to stop the work it shows.
		if err := p.bar.Set64(done); err != nil {
			p.log.Debug("draw the progress bar", "error", err)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.last) >= 5*time.Second {
		p.last = now
		p.log.Info("progress", "what", p.what, "done", done, "total", p.total)
	}
}

// setTotal says that done of a total, which was not known before, are done.
func (p *progress) setTotal(done, total int64) {
	p.mu.Lock()
	changed := p.total != total
	p.total = total
	p.mu.Unlock()
	if changed && p.bar != nil {
		p.bar.ChangeMax64(total)
	}
	p.set(done)
}

// end takes the bar off the screen.
func (p *progress) end() {
	if p.bar == nil {
		return
	}
	if err := p.bar.Finish(); err != nil {
		p.log.Debug("end the progress bar", "error", err)
	}
}
