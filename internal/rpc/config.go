// Package rpc is the one port of the service: Connect, gRPC, gRPC-Web and plain JSON side by side, with validation,
// deadlines, metrics and panics handled in one place, and health, reflection and metrics beside them.
package rpc

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"
)

// Config says where the service listens and what it allows a request.
type Config struct {
	// Listen is host:port; port 0 takes a free one.
	Listen string `koanf:"listen"`
	// RequestTimeout bounds a request whose client set no deadline, and one whose client set a longer one; before that, the
	// time its body may take to arrive.
	RequestTimeout time.Duration `koanf:"request_timeout"`
	// MaxRequestBytes bounds a request message, decompressed.
	MaxRequestBytes int `koanf:"max_request_bytes"`
	// MaxCalls is how many calls may be under way; more are refused with RESOURCE_EXHAUSTED and advice to retry, before
	// they wait for each other until none is answered in time.
	MaxCalls int `koanf:"max_calls"`
	// MaxWorking is how many recommendations are worked on at a time, 0 for four a processor; others wait for their turn.
	MaxWorking int `koanf:"max_working"`
	// QueueTarget is how long a call may wait for its turn while calls come faster than they are answered; after that it is
	// refused with RESOURCE_EXHAUSTED and advice to retry.
	QueueTarget time.Duration `koanf:"queue_target"`
	// ReadHeaderTimeout bounds how long a connection may take to send a request's headers.
	ReadHeaderTimeout time.Duration `koanf:"read_header_timeout"`
	// IdleTimeout closes a connection that nothing was asked on for so long, and ends a stream whose client says nothing for
	// so long.
	IdleTimeout time.Duration `koanf:"idle_timeout"`
}

// DefaultConfig listens on the loopback interface only: others are let in when somebody says who may call.
func DefaultConfig() Config {
	return Config{
		Listen:            "127.0.0.1:8080",
		RequestTimeout:    30 * time.Second,
		MaxRequestBytes:   16 << 20,
		MaxCalls:          1000,
		QueueTarget:       10 * time.Millisecond,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("rpc.listen must be host:port, is %q", c.Listen))
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"request_timeout", c.RequestTimeout},
		{"read_header_timeout", c.ReadHeaderTimeout},
		{"idle_timeout", c.IdleTimeout},
		{"queue_target", c.QueueTarget},
	} {
		if d.value < time.Millisecond || d.value > time.Hour {
			errs = append(errs, fmt.Errorf("rpc.%s must be between 1ms and 1h, is %s", d.field, d.value))
		}
	}
	if c.MaxRequestBytes < 1<<10 || c.MaxRequestBytes > 1<<30 {
		errs = append(errs, fmt.Errorf("rpc.max_request_bytes must be between 1024 and 1073741824, is %d", c.MaxRequestBytes))
	}
	if c.MaxCalls < 1 || c.MaxCalls > 1_000_000 {
		errs = append(errs, fmt.Errorf("rpc.max_calls must be between 1 and 1000000, is %d", c.MaxCalls))
	}
	if c.MaxWorking < 0 || c.MaxWorking > 1_000_000 {
		errs = append(errs, fmt.Errorf("rpc.max_working must be between 0 and 1000000, is %d", c.MaxWorking))
	}
	return errors.Join(errs...)
}

// running is how many calls are worked on at a time.
func (c Config) running() int {
	if c.MaxWorking > 0 {
		return c.MaxWorking
	}
	return 4 * runtime.GOMAXPROCS(0)
}
