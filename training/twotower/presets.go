package twotower

// Presets are hyper-parameters found good for a kind of data, by validation on the training part of the data set it is named after.
func Presets() map[string]Config {
	with := func(set func(*Config)) Config {
		c := DefaultConfig()
		set(&c)
		return c
	}
	return map[string]Config{
		// Places checked in at: tens of thousands of them, few visits to each, known as a set. Users are what they visited alone. On every
		// third user of gowalla, validation NDCG@20 at d=64: cosine contrastive .0823, softmax of single watches .0882 at a temperature
		// of .07 (.0850 at .1), of sets the same in a tenth of the time; d=128 .0896, with lengths by popularity .1056 (at a power of .1; .1027
		// at .07, .1047 at .15), trained under those lengths .0905 to .1000.
		"check-ins": with(func(c *Config) {
			c.Dim, c.Loss, c.Temperature, c.SetShare, c.PopularityPower = 256, LossSoftmax, 0.07, 0.5, 0.12
			c.Batch, c.Negatives, c.Rate, c.Epochs, c.ValidateEvery, c.Patience = 256, 2500, 3e-3, 24, 6, 0
		}),
	}
}
