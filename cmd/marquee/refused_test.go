package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"marquee/internal/datadir"
	"marquee/internal/db"
	"marquee/internal/native"
)

// TestNoNativeLibrary: what needs the library says how to get it, and leaves the folder to others.
func TestNoNativeLibrary(t *testing.T) {
	t.Parallel()
	in := newInstall(t, filepath.Join(t.TempDir(), "data"), native.DirVariable+"="+t.TempDir())
	for _, command := range [][]string{{"serve"}, {"nightly"}, {"recommend", "--profile", "p"}} {
		in.run(command...).fails(exitFailed, string(native.ChDB), "make setup", native.DirVariable)
	}
	if _, held, err := datadir.Peek(in.dir); held || err != nil {
		t.Errorf("the folder is held: %v, %v", held, err)
	}
}

// TestHeldFolder: while some other command has the folder, every command says which process that is. The other one is this
// test.
func TestHeldFolder(t *testing.T) {
	t.Parallel()
	in := newInstall(t, filepath.Join(t.TempDir(), "data"))
	dir, err := datadir.Open(in.dir, "marquee import movielens")
	if err != nil {
		t.Fatal(err)
	}
	holder := fmt.Sprintf(`data folder %s is in use by process %d \(marquee import movielens\); wait for it`, in.dir, os.Getpid())
	for _, command := range [][]string{{"serve"}, {"nightly"}, {"import", "movielens", in.dir}, {"features", "list"}, {"events", "adopt-log"}, {"demo"}} {
		in.run(command...).fails(exitFailed, holder, "--data-dir")
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	in.run("features", "list").ok()
}

// readOnly takes the right to write away from a folder and all there is in it, or gives it back.
func readOnly(t *testing.T, dir string, file, folder fs.FileMode) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, folder)
		}
		return os.Chmod(path, file)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// asOthers starts a command to which permissions apply even when this is root. What a thread drops, its children never get
// back, so the thread ends with the goroutine.
func asOthers(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if os.Getuid() == 0 {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_DAC_OVERRIDE, 0, 0, 0); err != nil {
				done <- fmt.Errorf("drop the right to override permissions: %w", err)
				return
			}
		}
		done <- cmd.Start()
	}()
	return <-done
}

// readOnlyFolder: a folder that must not be written is named, and is as it was when it may be written again.
func readOnlyFolder(t *testing.T, f *trained) {
	in := f.install(t)
	dir := in.dir
	in.begin = asOthers
	before := in.contents()
	readOnly(t, in.dir, 0o444, 0o555)
	t.Cleanup(func() { readOnly(t, dir, 0o644, 0o755) })
	for _, command := range [][]string{{"serve"}, {"nightly"}, {"import", "movielens", f.files}, {"recommend", "--profile", "mllatest:1"}} {
		in.run(command...).fails(exitFailed, "data folder "+in.dir+".*permission denied")
	}
	readOnly(t, in.dir, 0o644, 0o755)
	if after := in.contents(); after != before {
		t.Errorf("after it was read-only: %+v, before %+v", after, before)
	}

	// Where only one part of it must not be written, what writes there says where, and what was there stays in use.
	for part, commands := range map[string][][]string{
		"models": {{"nightly", "--as-of", "max-event", "--set", "training.als.seed=9"}},
		"lake":   {{"lake", "compact", "--open-day"}, {"features", "build", "--as-of", "2026-01-01T00:00:00Z"}},
	} {
		readOnly(t, filepath.Join(in.dir, part), 0o444, 0o555)
		for _, command := range commands {
			in.run(command...).fails(exitFailed, filepath.Join(in.dir, part)+".*permission denied")
		}
		in.run("recommend", "--profile", "mllatest:1").ok()
		readOnly(t, filepath.Join(in.dir, part), 0o644, 0o755)
		if after := in.contents(); after != before {
			t.Errorf("after %s was read-only: %+v, before %+v", part, after, before)
		}
		for _, command := range commands {
			in.run(command...).ok()
		}
		before = in.contents()
	}

	parent := t.TempDir()
	t.Cleanup(func() { readOnly(t, parent, 0o644, 0o755) })
	readOnly(t, parent, 0o444, 0o555)
	none := newInstall(t, filepath.Join(parent, "data"))
	none.begin = asOthers
	none.run("serve").fails(exitFailed, "create data folder.*"+none.dir+".*permission denied")
}

// twoNights stops a night in the middle. A second one is turned away while the first one's lease holds and takes over when it
// has run out; the first, when it goes on, changes nothing any more.
func twoNights(t *testing.T, f *trained) {
	in := f.install(t)
	s := in.serve()
	first := in.start("nightly", "--as-of", "max-event", "--set", "training.als.seed=5", "--set", "training.als.epochs=1000")
	first.logged(`"als epoch","step":"evaluate`)
	first.signal(syscall.SIGSTOP)
	second := []string{"nightly", "--as-of", "max-event", "--json", "--set", "training.als.seed=6"}
	in.run(second...).fails(exitFailed, fmt.Sprintf(`lease "nightly" is held by .*process %d; .* it is free at`, first.cmd.Process.Pid))
	in.run("models", "rollback").fails(exitFailed, `lease "nightly" is held`)
	if r := s.recommend("mllatest:1", ""); r.BundleID != f.release {
		t.Errorf("in use while two nights are under way: %s", r.BundleID)
	}

	runOut(t, in)
	var n night
	in.run(second...).ok().json(&n)
	if !n.Promoted || n.Bundle == f.release {
		t.Fatalf("the second night: %+v", n)
	}
	first.signal(syscall.SIGCONT)
	first.wait().fails(exitFailed, "lease is lost")
	var list []struct {
		ID      string `json:"id"`
		Current bool   `json:"current"`
	}
	in.run("models", "list", "--json").ok().json(&list)
	for _, r := range list {
		if r.Current != (r.ID == n.Bundle) {
			t.Errorf("in use after the first night went on: %+v", list)
		}
	}
	s.terminate()
}

// runOut ends the term of every lease, as if its holder had been silent for all of it.
func runOut(t *testing.T, in *install) {
	t.Helper()
	ctx := context.Background()
	d, err := db.Open(ctx, "sqlite:", in.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.NewRaw("UPDATE leases SET expires_at = 1 WHERE name = 'nightly'").Exec(ctx); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
