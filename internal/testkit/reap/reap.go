// Package reap ends servers whose starter has gone. Go runs nothing when a process is killed, or when a test binary calls
// os.Exit, so the clean-up waits in a small shell whose standard input closes with us.
package reap

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
)

// script waits for the end of its input, stops the process with the signal, gives it five seconds, kills its group, and
// removes the folder. Without a folder it removes nothing.
const script = `
cat >/dev/null
kill -s "$2" "$1" 2>/dev/null
i=0
while [ $i -lt 50 ] && kill -0 "$1" 2>/dev/null; do sleep 0.1; i=$((i+1)); done
kill -s KILL -- "-$1" 2>/dev/null
[ -z "$3" ] || rm -rf -- "$3"
`

// Reaper watches over one process.
type Reaper struct {
	once sync.Once
	in   io.WriteCloser
	cmd  *exec.Cmd
	err  error
}

// Watch arranges that the process pid, which must lead a process group of its own, gets signal (then SIGKILL) and dir is removed
// (unless empty) as soon as this process ends in whatever way, or Now is called.
func Watch(pid int, signal, dir string) (*Reaper, error) {
	cmd := exec.Command("/bin/sh", "-c", script, "reap", strconv.Itoa(pid), signal, dir)
	// Its own group: an interrupt typed at the terminal must not end the reaper before its work.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("watch over process %d: %w", pid, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("watch over process %d: %w", pid, err)
	}
	return &Reaper{in: in, cmd: cmd}, nil
}

// Now does it at once and waits until it is done. Later calls return what the first did.
func (r *Reaper) Now() error {
	r.once.Do(func() {
		if r.err = r.in.Close(); r.err == nil {
			r.err = r.cmd.Wait()
		}
	})
	return r.err
}

// Forget gives the watch up: the process and the folder are somebody else's now, or the process has ended.
func (r *Reaper) Forget() error {
	r.once.Do(func() {
		// The shell goes first, so that it never sees the end of its input.
		if r.err = r.cmd.Process.Kill(); r.err == nil {
			_ = r.cmd.Wait() // killed, as was meant; it also closes the input
		}
	})
	return r.err
}
