package sasrec

// Presets are hyper-parameters found good for a kind of data, by validation on the training part of the data set it is named after.
func Presets() map[string]Config {
	with := func(set func(*Config)) Config {
		c := DefaultConfig()
		set(&c)
		return c
	}
	return map[string]Config{
		// Some thousand films and long histories. Small batches learn in few epochs; the falling rate is worth more than further ones.
		"movielens-1m": with(func(c *Config) {
			c.Batch, c.Dropout, c.FinalRate, c.Epochs, c.Patience, c.ValidateEvery = 32, 0.25, 0.03, 10, 0, 5
		}),
	}
}
