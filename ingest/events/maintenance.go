package events

import (
	"context"
	"errors"
	"time"

	"marquee/internal/db"
)

const (
	// leaseTerm is how long a dead process keeps others from rewriting the lake.
	leaseTerm = 10 * time.Second
	// leaseWait is how long the next one waits: a dead one's lease runs out meanwhile.
	leaseWait = leaseTerm + 2*time.Second
	leasePoll = 100 * time.Millisecond
)

// Maintain takes the lease of whoever rewrites the lake's files or must not have them rewritten meanwhile, waiting as long as
// a dead holder may keep it. The consumer needs none: it only adds.
func Maintain(ctx context.Context, d *db.DB, holder string) (*db.Lease, error) {
	deadline := time.Now().Add(leaseWait)
	for {
		lease, err := d.AcquireLease(ctx, MaintenanceLease, holder, leaseTerm)
		if !errors.Is(err, db.ErrLeaseHeld) || time.Now().After(deadline) {
			return lease, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(leasePoll):
		}
	}
}
