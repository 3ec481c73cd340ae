//go:build amd64 && !purego

package vec

//go:noescape
func cholRowsAVX2(a *float32, ld, cols int, inv *float32)

//go:noescape
func cholSolveAVX2(u *float32, n int, inv, b *float32)

func cholRows(a []float32, ld, cols int, inv []float32) {
	if !Accelerated() {
		cholRowsGeneric(a, ld, cols, inv)
		return
	}
	cholRowsAVX2(&a[0], ld, cols, &inv[0])
}

func cholSolve(u []float32, n int, inv, b []float32) {
	if !Accelerated() {
		cholSolveGeneric(u, n, inv, b)
		return
	}
	cholSolveAVX2(&u[0], n, &inv[0], &b[0])
}
