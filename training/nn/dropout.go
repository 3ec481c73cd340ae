package nn

// Dropout sets numbers to 0 with the probability Rate and divides the others by 1-Rate (Srivastava et al. 2014). Which ones is a function of
// the key and the place, so that the backward pass, which is the same call on the gradient, needs no memory of the forward pass.
type Dropout struct {
	Rate float64
}

// Apply does it in place. A key is used for one tensor of one step.
func (d Dropout) Apply(t *Team, x []float32, key uint64) {
	if d.Rate <= 0 {
		return
	}
	least := uint64(d.Rate * (1 << 16))
	scale := float32(1 / (1 - float64(least)/(1<<16)))
	t.Rows(len(x), activationGrain, func(_, lo, hi int) {
		row := x[lo:hi]
		var bits uint64
		for i := range row {
			if i&3 == 0 {
				bits = Hash(key, uint64(lo+i))
			}
			s := scale
			if bits&0xffff < least {
				s = 0
			}
			row[i] *= s
			bits >>= 16
		}
	})
}

// Hash mixes two numbers into a random one (the finaliser of splitmix64, Steele et al. 2014).
func Hash(key, i uint64) uint64 {
	z := key + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
