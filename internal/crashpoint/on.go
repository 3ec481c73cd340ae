//go:build crashpoints

package crashpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Enabled says that this binary has crash points.
const Enabled = true

// rest is how long a slow point takes: longer than a sink.
const rest = 250 * time.Millisecond

type plan struct {
	point      string
	left       atomic.Int64
	slow       string
	outOfOrder bool
}

var current = sync.OnceValue(func() *plan {
	p := &plan{slow: os.Getenv(EnvSlow), outOfOrder: os.Getenv(EnvOutOfOrder) != ""}
	if at := os.Getenv(EnvAt); at != "" {
		point, nth, _ := strings.Cut(at, ":")
		n, err := strconv.ParseInt(nth, 10, 64)
		if err != nil || n < 1 || !slices.Contains(Points(), point) {
			panic(fmt.Sprintf("%s must be POINT:N with N from 1 and one of the points %v, is %q", EnvAt, Points(), at))
		}
		p.point = point
		p.left.Store(n)
	}
	return p
})

// At is a crash point. It does not return when the process is to die there.
func At(point string) {
	p := current()
	if p.slow == point {
		time.Sleep(rest)
	}
	if p.point == point && p.left.Add(-1) == 0 {
		fmt.Fprintf(os.Stderr, "crash point %s: dying\n", point)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// OutOfOrder says that the order that must never be broken is to be broken.
func OutOfOrder() bool { return current().outOfOrder }
