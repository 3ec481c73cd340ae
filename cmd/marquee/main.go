// Command marquee is the whole service in one binary: it takes watch events in, trains models on them, serves
// recommendations, and holds the tools of those who run it. `marquee --help` lists the commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"marquee/features/warehouse"
)

// version is set by the build.
var version = ""

// Exit codes: scripts and schedulers rely on them.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	// The embedded warehouse is this same binary run again as a child, so that a crash of the native library can never
	// be a crash of the service.
	if warehouse.IsChild() {
		os.Exit(warehouse.ChildMain())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once: nothing in it needs a clean end.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// usageError is a mistake in how the command was called: exit code 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var grammar cli
	exited := -1
	parser, err := newParser(&grammar, kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		fmt.Fprintln(stderr, "marquee:", err)
		return exitFailed
	}
	call, err := parser.Parse(args)
	// --help and --version have printed what they print and asked to exit.
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintln(stderr, "marquee:", err)
		return exitUsage
	}
	err = call.Run(&console{ctx: ctx, stdout: stdout, stderr: stderr, globals: &grammar.globals, command: call.Command()})
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "marquee:", err)
		return exitUsage
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(stderr, "marquee: interrupted; run the same command again to go on")
		return exitFailed
	}
	fmt.Fprintln(stderr, "marquee:", err)
	return exitFailed
}

// newParser reads command lines into the grammar.
func newParser(grammar *cli, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(grammar, append([]kong.Option{
		kong.Name("marquee"),
		kong.Description("Self-hosted personalization for video platforms."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.Vars{"version": buildVersion()},
	}, options...)...)
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
