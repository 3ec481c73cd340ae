package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
)

// observer measures every call and turns a panic into an INTERNAL answer: one broken request must not take the
// process, and the other requests in it, down.
type observer struct {
	log     *slog.Logger
	seconds *prometheus.HistogramVec
	panics  prometheus.Counter
	timeout time.Duration
	// calls ends when calls that are still under way are cut off.
	calls context.Context
}

func newObserver(calls context.Context, log *slog.Logger, reg prometheus.Registerer, timeout time.Duration) *observer {
	o := &observer{
		log:   log,
		calls: calls,
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "marquee_rpc_seconds",
			Help:    "Time to answer a call, by procedure and Connect code.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .015, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"procedure", "code"}),
		panics:  prometheus.NewCounter(prometheus.CounterOpts{Name: "marquee_rpc_panics_total", Help: "Calls that panicked."}),
		timeout: timeout,
	}
	reg.MustRegister(o.seconds, o.panics)
	return o
}

func (o *observer) observe(ctx context.Context, procedure string, call func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			o.panics.Inc()
			o.log.ErrorContext(ctx, "call panicked", "procedure", procedure, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = connect.NewError(connect.CodeInternal, errors.New("internal error"))
		}
		code := "ok"
		if err != nil {
			err = o.answer(ctx, procedure, err)
			code = connect.CodeOf(err).String()
		}
		o.seconds.WithLabelValues(procedure, code).Observe(time.Since(began).Seconds())
	}()
	return call(ctx)
}

// answer is the error as its caller is told it. A call that ended with its context has that code and is nothing to log,
// and one that was cut off may be made again. What is wrong inside is for the log: its text names addresses, accounts
// and files.
func (o *observer) answer(ctx context.Context, procedure string, err error) error {
	var coded *connect.Error
	isCoded := errors.As(err, &coded)
	switch {
	case o.calls.Err() != nil:
		return connect.NewError(connect.CodeUnavailable, errors.New("stopping; send again what was not answered"))
	case !isCoded && errors.Is(err, context.DeadlineExceeded), !isCoded && errors.Is(err, os.ErrDeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	case !isCoded && errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	}
	switch code := connect.CodeOf(err); code {
	case connect.CodeInternal, connect.CodeUnknown, connect.CodeDataLoss:
		o.log.ErrorContext(ctx, "call failed", "procedure", procedure, "code", code.String(), "error", err)
		return connect.NewError(code, errors.New("internal error; the server's log says more"))
	}
	return err
}

func (o *observer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		var resp connect.AnyResponse
		err := o.observe(ctx, req.Spec().Procedure, func(ctx context.Context) error {
			var err error
			resp, err = next(ctx, req)
			return err
		})
		return resp, err
	}
}

func (o *observer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler leaves a stream's duration to its client: a client that sends events all day is welcome.
func (o *observer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	unbounded := *o
	unbounded.timeout = 1<<63 - 1
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return unbounded.observe(ctx, conn.Spec().Procedure, func(ctx context.Context) error { return next(ctx, conn) })
	}
}

// validation refuses a request that breaks the rules its .proto states, with the violated fields in the message.
func validation(v protovalidate.Validator) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			if msg, ok := req.Any().(proto.Message); ok {
				if err := v.Validate(msg); err != nil {
					return nil, invalid(err)
				}
			}
			return next(ctx, req)
		}
	}
}

func invalid(err error) error {
	var violations *protovalidate.ValidationError
	if !errors.As(err, &violations) {
		return connect.NewError(connect.CodeInternal, err)
	}
	out := connect.NewError(connect.CodeInvalidArgument, err)
	if detail, derr := connect.NewErrorDetail(violations.ToProto()); derr == nil {
		out.AddDetail(detail)
	}
	return out
}
