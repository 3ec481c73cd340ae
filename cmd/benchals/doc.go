// Command benchals measures how fast ALS trains, beside the package implicit (PyPI) in the same run: the same matrix, the same confidence
// and regularisation (the loss of Hu, Koren and Volinsky 2008), the same start, dimension and number of threads, exact solver against exact
// solver and conjugate gradients, three steps each, against conjugate gradients. The sides take turns. Printed are the median seconds of an
// iteration and the loss after the last one, which is computed for both sides by one function. One line of JSON comes last.
// With -scale it measures instead how time and memory grow with synthetic sets.
package main
