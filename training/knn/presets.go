package knn

// Presets are hyper-parameters found by a search on a validation cut from the training part of a data set; the test part had no
// say. The command that found each:
//
//	check-ins: marquee eval tune --format lightgcn --data gowalla --model knn --budget 8m
//	movielens-1m: marquee eval tune --format ncf --data ncf-ml-1m --model knn --budget 90s
func Presets() map[string]Config {
	return map[string]Config{
		// Few titles per user, a long tail, and users of very different activity.
		"check-ins": {Neighbours: 614, Shrinkage: 1.04, Asymmetry: 0.598, Activity: 0.455},
		// Many titles per user: the nearest few of each say it all.
		"movielens-1m": {Neighbours: 61, Shrinkage: 0.038, Asymmetry: 0.438, Activity: 0.292},
	}
}

// UserPresets are Presets of user-kNN:
//
//	check-ins: marquee eval tune --format lightgcn --data gowalla --model userknn --budget 4m
//	movielens-1m: marquee eval tune --format ncf --data ncf-ml-1m --model userknn --budget 90s
func UserPresets() map[string]Config {
	return map[string]Config{
		"check-ins":    {Neighbours: 61, Shrinkage: 0.038, Asymmetry: 0.438, Activity: 0.292},
		"movielens-1m": {Neighbours: 44, Shrinkage: 0.01, Asymmetry: 0.469, Activity: 0.529},
	}
}
