"""Makes implicit.json: neighbourhood similarities by the library implicit, which the tests hold ours to.

    pip install implicit==0.7.3 && python golden.py > implicit.json
"""

import json
import sys

import numpy as np
import scipy.sparse as sp
from implicit.nearest_neighbours import CosineRecommender, bm25_weight

USERS, TITLES = 50, 30
rng = np.random.default_rng(7)
dense = np.where(rng.random((USERS, TITLES)) < 0.2, rng.integers(1, 5, (USERS, TITLES)), 0)
m = sp.csr_matrix(dense.astype(np.float64))


def cosine(rows):
    """All similarities between rows, the diagonal left out."""
    model = CosineRecommender(K=rows.shape[0], num_threads=1)
    model.fit(rows.T.tocsr(), show_progress=False)
    s = model.similarity.toarray()
    np.fill_diagonal(s, 0)
    return [[round(float(v), 9) for v in row] for row in s]


json.dump(
    {
        "users": dense.tolist(),
        "item_cosine": cosine(m.T.tocsr()),
        "item_bm25": cosine(bm25_weight(m.T.tocsr(), K1=1.2, B=0.75).tocsr()),
        "user_cosine": cosine(m),
        "user_bm25": cosine(bm25_weight(m, K1=1.2, B=0.75).tocsr()),
    },
    sys.stdout,
)
