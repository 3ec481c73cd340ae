"""PyTorch's side of make bench-twotower: the same towers and loss; prints lines of JSON.

Given: a folder with histories (users x width little-endian uint32), then users, width, titles, dimension, batch, negatives, warm-up, threads, variant,
temperature and rate. With a warm-up of 0 it trains two epochs and prints their mean losses. Otherwise it takes so many steps that are not measured, which
include compiling, and prints its version; then for every line "STEPS SECONDS" of its input it takes that many steps, fewer where they last longer but three
at least, and prints the seconds of each. Batches are made beforehand.
"""

import json
import math
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F


def arguments():
    users, width, titles, dim, batch, negatives, warm, threads = (int(v) for v in sys.argv[2:10])
    return users, width, titles, dim, batch, negatives, warm, threads, sys.argv[10], float(sys.argv[11]), float(sys.argv[12])


def main():
    users, width, titles, dim, batch, negatives, warm, threads, variant, temperature, rate = arguments()
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    histories = np.fromfile(os.path.join(sys.argv[1], "histories"), dtype="<u4").astype(np.int64).reshape(users, width)
    share = torch.tensor(np.bincount(histories.ravel(), minlength=titles) / histories.size, dtype=torch.float32)
    rng = np.random.default_rng(2)
    table = torch.nn.Parameter(torch.randn(titles, dim) / math.sqrt(dim))
    own = torch.nn.Parameter(torch.randn(users, dim) / math.sqrt(dim))
    project = torch.nn.Parameter(torch.eye(dim))
    sparse = not variant.startswith("dense")
    if sparse:
        optimizers = [torch.optim.SparseAdam([table, own], lr=rate), torch.optim.Adam([project], lr=rate)]
    else:
        optimizers = [torch.optim.Adam([table, own, project], lr=rate, fused=True)]

    def loss_of(pooled, user, vectors, project, candidates, log_q):
        n = user.shape[0]
        y = F.normalize(0.5 * user + 0.5 * (pooled @ project), dim=1)
        scores = y @ F.normalize(vectors, dim=1).T / temperature - log_q
        again = candidates[:n, None] == candidates[None, :]
        again = again & ~torch.eye(n, candidates.shape[0], dtype=torch.bool)
        return F.cross_entropy(scores.masked_fill(again, -math.inf), torch.arange(n))

    if variant.endswith("compiled"):
        loss_of = torch.compile(loss_of)

    def make(pairs):
        user, at = pairs // width, pairs % width
        rows = histories[user]
        keep = np.ones_like(rows, dtype=bool)
        keep[np.arange(len(rows)), at] = False
        target = rows[np.arange(len(rows)), at]
        candidates = torch.from_numpy(np.concatenate([target, rng.integers(0, titles, negatives)]))
        log_q = torch.log(len(pairs) * share[candidates] + negatives / titles)
        return torch.from_numpy(user), torch.from_numpy(rows[keep].reshape(len(rows), width - 1)), candidates, log_q

    def step(user, history, candidates, log_q):
        pooled = F.embedding_bag(history, table, mode="mean", sparse=sparse)
        loss = loss_of(pooled, F.embedding(user, own, sparse=sparse), F.embedding(candidates, table, sparse=sparse), project, candidates, log_q)
        loss.backward()
        for o in optimizers:
            o.step()
            o.zero_grad(set_to_none=True)
        return loss.item()

    def some(steps):
        return [make(rng.integers(0, users * width, batch)) for _ in range(steps)]

    if warm == 0:
        losses = []
        for _ in range(2):
            order, total = rng.permutation(users * width), 0.0
            for lo in range(0, len(order), batch):
                part = order[lo : lo + batch]
                total += step(*make(part)) * len(part)
            losses.append(total / len(order))
        print(json.dumps({"version": torch.__version__, "losses": losses}))
        return
    for b in some(warm):
        step(*b)
    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        steps, limit = line.split()
        out = {"seconds": [], "cpu": []}
        step(*some(1)[0])  # not measured: the side that had its turn before has filled the caches
        for b in some(int(steps)):
            if len(out["seconds"]) >= 3 and sum(out["seconds"]) > float(limit):
                break
            began, clock = time.perf_counter(), time.process_time()
            step(*b)
            out["seconds"].append(time.perf_counter() - began)
            out["cpu"].append(time.process_time() - clock)
        print(json.dumps(out), flush=True)


main()
