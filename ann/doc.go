// Package ann finds the vectors nearest to a query, by inner product, cosine or Euclidean distance.
//
// Build makes an Index of a table of vectors: an exact one, which compares the query with every vector, up to some
// thousands of them (CrossoverFloat32, CrossoverInt8), and an HNSW graph above that. Either can search in float32, or in int8 with the best candidates
// compared again in float32. Both answer the same questions through the same interface:
//
//	ix, err := ann.Build(ctx, vectors, 64, ann.Options{Metric: ann.InnerProduct, Int8: true})
//	hits, plan, err := ix.Search(query, 10, ann.SearchOptions{Filter: eligible}, hits)
//
// A search allocates nothing and may run in any number of goroutines. Its plan says whether it compared all vectors,
// only the eligible ones, or walked the graph, and why.
//
// Two things the graph is not left to get right by itself. Vectors that repeat another are kept out of it and returned
// beside the one they repeat. And by inner product, where a few long vectors answer many queries, as popular titles do,
// those are compared with every query before the walk, which then starts beside the rest.
//
// WriteFile stores an index in one versioned, checksummed file, and Open maps such a file into memory without reading
// it. No file, however damaged, makes a search panic or read outside the file: what is wrong is an error that wraps
// ErrCorrupt.
//
// Live is for vectors that change: additions, updates and deletions beside an index, one Search over all of it, and
// compactions while searches go on.
//
// An index needs as many candidates as its data make it: Calibrate measures that on queries and refuses an index that finds
// too few whatever it keeps. BENCHMARK.md has what all of this costs, beside hnswlib, faiss and coder/hnsw. The last, a
// graph in pure Go, is behind this package's interface in package coderhnsw, and not the default because it does not find
// what is near; that package says why.
//
// The package imports nothing but internal/vec and the standard library.
package ann
