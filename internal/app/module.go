// Package app runs a set of modules as one process: started in order, asked for readiness, drained on a signal within
// a deadline.
package app

import "context"

// Module is one part of the service. Modules are started in the order they are listed and stopped in reverse.
type Module interface {
	// Name is the module's name in logs, metrics and the --modules flag.
	Name() string
	// Start brings the module up and returns; work that goes on runs in goroutines the module owns until Stop.
	// The context bounds the start only.
	Start(ctx context.Context) error
	// Ready returns nil when the module can serve, or says what it is waiting for.
	Ready(ctx context.Context) error
	// Stop drains and ends the module's goroutines within the context's deadline. It is called once, also after a
	// Start that failed.
	Stop(ctx context.Context) error
}
