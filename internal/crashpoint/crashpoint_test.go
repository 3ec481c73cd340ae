package crashpoint_test

import (
	"testing"

	"marquee/internal/crashpoint"
)

func TestAnOrdinaryBinaryHasNone(t *testing.T) {
	if crashpoint.Enabled {
		t.Skip("built with crash points")
	}
	t.Setenv(crashpoint.EnvAt, crashpoint.LedgerBefore+":1")
	t.Setenv(crashpoint.EnvOutOfOrder, "1")
	for _, point := range crashpoint.Points() {
		crashpoint.At(point)
	}
	if crashpoint.OutOfOrder() {
		t.Error("an ordinary binary does things out of order")
	}
}
