// Command benchvec measures the kernels of internal/vec beside gonum and OpenBLAS (the one that PyPI's numpy carries) on one thread, as
// GFLOP/s and as a share of what this processor's multipliers can do at most, which is measured as well, as is the memory's bandwidth.
// OpenBLAS is driven by a C program that is compiled for the purpose, so that no call between languages is on its clock.
package main
