package als

// Presets are hyper-parameters found good for a kind of data, each by a search on a validation cut from the training part
// of the data set it is named after; the test part had no say.
func Presets() map[string]Config {
	with := func(set func(*Config)) Config {
		c := DefaultConfig()
		set(&c)
		return c
	}
	return map[string]Config{
		// Films rated by a few thousand viewers: Rendle et al. (Revisiting the performance of iALS, 2022) search the same range.
		"movielens-1m": with(func(c *Config) {
			c.Dim, c.Regularization, c.UnobservedWeight, c.Epochs = 192, 0.007, 0.3, 4
		}),
		// Places checked in at, tens of thousands of them and few visits to each: quality goes on growing with the dimension. On
		// gowalla's validation NDCG@20 is .0865 at d=64, .1074 at 256 and .1156 at 512. At 64 seven points were tried; at 512
		// two, of which this had .1150 and (.005, .006) .1137 after 6 epochs, on every fifth user. To see it again:
		//
		//	marquee eval tune --format lightgcn --data gowalla --model als --dim 512 --trials 2
		//		--try unobserved_weight=0.01,regularization=0.003 --try unobserved_weight=0.005,regularization=0.006
		"check-ins": with(func(c *Config) {
			c.Dim, c.Regularization, c.UnobservedWeight, c.Epochs, c.Solver = 512, 0.003, 0.01, 8, SolverCholesky
		}),
	}
}
