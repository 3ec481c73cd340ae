// Package crashpoint names the moments at which a crash has to be survived, and lets a test harness choose one. In a binary
// built with the tag crashpoints the process kills itself there as SIGKILL does, so nothing is flushed, closed or told. In
// every other binary there are no crash points: the calls are empty and the compiler drops them.
//
// The harness chooses by environment variables, read once:
//
//	MARQUEE_TEST_CRASH_AT=point:n       die at the nth time the point is reached, in whatever goroutine
//	MARQUEE_TEST_CRASH_SLOW=point       rest at a point, so that what runs beside it gets ahead
//	MARQUEE_TEST_CRASH_OUT_OF_ORDER=1   do on purpose what must never be done, to prove that the harness notices
package crashpoint

// The points, in the order a range of the log passes them; the two sinks side by side.
const (
	LedgerBefore    = "ledger.before"
	LedgerFixed     = "ledger.fixed"
	WarehouseBefore = "warehouse.before"
	WarehouseDone   = "warehouse.done"
	WarehouseMarked = "warehouse.marked"
	LakeBefore      = "lake.before"
	LakeFiles       = "lake.files"
	LakeDone        = "lake.done"
	LakeMarked      = "lake.marked"
	CommitBefore    = "commit.before"
	CommitMarked    = "commit.marked"
)

// Points lists them.
func Points() []string {
	return []string{
		LedgerBefore, LedgerFixed, WarehouseBefore, WarehouseDone, WarehouseMarked, LakeBefore, LakeFiles, LakeDone, LakeMarked,
		CommitBefore, CommitMarked,
	}
}

// The variables.
const (
	EnvAt         = "MARQUEE_TEST_CRASH_AT"
	EnvSlow       = "MARQUEE_TEST_CRASH_SLOW"
	EnvOutOfOrder = "MARQUEE_TEST_CRASH_OUT_OF_ORDER"
)
