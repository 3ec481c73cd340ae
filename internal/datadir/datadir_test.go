package datadir

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets the test binary play the other process: it opens the folder named in the environment, says so, and
// waits to be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("DATADIR_TEST_HOLD"); dir != "" {
		d, err := Open(dir, "holder")
		if err == nil {
			err = d.Announce("http://127.0.0.1:1")
		}
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("held")
		select {}
	}
	os.Exit(m.Run())
}

func TestSecondOpenNamesTheHolder(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(dir, "marquee serve")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Announce("http://127.0.0.1:8080"); err != nil {
		t.Fatal(err)
	}
	if err := d.Share(map[string]string{"warehouse": "http://:secret@127.0.0.1:9"}); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, "marquee nightly")
	var held *HeldError
	if !errors.As(err, &held) {
		t.Fatalf("second Open: got %v, want a HeldError", err)
	}
	for _, want := range []string{"marquee serve", "http://127.0.0.1:8080", "--data-dir"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("error %q gives a credential away", err)
	}
	if held.Owner.Engines["warehouse"] == "" {
		t.Error("the holder's engines are not in the error's owner")
	}
	owner, ok, err := Peek(dir)
	if err != nil || !ok || owner.PID != os.Getpid() || owner.Address != "http://127.0.0.1:8080" {
		t.Errorf("Peek = %+v, %v, %v", owner, ok, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := Peek(dir); ok || err != nil {
		t.Errorf("Peek after Close = held %v, %v", ok, err)
	}
	d, err = Open(dir, "marquee nightly")
	if err != nil {
		t.Fatalf("Open after Close: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLockGoesWithAKilledProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DATADIR_TEST_HOLD="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := out.Read(b)
	if err != nil || string(b[:n]) != "held\n" {
		t.Fatalf("holder said %q, %v", b[:n], err)
	}
	if owner, ok, err := Peek(dir); err != nil || !ok || owner.PID != cmd.Process.Pid {
		t.Fatalf("Peek = %+v, %v, %v", owner, ok, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the killed holder exited cleanly")
	}
	d, err := Open(dir, "next")
	if err != nil {
		t.Fatalf("Open after the holder was killed: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestPeekWithoutFolder(t *testing.T) {
	if _, ok, err := Peek(filepath.Join(t.TempDir(), "none")); ok || err != nil {
		t.Errorf("Peek = %v, %v", ok, err)
	}
}

func TestOpenWhereAFileStands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, "x"); err == nil {
		t.Fatal("no error for a file in the folder's place")
	}
}

func TestClearEmptiesWhatNobodyHolds(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "broker", "log"), 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := Open(dir, "marquee demo")
	if err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	if err := Clear(dir, "marquee demo"); !errors.As(err, &held) {
		t.Errorf("Clear of a held folder = %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Clear(dir, "marquee demo"); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left are %v, %v", entries, err)
	}
}

// TestPeekNeverFindsNobody while the owner writes down what has changed.
func TestPeekNeverFindsNobody(t *testing.T) {
	d, err := Open(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	done := make(chan error, 1)
	go func() {
		for n := range 2000 {
			if err := d.Announce(strings.Repeat("x", n%50)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
			if o, held, err := Peek(d.Path()); err != nil || !held || o.PID != os.Getpid() {
				t.Fatalf("the owner is %+v (%v, %v)", o, held, err)
			}
		}
	}
}
