"""implicit's side of make bench-als: factorizes a matrix and prints, as one line of JSON, the seconds of each iteration.

Given: a folder with the matrix (indptr, indices as little-endian numbers), the start (items), then rows, columns, dimension, iterations,
threads, confidence, regularization and cg or cholesky. Leaves user and item factors in the folder.
"""

import json
import os
import sys
import time

import numpy as np
import scipy.sparse as sp
from implicit import __version__
from implicit.cpu.als import AlternatingLeastSquares


def main():
    folder, kind = sys.argv[1], sys.argv[9]
    rows, cols, dim, iterations, threads = (int(v) for v in sys.argv[2:7])
    confidence, regularization = float(sys.argv[7]), float(sys.argv[8])
    indptr = np.fromfile(os.path.join(folder, "indptr"), dtype="<i8").astype(np.int32)
    indices = np.fromfile(os.path.join(folder, "indices"), dtype="<u4").astype(np.int32)
    values = np.full(len(indices), confidence, dtype=np.float32)
    matrix = sp.csr_matrix((values, indices, indptr), shape=(rows, cols))
    model = AlternatingLeastSquares(
        factors=dim, regularization=regularization, alpha=1.0, use_native=True, use_cg=kind == "cg", iterations=iterations, num_threads=threads,
    )
    # Both sides start from the same titles; users from nothing.
    model.item_factors = np.fromfile(os.path.join(folder, "items"), dtype="<f4").reshape(cols, dim).copy()
    model.user_factors = np.zeros((rows, dim), dtype=np.float32)
    seconds, clock = [], [time.process_time()]

    def done(_, elapsed, __):
        seconds.append(elapsed)
        clock.append(time.process_time())

    model.fit(matrix, show_progress=False, callback=done)
    model.user_factors.tofile(os.path.join(folder, "users.out"))
    model.item_factors.tofile(os.path.join(folder, "items.out"))
    print(json.dumps({"version": __version__, "seconds": seconds, "cpu": np.diff(clock).tolist(), "cg_steps": model.cg_steps}))


main()
