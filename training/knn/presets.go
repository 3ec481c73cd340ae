package knn

// Presets are hyper-parameters found by a search on a validation cut from the training part of a data set; the test part had no
// say. The command that found each:
//
//	check-ins: marquee eval tune --format lightgcn --data gowalla --model knn --budget 4m
func Presets() map[string]Config {
	return map[string]Config{
		// Many titles, few per user, long tail: the item's own norm counts more than the other's.
		"check-ins": {Neighbours: 345, Shrinkage: 0.0127, Asymmetry: 0.726},
	}
}
