package main

import "testing"

// TestTrained makes a folder with imported events and a trained release once; each of its tests works on a copy.
func TestTrained(t *testing.T) {
	f := makeTrained(t)
	for name, test := range map[string]func(*testing.T, *trained){
		"service":           askService,
		"hot swap":          hotSwap,
		"warehouse killed":  warehouseKilled,
		"some modules":      someModules,
		"as of":             servesAsOf,
		"gRPC":              overGRPC,
		"corrupt release":   corruptRelease,
		"truncated Parquet": truncatedParquet,
		"damaged ledger":    damagedLedger,
		"read-only folder":  readOnlyFolder,
		"two nights":        twoNights,
		"imports models":    importsModels,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, f)
		})
	}
}
