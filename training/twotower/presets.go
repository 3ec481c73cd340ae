package twotower

// Presets are hyper-parameters found good for a kind of data, by validation on the training part of the data set it is named after.
func Presets() map[string]Config {
	with := func(set func(*Config)) Config {
		c := DefaultConfig()
		set(&c)
		return c
	}
	return map[string]Config{
		// Places checked in at: tens of thousands of them, few visits to each, users known by a number and a set of places.
		"check-ins": with(func(c *Config) {
			c.Dim, c.UserIDs = 128, true
		}),
	}
}
