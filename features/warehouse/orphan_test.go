package warehouse

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// parentMain is a process with an embedded warehouse, for a test to kill.
func parentMain(dir string) int {
	cfg := DefaultConfig()
	cfg.URL = "embedded:" + dir
	w, err := Open(context.Background(), cfg, "", slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("child", w.child.current.cmd.Process.Pid)
	select {}
}

// The child learns of its parent's death by the end of standard input; one that hangs, here because it is stopped, is
// killed by the kernel.
func TestChildDiesWithAKilledParent(t *testing.T) {
	t.Run("serving", func(t *testing.T) { killParent(t, syscall.Signal(0)) })
	t.Run("hanging", func(t *testing.T) { killParent(t, syscall.SIGSTOP) })
}

func killParent(t *testing.T, toChild syscall.Signal) {
	t.Helper()
	needEngine(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WAREHOUSE_TEST_PARENT="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	number, ok := strings.CutPrefix(strings.TrimSpace(line), "child ")
	pid, perr := strconv.Atoi(number)
	if err != nil || !ok || perr != nil {
		t.Fatalf("the parent said %q, %v", line, err)
	}
	if err := syscall.Kill(pid, toChild); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the killed parent exited cleanly")
	}
	deadline := time.Now().Add(20 * time.Second)
	for syscall.Kill(pid, 0) == nil && !isZombie(pid) {
		if time.Now().After(deadline) {
			t.Fatalf("child %d outlives its parent by 20 s", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// isZombie says that the process ended and waits for whoever inherited it to notice.
func isZombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}
