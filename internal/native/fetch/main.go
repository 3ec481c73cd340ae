// Command fetch puts the native libraries where the program finds them. It is what `make setup` runs: it downloads each
// library through npm or pip, whichever the machine has, checks the archive and the file in it against pinned sums, and
// leaves what is already there alone, without a network.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"marquee/internal/native"
)

func main() {
	dir := flag.String("dir", ".native", "folder to put the libraries in")
	verify := flag.Bool("verify", false, "check the sums of what is already there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	f := fetcher{dir: *dir, verify: *verify, out: os.Stderr, download: download}
	if err := f.run(ctx, native.Platform(), pins()); err != nil {
		fmt.Fprintln(os.Stderr, "fetch:", err)
		os.Exit(1)
	}
}

// fetcher brings libraries into dir.
type fetcher struct {
	dir      string
	verify   bool
	out      io.Writer
	download func(ctx context.Context, s source, into string) (string, error)
}

func (f *fetcher) run(ctx context.Context, platform string, pins []pin) error {
	var errs []error
	found := map[native.Library]bool{native.ChDB: false, native.ONNXRuntime: false}
	for _, p := range pins {
		if p.platform != platform {
			continue
		}
		found[p.library] = true
		if err := f.library(ctx, p); err != nil {
			errs = append(errs, fmt.Errorf("%s for %s: %w", p.library, p.platform, err))
		}
	}
	for _, lib := range []native.Library{native.ChDB, native.ONNXRuntime} {
		if !found[lib] {
			fmt.Fprintf(f.out, "no checked package of %s for %s is known; what needs it will say so (Marquee runs on linux-amd64 in full)\n", lib, platform)
		}
	}
	return errors.Join(errs...)
}

// library brings one library in from the first source that works.
func (f *fetcher) library(ctx context.Context, p pin) error {
	there, err := f.present(p)
	if err != nil || there {
		return err
	}
	var errs []error
	for _, s := range p.sources {
		fmt.Fprintf(f.out, "fetching %s (%s, by %s)\n", p.library, s.spec, s.client)
		err := f.from(ctx, p, s)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("by %s: %w", s.client, err))
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("%w\n%s", errors.Join(errs...), advice(p))
}

// advice says how to get a library by hand.
func advice(p pin) string {
	text := "to get it, install one of these clients and run make setup again, or put the file in place yourself:"
	for _, s := range p.sources {
		text += fmt.Sprintf("\n  %s: package %s, file %s, SHA-256 %s", s.client, s.spec, s.path, s.member)
	}
	return text + fmt.Sprintf("\n  place: .native/%s/%s", p.platform, p.library)
}
