package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"
)

// caller shows the token, sets the deadline and makes refused calls again.
type caller struct {
	cfg  Config
	wait func(context.Context, time.Duration) error
}

// WrapUnary implements connect.Interceptor.
func (c *caller) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if _, has := ctx.Deadline(); !has {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
			defer cancel()
		}
		c.show(req.Header())
		pause := c.cfg.Pause
		for attempt := 1; ; attempt++ {
			resp, err := next(ctx, req)
			if err == nil || attempt == c.cfg.Attempts {
				return resp, err
			}
			named, again := comeBack(err)
			if !again || ctx.Err() != nil {
				return nil, err
			}
			rest := max(time.Duration(rand.Int64N(int64(pause)+1)), named)
			pause = min(2*pause, c.cfg.MaxPause)
			if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= rest {
				return nil, err // there would be no time left to be answered
			}
			if c.wait(ctx, rest) != nil {
				return nil, err
			}
		}
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (c *caller) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		c.show(conn.RequestHeader())
		return conn
	}
}

// WrapStreamingHandler implements connect.Interceptor.
func (c *caller) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func (c *caller) show(h http.Header) {
	if c.cfg.Token != "" {
		h.Set("Authorization", "Bearer "+c.cfg.Token)
	}
}

// comeBack says whether a call that failed so may be made again, and how long to stay away at least. Exhausted resources without such a time
// are a message that is too large, which it will be again.
func comeBack(err error) (time.Duration, bool) {
	var e *connect.Error
	if !errors.As(err, &e) {
		return 0, false
	}
	seconds, bad := strconv.Atoi(e.Meta().Get("Retry-After"))
	named := bad == nil && seconds >= 0
	switch e.Code() {
	case connect.CodeUnavailable:
		return time.Duration(max(seconds, 0)) * time.Second, true
	case connect.CodeResourceExhausted:
		return time.Duration(seconds) * time.Second, named
	}
	return 0, false
}
