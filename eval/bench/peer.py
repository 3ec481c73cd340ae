"""numpy + ranx's side of eval/bench: ranks every title for every user and measures the lists. Prints one JSON object.

It is given the fastest form we know of: one BLAS thread a block of users and two blocks at once (matmul and argpartition leave the
interpreter's lock), metrics compiled before the clock starts.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from ranx import Qrels, Run, evaluate

BLOCK = 256


def read(folder, name, kind):
    return np.fromfile(f"{folder}/{name}", dtype=kind)


def peak():
    """The most memory that was resident. Not getrusage's, which counts the process that started this one."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


def frames(users, ids, scores, kind):
    return pd.DataFrame({"q_id": users.astype(str), "doc_id": ids.astype(str), "score": scores.astype(kind)})


def main():
    folder, dim, k, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    judged = read(folder, "judged", "<u4").astype(np.int64)
    u = read(folder, "users", "<f4").reshape(-1, dim)
    titles = read(folder, "titles", "<f4").reshape(-1, dim)
    indptr, indices = read(folder, "train.indptr", "<i8"), read(folder, "train.indices", "<u4")
    rel_user, rel_title = read(folder, "relevant.user", "<u4"), read(folder, "relevant.title", "<u4")
    names = sys.argv[5].split(",")

    tiny = frames(np.array([1, 1]), np.array([1, 2]), np.array([2, 1]), float)
    evaluate(Qrels.from_df(tiny.astype({"score": int})), Run.from_df(tiny), names, threads=threads)

    out = np.empty((len(judged), k), dtype=np.int64)
    scores = np.empty((len(judged), k), dtype=np.float32)

    def rank(lo):
        rows = judged[lo : lo + BLOCK]
        s = u[rows] @ titles.T
        counts = indptr[rows + 1] - indptr[rows]
        at = np.concatenate([np.arange(indptr[r], indptr[r + 1]) for r in rows])
        s[np.repeat(np.arange(len(rows)), counts), indices[at]] = -np.inf
        top = np.argpartition(s, s.shape[1] - k, axis=1)[:, -k:]
        best = np.take_along_axis(s, top, 1)
        order = np.argsort(-best, axis=1)
        out[lo : lo + len(rows)] = np.take_along_axis(top, order, 1)
        scores[lo : lo + len(rows)] = np.take_along_axis(best, order, 1)

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(rank, range(0, len(judged), BLOCK)))
    ranked = time.perf_counter()
    run = Run.from_df(frames(np.repeat(judged, k), out.ravel(), scores.ravel(), float))
    qrels = Qrels.from_df(frames(rel_user, rel_title, np.ones(len(rel_user)), int))
    converted = time.perf_counter()
    metrics = evaluate(qrels, run, names, make_comparable=True, threads=threads)
    end = time.perf_counter()
    print(json.dumps({
        "rank_seconds": ranked - start,
        "convert_seconds": converted - ranked,
        "metric_seconds": end - converted,
        "seconds": end - start,
        "peak_bytes": peak(),
        "metrics": {n: float(v) for n, v in metrics.items()},
    }))


main()
