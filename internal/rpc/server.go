package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"connectrpc.com/otelconnect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"
)

// compressFrom is the size in bytes from which answers are compressed for those who accept it. Within a data centre a page of
// recommendations travels faster than gzip makes it smaller.
const compressFrom = 64 << 10

// Server is the port. It is a module that starts first, so that health can be asked from the beginning, and its Gate is
// a module that starts last: calls are answered only between the two.
type Server struct {
	cfg      Config
	log      *slog.Logger
	mux      *http.ServeMux
	http     *http.Server
	names    []string
	options  []connect.HandlerOption
	validate connect.HandlerOption
	admit    connect.HandlerOption
	// turns is what calls of services that may be shed pass through.
	turns    *admission
	ready    func(context.Context) error
	addr     net.Addr
	failure  atomic.Pointer[error]
	open     atomic.Bool
	inflight atomic.Int64
	shed     prometheus.Counter
	denied   *prometheus.CounterVec
	// identify and permissions are what Protect was given.
	identify    Identifier
	permissions Permissions
	// streams are the paths of procedures whose client sends a stream.
	streams map[string]bool
	// calls is the context of every call; cut ends it.
	calls context.Context
	cut   context.CancelFunc
}

// New makes a server. ready says whether the process can serve; it is asked by /readyz and by gRPC health checks.
func New(cfg Config, log *slog.Logger, reg *prometheus.Registry, tracer trace.TracerProvider, ready func(context.Context) error) (*Server, error) {
	validator, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("compile the validation rules: %w", err)
	}
	tracing, err := otelconnect.NewInterceptor(otelconnect.WithTracerProvider(tracer), otelconnect.WithoutMetrics())
	if err != nil {
		return nil, fmt.Errorf("set up tracing of calls: %w", err)
	}
	calls, cut := context.WithCancel(context.Background())
	s := &Server{
		cfg: cfg, log: log, mux: http.NewServeMux(), ready: ready, streams: map[string]bool{}, calls: calls, cut: cut,
		shed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "marquee_rpc_shed_total", Help: "Calls refused because too many were under way or waited.",
		}),
		denied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "marquee_rpc_denied_total", Help: "Calls refused for want of a valid token or of a role, by Connect code.",
		}, []string{"code"}),
		options: []connect.HandlerOption{
			connect.WithReadMaxBytes(cfg.MaxRequestBytes),
			connect.WithCompressMinBytes(compressFrom),
			connect.WithInterceptors(tracing, newObserver(calls, log, reg, cfg.RequestTimeout), bound{}),
		},
		validate: connect.WithInterceptors(validation(validator)),
	}
	reg.MustRegister(s.shed, s.denied)
	s.turns = newAdmission(cfg, reg, s.shed)
	s.admit = connect.WithInterceptors(connect.UnaryInterceptorFunc(s.turns.intercept))
	s.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, "ok") })
	s.mux.HandleFunc("GET /readyz", s.readyz)
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError)}))
	return s, nil
}

// Options are what every service's handler is built with: limits, deadline, metrics, panics, traces, and validation of
// the whole request against its .proto.
func (s *Server) Options() []connect.HandlerOption {
	return append(s.OptionsPerItem(), s.validate)
}

// OptionsShed are Options for a service whose calls are processor work: they have to wait for their turn, and are refused when
// it does not come.
func (s *Server) OptionsShed() []connect.HandlerOption {
	return append(s.OptionsPerItem(), s.admit, s.validate)
}

// OptionsPerItem are Options without validation, for services that validate each item of a batch themselves, so that a
// broken item does not refuse its neighbours.
func (s *Server) OptionsPerItem() []connect.HandlerOption {
	return append([]connect.HandlerOption(nil), s.options...)
}

// Handle serves a Connect service. path and handler are what the generated constructor returns; name is the service's
// full protobuf name, for reflection and health.
func (s *Server) Handle(name, path string, handler http.Handler) {
	s.names = append(s.names, name)
	for _, path := range streamsOf(name) {
		s.streams[path] = true
	}
	s.mux.Handle(path, s.gated(handler))
}

// HandleShed is Handle for a service whose handler has OptionsShed.
func (s *Server) HandleShed(name, path string, handler http.Handler) {
	s.Handle(name, path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.turns.full() {
			s.shed.Inc()
			s.refuse(w, r, connect.CodeResourceExhausted, "too much is asked for; try again")
			return
		}
		handler.ServeHTTP(w, r)
	}))
}

func (s *Server) gated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := s.inflight.Add(1)
		defer s.inflight.Add(-1)
		switch {
		case !s.open.Load():
			s.refuse(w, r, connect.CodeUnavailable, "starting or stopping; try again")
		case n > int64(s.cfg.MaxCalls):
			s.shed.Inc()
			s.refuse(w, r, connect.CodeResourceExhausted, "too many calls are under way; try again")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// refuse answers without a look at the call. Retry-After keeps clients from giving up during a rush, a start or a rolling
// restart.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, code connect.Code, why string) {
	w.Header().Set("Retry-After", "1")
	if err := connect.NewErrorWriter().Write(w, r, connect.NewError(code, errors.New(why))); err != nil {
		s.log.DebugContext(r.Context(), "refuse a call", "error", err)
	}
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if err := s.ready(r.Context()); err != nil {
		reply(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	reply(w, http.StatusOK, "ok")
}

func reply(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	// The client is gone if this fails; there is nobody left to tell.
	fmt.Fprintln(w, text)
}

// Check answers gRPC health checks from the same readiness as /readyz.
func (s *Server) Check(ctx context.Context, req *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	known := req.Service == ""
	for _, n := range s.names {
		known = known || n == req.Service
	}
	if !known {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("no service %q here", req.Service))
	}
	status := grpchealth.StatusServing
	if s.ready(ctx) != nil {
		status = grpchealth.StatusNotServing
	}
	return &grpchealth.CheckResponse{Status: status}, nil
}

// Name is rpc.
func (s *Server) Name() string { return "rpc" }

// Start listens. A port that is taken is an error that says so.
func (s *Server) Start(ctx context.Context) error {
	s.mux.Handle(grpchealth.NewHandler(s))
	reflector := grpcreflect.NewStaticReflector(s.names...)
	for _, handler := range []func(*grpcreflect.Reflector, ...connect.HandlerOption) (string, http.Handler){
		grpcreflect.NewHandlerV1, grpcreflect.NewHandlerV1Alpha,
	} {
		path, h := handler(reflector)
		s.streams[path+"ServerReflectionInfo"] = true
		s.mux.Handle(path, h)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: another process has that port; stop it, or choose another with --listen", s.cfg.Listen)
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.cfg.Listen, err)
	}
	s.addr = ln.Addr()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	// gRPC needs HTTP/2; without TLS that is h2c, on the same port.
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler: s.patient(s.guard(s.mux)), Protocols: protocols,
		BaseContext:       func(net.Listener) context.Context { return s.calls },
		ReadHeaderTimeout: s.cfg.ReadHeaderTimeout, IdleTimeout: s.cfg.IdleTimeout,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	go func() {
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.failure.Store(&err)
		}
	}()
	return nil
}

// Address is the base URL the server listens on; valid after Start.
func (s *Server) Address() string {
	host, port, err := net.SplitHostPort(s.addr.String())
	if err != nil {
		return "http://" + s.addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// Ready returns an error when the listener failed.
func (s *Server) Ready(context.Context) error {
	if err := s.failure.Load(); err != nil {
		return fmt.Errorf("the listener ended: %w", *err)
	}
	return nil
}

// Stop closes the port. The modules have stopped, so whatever is still under way, such as a tool's reflection stream, which
// no gate counts, is cut off first: its client may mean to keep it open all day.
func (s *Server) Stop(ctx context.Context) error {
	s.cut()
	if s.http == nil {
		return nil
	}
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("close the port: %w", err), s.http.Close())
	}
	return nil
}

// Gate is the module that lets calls in from its Start to its Stop; Stop waits for the calls under way.
func (s *Server) Gate() *Gate { return &Gate{s} }

// Gate opens and closes a Server to calls.
type Gate struct{ server *Server }

// Name is gate.
func (g *Gate) Name() string { return "gate" }

// Start lets calls in.
func (g *Gate) Start(context.Context) error {
	g.server.open.Store(true)
	return nil
}

// Ready returns nil: an open gate serves.
func (g *Gate) Ready(context.Context) error { return nil }

// Stop refuses new calls with UNAVAILABLE and gives those under way half of the time until the context's deadline. Those
// that are not over then, such as a stream whose client sends events all day, are cut off and told to come again: the
// modules that stop after the gate need the other half.
func (g *Gate) Stop(ctx context.Context) error {
	s := g.server
	s.open.Store(false)
	if s.idle(ctx, share(ctx, 2)) {
		return nil
	}
	s.log.Warn("calls cut off", "calls", s.inflight.Load())
	s.cut()
	if s.idle(ctx, share(ctx, 4)) {
		return nil
	}
	// What is left waits for its client.
	if err := s.http.Close(); err != nil {
		return fmt.Errorf("close the connections of %d calls: %w", s.inflight.Load(), err)
	}
	if s.idle(ctx, share(ctx, 1)) {
		return nil
	}
	return fmt.Errorf("%d calls still under way: %w", s.inflight.Load(), context.DeadlineExceeded)
}

// unbounded is how long a stop without a deadline waits for calls.
const unbounded = time.Minute

// share is that part of the time until the context's deadline.
func share(ctx context.Context, part time.Duration) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return unbounded / part
	}
	return time.Until(deadline) / part
}

// idle waits until no call is under way, for so long at most, and reports whether that is so.
func (s *Server) idle(ctx context.Context, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.inflight.Load() > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
