package consumer

import (
	"context"
	"runtime"
)

// turns bounds how many ranges one sink writes at a time, of all partitions. A write holds its range several times over while it
// encodes it, so without a bound memory follows the number of partitions; more writes than processors gain nothing.
type turns chan struct{}

func newTurns() turns { return make(turns, max(2, runtime.GOMAXPROCS(0))) }

// take waits for a turn and does work in it.
func (t turns) take(ctx context.Context, work func() error) error {
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t }()
	return work()
}
