"""Writes golden.json: paired values and what SciPy's tests make of them. The Go tests hold ours to it.

    python -m venv V && V/bin/pip install scipy==1.17.1 && V/bin/python golden.py > golden.json
"""
import json
import random
import sys

import numpy as np
from scipy.stats import permutation_test, wilcoxon

rng = random.Random(3)
cases = []
for n, ties in ((8, False), (12, True), (200, False), (1000, True)):
    a = [rng.random() for _ in range(n)]
    b = [max(0.0, x - 0.05 + 0.2 * (rng.random() - 0.4)) for x in a]
    if ties:
        a, b = [round(x, 1) for x in a], [round(x, 1) for x in b]
    w = wilcoxon(a, b, zero_method="wilcox", correction=False, method="asymptotic")
    case = {"a": a, "b": b, "w": float(w.statistic), "wilcoxon": float(w.pvalue)}
    if n <= 12:
        p = permutation_test((a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True, n_resamples=np.inf)
        case["permutation"] = float(p.pvalue)
    d = np.array(a) - np.array(b)
    case["effect"] = float(d.mean() / d.std(ddof=1))
    cases.append(case)
json.dump(cases, sys.stdout, separators=(",", ":"))
print()
