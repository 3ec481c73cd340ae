package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	rssEvery = 200 * time.Millisecond
	// pssTicks is how many samples of RSS go by between two of PSS, which cost the kernel a walk over every page.
	pssTicks = 10
)

// memory samples what processes and their children hold resident: together, each, and by phase of the run.
type memory struct {
	mu     sync.Mutex
	roots  []process
	phases []memoryPeak
}

// process is one that counts, with its children as children's name.
type process struct {
	pid            int
	name, children string
}

// memoryPeak is the most that was resident in a phase, in bytes. The processes reach their own peaks at different times, so
// that these add up to more than the sum's.
type memoryPeak struct {
	Phase     string           `json:"phase"`
	RSS       int64            `json:"rss_bytes"`
	PSS       int64            `json:"pss_bytes"`
	Processes map[string]int64 `json:"rss_bytes_by_process"`
}

func newMemory(service int) *memory {
	m := &memory{roots: []process{{service, "service", "warehouse"}}}
	m.phase("start")
	return m
}

// phase begins a phase.
func (m *memory) phase(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.phases = append(m.phases, memoryPeak{Phase: name, Processes: map[string]int64{}})
}

// include counts another process and its children from now on, until the function it returns is called.
func (m *memory) include(pid int, name string) func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roots = append(m.roots, process{pid, name, name})
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.roots = slices.DeleteFunc(m.roots, func(p process) bool { return p.pid == pid })
	}
}

// sample samples until the function it returns is called.
func (m *memory) sample() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(rssEvery)
		defer tick.Stop()
		for n := 0; ; n++ {
			m.take(n%pssTicks == 0)
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

func (m *memory) take(withPSS bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var rss, pss int64
	byName := map[string]int64{}
	for _, root := range m.roots {
		for i, pid := range tree(root.pid) {
			name := root.name
			if i > 0 {
				name = root.children
			}
			n := rssOf(pid)
			rss += n
			byName[name] += n
			if withPSS {
				pss += pssOf(pid)
			}
		}
	}
	peak := &m.phases[len(m.phases)-1]
	peak.RSS, peak.PSS = max(peak.RSS, rss), max(peak.PSS, pss)
	for name, n := range byName {
		peak.Processes[name] = max(peak.Processes[name], n)
	}
}

// peaks returns the peaks of the phases so far.
func (m *memory) peaks() []memoryPeak {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.phases)
}

// last is the peak of the phase that runs, for people.
func (m *memory) last() string {
	peaks := m.peaks()
	p := peaks[len(peaks)-1]
	var each []string
	for _, name := range slices.Sorted(maps.Keys(p.Processes)) {
		each = append(each, fmt.Sprintf("%s %d", name, p.Processes[name]>>20))
	}
	return fmt.Sprintf("%d MB resident at most (%s)", p.RSS>>20, strings.Join(each, ", "))
}

// tree is a process and all below it. A process that is gone has none.
func tree(pid int) []int {
	out := []int{pid}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return out
	}
	for _, task := range tasks {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		if err != nil {
			continue
		}
		for _, child := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				out = append(out, tree(n)...)
			}
		}
	}
	return out
}

func rssOf(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

func pssOf(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	return smapsField(text, "Pss:")
}

// smapsField reads one figure of smaps_rollup, in bytes.
func smapsField(text []byte, name string) int64 {
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) >= 2 && fields[0] == name {
			kb, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0
			}
			return kb << 10
		}
	}
	return 0
}

// cpuTime is the processor time a process has used, user and system.
func cpuTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	return statTime(string(text))
}

// clockTick is the kernel's unit of processor time, fixed in its interface on every architecture Go runs on.
const clockTick = 10 * time.Millisecond

// statTime reads utime and stime of a line of /proc/PID/stat. The command in it may hold anything, parentheses included.
func statTime(line string) time.Duration {
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return 0
	}
	user, err := strconv.ParseInt(fields[utime], 10, 64)
	if err != nil {
		return 0
	}
	system, err := strconv.ParseInt(fields[stime], 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(user+system) * clockTick
}

// cpuClock reads the processor time of this program, the service and the warehouse's process.
type cpuClock struct{ client, service, warehouse time.Duration }

func readCPU(service int) cpuClock {
	c := cpuClock{client: cpuTime(os.Getpid()), service: cpuTime(service)}
	for _, pid := range tree(service)[1:] {
		c.warehouse += cpuTime(pid)
	}
	return c
}

// since returns the processor time used since an earlier reading, an event.
func (c cpuClock) since(before cpuClock, events int64) cpuShares {
	per := func(d time.Duration) float64 { return round(float64(d.Nanoseconds()) / 1000 / float64(max(events, 1))) }
	return cpuShares{
		Client: per(c.client - before.client), Service: per(c.service - before.service), Warehouse: per(c.warehouse - before.warehouse),
	}
}

// round keeps three decimals.
func round(x float64) float64 { return float64(int64(x*1000+0.5)) / 1000 }
