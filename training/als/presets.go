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
	}
}
