package testkit_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"marquee/internal/testkit"
)

func TestProjectRootHoldsTheModule(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testkit.ProjectRoot(t), "go.mod"))
	if err != nil || !bytes.HasPrefix(text, []byte("module marquee\n")) {
		t.Fatalf("%q: %v", text, err)
	}
}

func TestALogLineAfterTheTestIsDropped(t *testing.T) {
	var log *slog.Logger
	t.Run("inner", func(t *testing.T) { log = testkit.Log(t) })
	log.Info("too late")
}

// ended is what a skipped or failed test was told.
type ended struct{ verdict, why string }

// recorder stands for a test that ends early, so that the ending can be looked at.
type recorder struct{ testing.TB }

func (r recorder) Helper() {}

func (r recorder) Skipf(format string, args ...any) {
	panic(ended{"skipped", fmt.Sprintf(format, args...)})
}

func (r recorder) Fatalf(format string, args ...any) {
	panic(ended{"failed", fmt.Sprintf(format, args...)})
}

func TestAnAbsentDataSetIsLeftOutOrFailsUnderCI(t *testing.T) {
	for ci, want := range map[string]ended{
		"":     {"skipped", "LEFT OUT: data set no-such-set: put it at"},
		"true": {"failed", "data set no-such-set is missing, and CI=true leaves nothing out"},
	} {
		t.Run("CI="+ci, func(t *testing.T) {
			t.Setenv("CI", ci)
			defer func() {
				got, ok := recover().(ended)
				if !ok || got.verdict != want.verdict || !strings.HasPrefix(got.why, want.why) {
					t.Errorf("ended with %+v, want %+v…", got, want)
				}
			}()
			testkit.DataDir(recorder{t}, "no-such-set")
		})
	}
}

func TestEachCallGetsADatabaseOfItsOwn(t *testing.T) {
	ctx := context.Background()
	for range 2 {
		conn, err := pgx.Connect(ctx, testkit.NeedPostgres(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(ctx, "CREATE TABLE only_here (n int)"); err != nil {
			t.Error(err)
		}
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}

// The server must go with a test binary that is killed, not only with one that ends well.
func TestTheServerEndsWithAKilledProcess(t *testing.T) {
	if os.Getenv("TESTKIT_CHILD") == "1" {
		_, _ = os.Stdout.WriteString(testkit.NeedPostgres(t) + "\n")
		select {}
	}
	testkit.NeedPostgres(t)
	tmp := t.TempDir()
	if err := os.Chmod(filepath.Dir(tmp), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestTheServerEndsWithAKilledProcess$")
	child.Env = append(os.Environ(), "TESTKIT_CHILD=1", "TMPDIR="+tmp)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 256)
	n, err := out.Read(line)
	if err != nil || !strings.HasPrefix(string(line[:n]), "postgres://") {
		t.Fatalf("%q: %v", line[:n], err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // Killed: the error says so.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left, err := filepath.Glob(filepath.Join(tmp, "marquee-postgres-*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %q", left)
		}
	}
}
