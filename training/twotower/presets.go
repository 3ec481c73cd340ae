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
		// Chosen on gowalla's train side with a fifth of every user's places held out, 4,000 users measured, Recall@20 / NDCG@20: .2125/.1430;
		// without neighbours and d=192, six epochs .2052/.1357 (.2003/.1318 at a power of .03, .2076/.1381 at d=384, .2054/.1381 after twelve
		// epochs, .2007/.1320 at a temperature of .1, .1973/.1318 at .05, .2003/.1337 with user ids, .1724/.1156 from a normal start), with 10
		// neighbours .2088/.1399, with 20 .2109/.1394. GF-CF came to .2046/.1340 there. Holding titles of a few users alone out, the others' being
		// left, favours larger models than a split of all users' does.
		"check-ins": with(func(c *Config) {
			c.Dim, c.Neighbours, c.Loss, c.Temperature, c.SetShare, c.PopularityPower = 384, 10, LossSoftmax, 0.07, 0.4, 0.06
			c.Batch, c.Negatives, c.Rate, c.FinalRate, c.Epochs, c.ValidationUsers = 512, 4000, 4e-3, 0.02, 10, 0
		}),
	}
}
