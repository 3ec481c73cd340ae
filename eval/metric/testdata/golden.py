"""Writes golden_<tool>.json: random runs and what published tools make of them. The Go tests hold ours to it.

    python -m venv V && V/bin/pip install TOOL && V/bin/python golden.py TOOL > golden_TOOL.json

for TOOL in ranx==0.3.21, pytrec-eval-terrier==0.5.11, RecTools==0.19.0, recpack==0.3.6, scikit-learn==1.9.1 (with scipy==1.17.1).
"""
import json
import random
import sys

USERS, TITLES, LENGTH, K = 40, 60, 20, 10


def world():
    rng = random.Random(7)
    users = []
    for u in range(USERS):
        titles = list(range(TITLES))
        rng.shuffle(titles)
        n = rng.randint(1, 14)
        relevant = {t: rng.randint(1, 3) for t in titles[:n]}
        train = titles[n : n + rng.randint(2, 8)]
        rest = [t for t in range(TITLES) if t not in train]
        rng.shuffle(rest)
        users.append({"relevant": sorted([t, g] for t, g in relevant.items()), "train": sorted(train), "list": rest[:LENGTH]})
    for t in range(TITLES):  # every title is met in training by somebody who has no other use for it
        for x in users[t % USERS :] + users:
            if t in x["train"]:
                break
            if t not in x["list"] and t not in [r for r, _ in x["relevant"]]:
                x["train"] = sorted(x["train"] + [t])
                break
    features = [[rng.randint(0, 1) for _ in range(8)] for _ in range(TITLES)]
    return users, features


def runs(users):
    qrels = {f"u{u:03}": {f"t{t:03}": g for t, g in x["relevant"]} for u, x in enumerate(users)}
    run = {f"u{u:03}": {f"t{t:03}": float(LENGTH - i) for i, t in enumerate(x["list"])} for u, x in enumerate(users)}
    return qrels, run


def ranx(users, _):
    from ranx import Qrels, Run, evaluate

    qrels, run = runs(users)
    names = ["precision@10", "recall@10", "hit_rate@10", "mrr@10", "map@10", "ndcg@10", "ndcg_burges@10", "r-precision", "rbp.95"]
    r = Run(run)
    evaluate(Qrels(qrels), r, names, make_comparable=True)
    keys = sorted(run)
    return {n: [float(r.scores[n][u]) for u in keys] for n in names}


def trec(users, _):
    import pytrec_eval

    qrels, run = runs(users)
    names = {"P.10", "recall.10", "success.10", "ndcg_cut.10", "map_cut.10", "Rprec", "recip_rank"}
    got = pytrec_eval.RelevanceEvaluator(qrels, names).evaluate(run)
    keys = sorted(run)
    return {n: [got[u][n] for u in keys] for n in sorted(got[keys[0]])}


def rectools(users, features):
    import pandas as pd
    from rectools import Columns
    from rectools.metrics import (
        AvgRecPopularity, CatalogCoverage, HitRate, IntraListDiversity, MAP, MRR, MeanInvUserFreq, PairwiseHammingDistanceCalculator, Precision, Recall, Serendipity,
    )

    reco = pd.DataFrame(
        [(u, t, i + 1) for u, x in enumerate(users) for i, t in enumerate(x["list"])], columns=[Columns.User, Columns.Item, Columns.Rank]
    )
    test = pd.DataFrame([(u, t) for u, x in enumerate(users) for t, _ in x["relevant"]], columns=[Columns.User, Columns.Item])
    train = pd.DataFrame([(u, t) for u, x in enumerate(users) for t in x["train"]], columns=[Columns.User, Columns.Item])
    known = sorted(set(train[Columns.Item]))
    for x in users:
        assert all(t in known for t in x["list"]), "every title must have been met in training"
    calc = PairwiseHammingDistanceCalculator(pd.DataFrame(features))
    out = {}
    for name, per_user in {
        "precision": Precision(k=K).calc_per_user(reco, test),
        "recall": Recall(k=K).calc_per_user(reco, test),
        "hit_rate": HitRate(k=K).calc_per_user(reco, test),
        "map": MAP(k=K).calc_per_user(reco, test),
        "mrr": MRR(k=K).calc_per_user(reco, test),
        "novelty": MeanInvUserFreq(k=K).calc_per_user(reco, train),
        "popularity": AvgRecPopularity(k=K).calc_per_user(reco, train),
        "serendipity": Serendipity(k=K).calc_per_user(reco, test, train, catalog=known),
        "diversity": IntraListDiversity(k=K, distance_calculator=calc).calc_per_user(reco),
    }.items():
        out[name] = [float(per_user.loc[u]) for u in range(USERS)]
    out["coverage"] = [float(CatalogCoverage(k=K, normalize=True).calc(reco, list(range(TITLES))))]
    return out


def recpack(users, _):
    import numpy as np
    from scipy.sparse import csr_matrix
    from recpack.metrics import CalibratedRecallK, NDCGK, PrecisionK, RecallK, ReciprocalRankK

    y, p = np.zeros((USERS, TITLES)), np.zeros((USERS, TITLES))
    for u, x in enumerate(users):
        for t, _ in x["relevant"]:
            y[u, t] = 1
        for i, t in enumerate(x["list"]):
            p[u, t] = LENGTH - i
    out = {}
    for m in (CalibratedRecallK(K), NDCGK(K), PrecisionK(K), RecallK(K), ReciprocalRankK(K)):
        m.calculate(csr_matrix(y), csr_matrix(p))
        scores = m.scores_
        scores = scores.toarray().sum(axis=1) if hasattr(scores, "toarray") else np.asarray(scores).reshape(-1)
        out[m.name] = [float(v) for v in np.asarray(scores).reshape(-1)]
    return out


def sklearn(_, __):
    import numpy as np
    from scipy.stats import entropy
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    rng = random.Random(11)
    p = [round(rng.random(), 2) for _ in range(300)]  # rounded, so that there are ties
    y = [int(rng.random() < x) for x in p]
    h, l = [rng.random() for _ in range(9)], [rng.random() for _ in range(9)]
    counts = [rng.randint(0, 30) for _ in range(50)]
    a = 0.01
    hn, ln = np.array(h) / sum(h), np.array(l) / sum(l)
    c = np.sort(np.array(counts, dtype=float))
    # The Gini coefficient as half the relative mean absolute difference.
    gini = np.abs(c[:, None] - c[None, :]).mean() / c.mean() / 2
    return {
        "probability": p, "positive": y, "brier": brier_score_loss(y, p), "log_loss": log_loss(y, p), "auc": roc_auc_score(y, p),
        "history": h, "listed": l, "kl": float(entropy(hn, (1 - a) * ln + a * hn)),
        "counts": counts, "entropy": float(entropy(counts, base=2)), "gini": float(gini),
    }


if __name__ == "__main__":
    users, features = world()
    tool = sys.argv[1]
    values = {"ranx": ranx, "pytrec_eval": trec, "rectools": rectools, "recpack": recpack, "sklearn": sklearn}[tool](users, features)
    json.dump({"tool": tool, "users": users, "features": features, "values": values}, sys.stdout, separators=(",", ":"))
    print()
