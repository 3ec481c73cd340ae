package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// Profiles serves the Go runtime's profiles (net/http/pprof, under /debug/pprof/) on an address of its own, to this machine alone: they show
// what is in memory. The zero address serves none.
type Profiles struct {
	address  string
	log      *slog.Logger
	server   *http.Server
	listener net.Listener
}

// NewProfiles serves them at c.ProfileListen once started.
func NewProfiles(c Config, log *slog.Logger) *Profiles {
	return &Profiles{address: c.ProfileListen, log: log}
}

// Name is the module's.
func (p *Profiles) Name() string { return "profiles" }

// Start opens the port.
func (p *Profiles) Start(ctx context.Context) (err error) {
	if p.address == "" {
		return nil
	}
	if p.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", p.address); err != nil {
		return fmt.Errorf("serve profiles (telemetry.profile_listen): %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	p.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	p.log.Info("serving profiles", "address", p.Address())
	go func() {
		if err := p.server.Serve(p.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("profiles are no longer served", "error", err)
		}
	}()
	return nil
}

// Address is where profiles are served once started, with the port that was free where 0 was asked for; empty where they are not.
func (p *Profiles) Address() string {
	if p.listener == nil {
		return ""
	}
	return p.listener.Addr().String()
}

// Ready has nothing to wait for.
func (p *Profiles) Ready(context.Context) error { return nil }

// Stop closes the port; a profile that is being taken is broken off.
func (p *Profiles) Stop(context.Context) error {
	if p.server == nil {
		return nil
	}
	return p.server.Close()
}
