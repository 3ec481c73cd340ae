package als

// Preset is what is chosen for a kind of data: a factorization, and what a title watched long ago counts for where a data set has an order.
type Preset struct {
	Config
	Recency Recency
}

// Presets are hyper-parameters found good for a kind of data, each by a search on a validation cut from the training part
// of the data set it is named after; the test part had no say.
func Presets() map[string]Preset {
	with := func(set func(*Preset)) Preset {
		c := Preset{Config: DefaultConfig()}
		set(&c)
		return c
	}
	return map[string]Preset{
		// Films rated by a few thousand viewers, in the order of their ratings. The best HR@10 of TestChooseRecencyOnValidation (.8151, NDCG@10 .5632).
		"movielens-1m": with(func(c *Preset) {
			c.Dim, c.Regularization, c.UnobservedWeight, c.Epochs, c.Solver = 192, 0.006, 0.1, 8, SolverCholesky
			c.Recency = Recency{HalfLife: 12, Floor: 0.05}
		}),
		// The same without the order, as published factorizations are. The best HR@10 of TestChooseOnValidation at d=192 (.7549, NDCG@10
		// .4706); from 5 epochs on more change nothing.
		"movielens-1m-unordered": with(func(c *Preset) {
			c.Dim, c.Regularization, c.UnobservedWeight, c.Epochs, c.Solver = 192, 0.0075, 0.25, 8, SolverCholesky
		}),
		// Films in the order of their ratings, where the next one is told among all. Found by the search that knows nothing of the data, in under 4 of
		// its 5 minutes, NDCG@10 on its validation:
		//
		//	marquee eval benchmark --format sasrec --data ml-1m-gsasrec --model als --preset auto --budget 5m
		"movielens-1m-next": with(func(c *Preset) {
			c.Dim, c.Regularization, c.UnobservedWeight, c.Epochs, c.Solver = 128, 3.105e-5, 0.1677, 14, SolverCholesky
			c.Recency = Recency{HalfLife: 3.417, Floor: 0.05}
		}),
		// Places checked in at, tens of thousands of them and few visits to each: quality goes on growing with the dimension. Found by
		// the search that knows nothing of the data, in 8½ minutes of its 10, NDCG@20 on its validation:
		//
		//	marquee eval benchmark --format lightgcn --data gowalla --model als --preset auto --budget 10m
		"check-ins": with(func(c *Preset) {
			c.Dim, c.Regularization, c.UnobservedWeight, c.Epochs, c.Solver = 512, 0.006085, 0.009431, 8, SolverCholesky
		}),
	}
}
