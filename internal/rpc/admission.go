package rpc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"
)

// admission lets as many calls work at a time as the processors can and has the others wait for their turn, briefly. When calls
// come faster than they are answered, the queue does not empty any more: from then on a call that was not let in within target is
// refused, and the newest goes first, since its client is the likeliest to wait still. So what is answered is answered in time, and
// what cannot be is told so at once. That is controlled delay with an adaptive LIFO: Nichols and Jacobson, "Controlling Queue Delay",
// ACM Queue 2012; Maurer, "Fail at Scale", ACM Queue 2015.
//
// A call is counted while it works, after its request was read: a slow client holds no place. A call that waits for something else
// gives its place up meanwhile, see Pause.
type admission struct {
	limit    int
	target   time.Duration
	interval time.Duration
	shed     prometheus.Counter
	waited   prometheus.Observer
	now      func() time.Time

	mu      sync.Mutex
	running int
	// queue is in the order of arrival.
	queue []*waiter
	// emptied is when the queue was last empty.
	emptied time.Time
}

// waiter is a call in the queue; in is closed when it is let in.
type waiter struct{ in chan struct{} }

const (
	// queueInterval is how long the queue may stand before delay is controlled, and how long a call waits at most until then.
	queueInterval = 100 * time.Millisecond
	// placesAQueue is how many calls may wait, for each that works.
	placesAQueue = 64
	// retryAfter is what a refused client is advised to wait.
	retryAfter = 100 * time.Millisecond
)

func newAdmission(cfg Config, reg prometheus.Registerer, shed prometheus.Counter) *admission {
	a := &admission{limit: cfg.running(), target: cfg.QueueTarget, interval: max(queueInterval, cfg.QueueTarget), shed: shed, now: time.Now}
	waited := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "marquee_rpc_queue_seconds", Help: "Time that calls which had to wait for their turn waited, those refused included.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25},
	})
	working := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "marquee_rpc_working", Help: "Calls that are being worked on, of those that may be shed."},
		func() float64 { a.mu.Lock(); defer a.mu.Unlock(); return float64(a.running) })
	reg.MustRegister(waited, working)
	a.waited, a.emptied = waited, a.now()
	return a
}

// errOverloaded is what a refused call is told.
func errOverloaded() error {
	err := connect.NewError(connect.CodeResourceExhausted, errors.New("too much is asked for; try again"))
	err.Meta().Set("Retry-After", "1")
	if detail, derr := connect.NewErrorDetail(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)}); derr == nil {
		err.AddDetail(detail)
	}
	return err
}

// enter returns when the call may work. Every enter without an error is followed by a leave.
func (a *admission) enter(ctx context.Context) error {
	a.mu.Lock()
	now := a.now()
	if len(a.queue) == 0 {
		a.emptied = now
		if a.running < a.limit {
			a.running++
			a.mu.Unlock()
			return nil
		}
	}
	if len(a.queue) >= placesAQueue*a.limit {
		a.mu.Unlock()
		a.shed.Inc()
		return errOverloaded()
	}
	patience := a.interval
	if a.overloaded(now) {
		patience = a.target
	}
	w := &waiter{in: make(chan struct{})}
	a.queue = append(a.queue, w)
	a.mu.Unlock()
	return a.wait(ctx, w, now, patience)
}

func (a *admission) wait(ctx context.Context, w *waiter, began time.Time, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	defer func() { a.waited.Observe(a.now().Sub(began).Seconds()) }()
	var err error
	select {
	case <-w.in:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = errOverloaded()
	}
	if !a.withdraw(w) {
		return nil // let in at the same moment
	}
	if ctx.Err() == nil {
		a.shed.Inc()
	}
	return err
}

// withdraw takes a call out of the queue and reports whether it was there still.
func (a *admission) withdraw(w *waiter) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.queue, w)
	if i < 0 {
		return false
	}
	a.queue = slices.Delete(a.queue, i, i+1)
	return true
}

// overloaded reports whether the queue has been standing.
func (a *admission) overloaded(now time.Time) bool { return now.Sub(a.emptied) > a.interval }

// full reports whether it is known beforehand that calls which come now are too many: then reading them is work for nothing.
func (a *admission) full() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.queue) >= a.limit && a.overloaded(a.now())
}

// leave gives the place up, to the oldest that waits or, under overload, the newest.
func (a *admission) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.queue)
	// Calls that came back from a pause may be above the limit.
	if n == 0 || a.running > a.limit {
		a.running--
		return
	}
	next := 0
	if a.overloaded(a.now()) {
		next = n - 1
	}
	close(a.queue[next].in)
	a.queue = slices.Delete(a.queue, next, next+1)
	if n == 1 {
		a.emptied = a.now()
	}
}

// resume takes a place without a wait: the call was let in before.
func (a *admission) resume() {
	a.mu.Lock()
	a.running++
	a.mu.Unlock()
}

type admittedKey struct{}

// intercept has unary calls pass through the admission.
func (a *admission) intercept(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := a.enter(ctx); err != nil {
			return nil, err
		}
		defer a.leave()
		return next(context.WithValue(ctx, admittedKey{}, a), req)
	}
}

// Pause says that the call of a context waits, without any work, until the function it returns is called: others may work
// meanwhile.
func Pause(ctx context.Context) (resume func()) {
	a, ok := ctx.Value(admittedKey{}).(*admission)
	if !ok {
		return func() {}
	}
	a.leave()
	return a.resume
}
