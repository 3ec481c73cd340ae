// Package nn holds what networks over titles and histories are trained with: layers with forward and backward passes, losses and
// optimisers, in float32 on the processor.
//
// There is no tape. A model calls its layers forward and then backward in the opposite order, and each layer keeps in its own workspace,
// made once for the largest batch, what its backward pass needs. So a layer serves one batch at a time.
//
// Batches are flat and row-major: a row is a token or an example and no row is padding. Histories of different lengths lie one
// after the other, and offsets say where each begins.
//
// Every result is the same to the bit whatever the number of workers: work is cut by the data alone, no two workers add to one number, and
// partial sums are added in the order of their pieces. Random numbers are functions of a seed, a step and a place.
package nn
