package reap

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestNowEndsTheProcessAndRemovesItsFolder(t *testing.T) {
	for name, script := range map[string]string{
		"obedient":  "echo ready; exec sleep 1000",
		"stubborn":  "trap '' TERM; echo ready; while :; do sleep 0.1; done",
		"with kids": "sleep 1000 & echo ready; wait",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "a folder")
			if err := os.MkdirAll(filepath.Join(dir, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/bin/sh", "-c", script)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 16)); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = cmd.Wait() // Killed: the error says so.
			}()
			r, err := Watch(cmd.Process.Pid, "TERM", dir)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := r.Now(); err != nil {
					t.Error(err)
				}
			}
			<-ended
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the folder is still there: %v", err)
			}
		})
	}
}
