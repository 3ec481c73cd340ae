package twotower

// Presets are hyper-parameters found good for a kind of data, by validation on the training part of the data set it is named after.
func Presets() map[string]Config {
	with := func(set func(*Config)) Config {
		c := DefaultConfig()
		set(&c)
		return c
	}
	return map[string]Config{
		// Places checked in at: tens of thousands of them, few visits to each, known as a set. Users are what they visited alone.
		// Validation NDCG@20 on gowalla: .1201 without and .1220 with lengths by popularity (.1214 at a power of .06). On every third user at d=64
		// cosine contrastive came to .0823, softmax to .0882 (.0850 at a temperature of .1); at d=128 to .0994.
		"check-ins": with(func(c *Config) {
			c.Dim, c.Loss, c.Temperature, c.PopularityPower, c.Rate, c.FinalRate = 192, LossSoftmax, 0.07, 0.03, 2e-3, 0.1
			c.Epochs, c.ValidateEvery, c.Patience = 7, 2, 0
		}),
	}
}
