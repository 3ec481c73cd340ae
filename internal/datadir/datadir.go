// Package datadir guards the folder that holds the embedded engines. One process owns it at a time: two would write
// the same broker log and the same database.
package datadir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const lockName = "LOCK"

// Owner is the process that holds a data folder.
type Owner struct {
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	Command string    `json:"command"`
	// Address is the base URL the owner serves on; empty while it serves nothing.
	Address string `json:"address,omitempty"`
	// Engines are the URLs of the owner's embedded engines, by role, for commands that run beside it. They carry
	// credentials: never print them.
	Engines map[string]string `json:"engines,omitempty"`
}

// HeldError says that another process holds the folder.
type HeldError struct {
	Dir   string
	Owner Owner
}

func (e *HeldError) Error() string {
	msg := fmt.Sprintf("data folder %s is in use by process %d (%s)", e.Dir, e.Owner.PID, e.Owner.Command)
	if e.Owner.Address != "" {
		return msg + ", which serves on " + e.Owner.Address + "; stop it, or use another --data-dir"
	}
	return msg + "; wait for it, stop it, or use another --data-dir"
}

// Dir is a data folder this process owns until Close.
type Dir struct {
	path  string
	lock  *os.File
	owner Owner
	// written is how long what stands in the lock is.
	written int
}

// Open creates the folder when it is missing and takes its lock. The lock is the kernel's (flock): it goes when the
// process does, however it dies, so nothing is left to clean up. A folder another process holds is a *HeldError.
func Open(path, command string) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data folder %q: %w", path, err)
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(abs, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of data folder %s: %w", abs, err)
	}
	if err := exclusive(f); err != nil {
		owner := readOwner(f)
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &HeldError{Dir: abs, Owner: owner}
		}
		return nil, fmt.Errorf("lock data folder %s: %w", abs, err)
	}
	old, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("look at the lock of data folder %s: %w", abs, err), f.Close())
	}
	d := &Dir{path: abs, lock: f, written: int(old.Size()), owner: Owner{PID: os.Getpid(), Since: time.Now().UTC(), Command: command}}
	if err := d.write(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// exclusive takes the lock. It tries for a tenth of a second, since a Peek holds the lock shared for an instant.
func exclusive(f *os.File) error {
	var err error
	for range 5 {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// Path is the folder, absolute.
func (d *Dir) Path() string { return d.path }

// Announce records the base URL this process serves on, so that commands on the same folder can call it.
func (d *Dir) Announce(address string) error {
	d.owner.Address = address
	return d.write()
}

// Share records the URLs of this process's embedded engines by role, so that commands on the same folder can use them.
func (d *Dir) Share(engines map[string]string) error {
	d.owner.Engines = engines
	return d.write()
}

// Close gives the folder up.
func (d *Dir) Close() error {
	// The content must go before the lock does: after it, it may be another owner's.
	err := d.lock.Truncate(0)
	return errors.Join(err, d.lock.Close())
}

func (d *Dir) write() error {
	b, err := json.Marshal(d.owner)
	if err != nil {
		return fmt.Errorf("encode the owner of data folder %s: %w", d.path, err)
	}
	// Over what stands there, and in one write: whoever peeks meanwhile must not find the folder held by nobody.
	if pad := d.written - len(b); pad > 0 {
		b = append(b, bytes.Repeat([]byte(" "), pad)...)
	}
	if _, err := d.lock.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write the lock of data folder %s: %w", d.path, err)
	}
	d.written = len(b)
	return nil
}

// Clear empties a data folder that nobody holds; one that is held is a *HeldError. What is in it is gone.
func Clear(path, command string) error {
	d, err := Open(path, command)
	if err != nil {
		return err
	}
	return errors.Join(d.clear(), d.Close())
}

func (d *Dir) clear() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("clear data folder %s: %w", d.path, err)
	}
	for _, e := range entries {
		if e.Name() == lockName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(d.path, e.Name())); err != nil {
			return fmt.Errorf("clear data folder %s: %w", d.path, err)
		}
	}
	return nil
}

// Peek says who holds the folder, if anyone does.
func Peek(path string) (Owner, bool, error) {
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return Owner{}, false, nil
	}
	if err != nil {
		return Owner{}, false, fmt.Errorf("open the lock of data folder %s: %w", path, err)
	}
	defer f.Close()
	// A shared lock tells whether somebody holds the exclusive one, without becoming the holder.
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return readOwner(f), true, nil
	}
	if err != nil {
		return Owner{}, false, fmt.Errorf("look at the lock of data folder %s: %w", path, err)
	}
	return Owner{}, false, nil
}

// readOwner reads what the holder wrote. The holder may be in the middle of writing it, and a read beside a write may see some of
// both: what cannot be read is looked at again, for long enough for any write, and then is an owner without particulars, not an error.
func readOwner(f *os.File) Owner {
	const looks, between = 50, time.Millisecond
	for range looks {
		b, err := io.ReadAll(io.NewSectionReader(f, 0, 64<<10))
		if err != nil {
			return Owner{}
		}
		var o Owner
		if json.Unmarshal(b, &o) == nil {
			return o
		}
		time.Sleep(between)
	}
	return Owner{}
}
