// Command benchann compares package ann with hnswlib, faiss and coder/hnsw on the same vectors, in one run.
//
// Every engine is given the same M and efConstruction. For each recall asked for, the smallest ef with which an engine
// reaches it is found by bisection, against a truth computed by brute force in numpy; then all engines are timed at
// their ef in turn, round after round, by the CPU time of their process. A ratio is the median over the rounds. One
// thread searches; queries are handed over in one batch and are not in the index. Within a batch, walks of package ann take
// turns. coder/hnsw reaches no recall worth timing; what it reaches at most is printed.
//
// The Python peers live in a virtual environment outside the project, which `make bench-ann` creates.
package main
