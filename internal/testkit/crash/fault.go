package crash

import "marquee/internal/crashpoint"

// Kind is what happens in a run.
type Kind string

// The kinds.
const (
	KillService   Kind = "kill service"
	KillWarehouse Kind = "kill warehouse"
	KillDatabase  Kind = "kill database"
	KillKafka     Kind = "kill kafka"
	// Point is that the service dies at a crash point.
	Point Kind = "die at"
	// ReplayGroup sets the group's committed offsets back to before what was consumed.
	ReplayGroup Kind = "replay from the group's offsets"
	// ReplayLedger puts an older copy of the ledger in its place, or none at all.
	ReplayLedger Kind = "replay from an older ledger"
	// Rebalance takes a consumer away and brings it back.
	Rebalance Kind = "rebalance"
)

// Fault is one thing that happens in a run.
type Fault struct {
	Kind Kind
	// At is the crash point; Slow a point beside it at which the service rests, so that the other sink is written first.
	At, Slow string
}

func (f Fault) String() string {
	text := string(f.Kind)
	if f.At != "" {
		text += " " + f.At
	}
	if f.Slow != "" {
		text += ", " + f.Slow + " slow"
	}
	return text
}

func pointFaults() []Fault {
	var faults []Fault
	for _, point := range crashpoint.Points() {
		faults = append(faults, Fault{Kind: Point, At: point})
	}
	// Between the sinks, each of them first.
	return append(faults,
		Fault{Kind: Point, At: crashpoint.WarehouseDone, Slow: crashpoint.LakeBefore},
		Fault{Kind: Point, At: crashpoint.WarehouseMarked, Slow: crashpoint.LakeBefore},
		Fault{Kind: Point, At: crashpoint.LakeDone, Slow: crashpoint.WarehouseBefore},
		Fault{Kind: Point, At: crashpoint.LakeMarked, Slow: crashpoint.WarehouseBefore},
	)
}

func embeddedFaults() []Fault {
	return append(pointFaults(), Fault{Kind: KillService}, Fault{Kind: KillWarehouse}, Fault{Kind: ReplayGroup}, Fault{Kind: ReplayLedger})
}

func clusterFaults() []Fault {
	return append(embeddedFaults(), Fault{Kind: KillDatabase}, Fault{Kind: KillKafka}, Fault{Kind: Rebalance})
}
