package ease

// Presets are values of Config.L2 found by a search on a validation cut from the training part of a data set; the test part had no
// say. The command that found each:
//
//	movielens-1m: marquee eval tune --format ncf --data ncf-ml-1m --model ease --budget 70s
//	check-ins: the same on the 12,000 places of gowalla that are visited most, 4 minutes; 52 and 100 did alike
func Presets() map[string]float64 {
	return map[string]float64{"default": DefaultConfig().L2, "movielens-1m": 830, "check-ins": 80}
}
