package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"marquee/internal/checksum"
)

// recorder sends batches of events from several clients and keeps book of what was acknowledged.
type recorder struct {
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	acked int
	ids   checksum.Sum
	// open are batches that were sent and not acknowledged: whether they are in is anybody's guess.
	open []sent
}

type sent struct {
	ids  []uuid.UUID
	body string
}

const batchEvents = 25

func newBatch(n int) sent {
	var b sent
	events := make([]string, batchEvents)
	for i := range events {
		id := uuid.Must(uuid.NewV7())
		b.ids = append(b.ids, id)
		events[i] = fmt.Sprintf(`{"eventId":%q,"schemaVersion":1,"profileId":"p%d","titleId":"t%d","playId":"play-%d-%d","type":"EVENT_TYPE_PLAY_END","occurredAt":"%d","watchedMs":"5400000","durationMs":"6000000"}`,
			id, (n+i)%97, i, n, i, time.Now().UnixMicro())
	}
	b.body = batch(events...)
	return b
}

// record starts clients that record until the service is gone.
func (r *recorder) record(url string) {
	r.stop = make(chan struct{})
	for client := range 4 {
		r.done.Go(func() {
			for n := client * 1_000_000; ; n++ {
				select {
				case <-r.stop:
					return
				default:
				}
				if !r.send(url, newBatch(n)) {
					return
				}
			}
		})
	}
}

// send sends a batch and reports whether it was acknowledged, every event of it.
func (r *recorder) send(url string, b sent) bool {
	var answer recorded
	code, err := ask(url+ingestService+"RecordEvents", b.body, &answer)
	ok := err == nil && code == http.StatusOK && len(answer.Results) == len(b.ids)
	for _, x := range answer.Results {
		ok = ok && x.Accepted
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok {
		r.open = append(r.open, b)
		return false
	}
	r.acked += len(b.ids)
	for _, id := range b.ids {
		r.ids.Add(id[:])
	}
	return true
}

func (r *recorder) acknowledged() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acked
}

// TestKilledUnderLoad kills the service with no warning while clients record, twice, and sends again what was not
// acknowledged, as clients do. In the end every acknowledged event is in the warehouse and in the lake, once.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	in := newInstall(t, filepath.Join(t.TempDir(), "data"))
	r := &recorder{}
	repeated := 0
	for range 2 {
		s := in.serve("--modules", "ingest")
		again := r.open
		r.open = nil
		for _, b := range again {
			repeated += len(b.ids)
			if !r.send(s.url, b) {
				t.Fatalf("a batch sent again was not acknowledged:\n%s", s.stderr)
			}
		}
		from := r.acknowledged()
		r.record(s.url)
		s.until("load", func() bool { return r.acknowledged() > from+50*batchEvents })
		s.signal(syscall.SIGKILL)
		if o := s.wait(); o.code != -1 {
			t.Fatalf("ended by itself: %v", o)
		}
		r.done.Wait()
	}
	s := in.serve("--modules", "ingest")
	for _, b := range r.open {
		repeated += len(b.ids)
		if !r.send(s.url, b) {
			t.Fatalf("a batch sent again was not acknowledged:\n%s", s.stderr)
		}
	}
	var got struct {
		eventCounts
		eventDigests
	}
	in.run("events", "count", "--wait", patience.String(), "--digest", "--json").ok().json(&got)
	if got.Warehouse != uint64(r.acked) || got.Lake != int64(r.acked) || got.LakeRows > int64(r.acked+repeated) {
		t.Errorf("%d events were acknowledged, %d sent again, but there are %+v", r.acked, repeated, got.eventCounts)
	}
	if want := r.ids.String(); got.WarehouseIDs != want || got.LakeIDs != want || got.WarehouseContent != got.LakeContent {
		t.Errorf("acknowledged events %s, but there are %+v", want, got.eventDigests)
	}
	t.Logf("%d acknowledged, %d sent again", r.acked, repeated)
	s.terminate()
	var after eventCounts
	in.run("events", "count", "--json").ok().json(&after)
	if after != got.eventCounts {
		t.Errorf("after the service's end there are %+v, before it there were %+v", after, got.eventCounts)
	}
}

// warehouseKilled kills the child that holds the embedded warehouse: the service goes on answering, the child comes back, and
// what was recorded meanwhile is not lost.
func warehouseKilled(t *testing.T, f *trained) {
	in := f.install(t)
	s := in.serve()
	child := onlyChild(t, s.cmd.Process.Pid)
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	played := s.recommend("mllatest:1", "").Titles[0].TitleID
	r := s.record(event("mllatest:1", played, "EVENT_TYPE_PLAY_END"))
	if after := s.recommend("mllatest:1", `,"minPosition":`+string(r.Positions)); slices.Contains(after.ids(), played) || len(after.Titles) == 0 {
		t.Errorf("without a warehouse: %+v", after)
	}
	if code, text := s.get("/livez"); code != http.StatusOK {
		t.Errorf("liveness without a warehouse: %d %s", code, text)
	}
	var counts eventCounts
	in.run("events", "count", "--wait", patience.String(), "--json").ok().json(&counts)
	counts.are(t, int64(f.set.ratings)+1)
	if now := onlyChild(t, s.cmd.Process.Pid); now == child {
		t.Errorf("the child is %d still", now)
	}
	s.terminate()
	// A child never outlives its parent.
	if err := syscall.Kill(child, 0); err == nil {
		t.Errorf("process %d is there after the service has ended", child)
	}
}

// onlyChild is the one child that a process has.
func onlyChild(t *testing.T, pid int) int {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var children []string
	for _, file := range tasks {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // A thread that has ended.
		}
		children = append(children, strings.Fields(string(text))...)
	}
	if len(children) != 1 {
		t.Fatalf("process %d has the children %v, want one", pid, children)
	}
	child, err := strconv.Atoi(children[0])
	if err != nil {
		t.Fatal(err)
	}
	return child
}
