// Package vec holds the inner loops that training, search and ranking spend their time in: products and distances of
// float32 and int8 vectors, one at a time, over the rows of a matrix, or over rows picked by number.
//
// On amd64 with AVX2 and FMA the loops are assembly; elsewhere, and when built with the tag purego, they are plain Go.
// The choice is made at run time and changes no meaning: both add the same products, only in another order, so
// float32 results differ by rounding alone and int8 results not at all.
//
// Matrices are row-major and packed: row i of a matrix with cols columns is m[i*cols : (i+1)*cols]. Lengths are
// checked on every call, before any memory is touched. A mismatch is a mistake of the caller and panics, as an index
// out of range would; the one exception is a row number out of range, which the gathering functions report, because
// row numbers may come out of a file.
//
// NaN and infinities go through as IEEE 754 says: a NaN anywhere makes the sum it belongs to NaN.
package vec
