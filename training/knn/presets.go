package knn

// Presets are hyper-parameters found by a search on a validation cut from the training part of a data set; the test part had no
// say. The command that found each:
//
//	check-ins: marquee eval tune --format lightgcn --data gowalla --model knn --budget 8m
func Presets() map[string]Config {
	return map[string]Config{
		// Few titles per user, a long tail, and users of very different activity.
		"check-ins": {Neighbours: 614, Shrinkage: 1.04, Asymmetry: 0.598, Activity: 0.455},
	}
}

// UserPresets are Presets of user-kNN.
func UserPresets() map[string]Config { return map[string]Config{} }
