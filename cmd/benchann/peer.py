"""The Python side of benchann: hnswlib, faiss and the brute force, driven by one JSON object a line on stdin."""

import json
import re
import subprocess
import sys
import time
from importlib.metadata import version

import faiss
import hnswlib
import numpy as np


class HNSWLib:
    def build(self, vectors, metric, m, ef_construction, threads):
        space = {"ip": "ip", "l2": "l2", "cosine": "cosine"}[metric]
        self.index = hnswlib.Index(space=space, dim=vectors.shape[1])
        self.index.init_index(max_elements=len(vectors), M=m, ef_construction=ef_construction, random_seed=1)
        self.index.add_items(vectors, num_threads=threads)

    def search(self, queries, k, ef):
        self.index.set_ef(ef)
        return self.index.knn_query(queries, k=k, num_threads=1)[0]

    def save(self, path):
        self.index.save_index(path)

    def load(self, path, metric, dim):
        self.index = hnswlib.Index(space={"ip": "ip", "l2": "l2", "cosine": "cosine"}[metric], dim=dim)
        self.index.load_index(path)


class Faiss:
    def build(self, vectors, metric, m, ef_construction, threads):
        faiss.omp_set_num_threads(threads)
        kind = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        self.unit = metric == "cosine"
        self.index = faiss.IndexHNSWFlat(vectors.shape[1], m, kind)
        self.index.hnsw.efConstruction = ef_construction
        self.index.add(unit(vectors) if self.unit else vectors)
        faiss.omp_set_num_threads(1)

    def search(self, queries, k, ef):
        self.index.hnsw.efSearch = ef
        return self.index.search(unit(queries) if self.unit else queries, k)[1]


def unit(v):
    norm = np.linalg.norm(v, axis=1, keepdims=True)
    norm[norm == 0] = 1
    return v / norm


def resident():
    """What of this process is in memory, in bytes."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS:"))


def brute_force(vectors, queries, metric, k):
    if metric == "cosine":
        vectors, queries = unit(vectors), unit(queries)
    half = (vectors.astype(np.float64) ** 2).sum(axis=1) / 2 if metric == "l2" else 0
    out = []
    for lo in range(0, len(queries), 64):
        score = (queries[lo : lo + 64] @ vectors.T).astype(np.float64) - half
        top = np.argpartition(-score, k, axis=1)[:, :k]
        out.append(top[np.arange(len(top))[:, None], np.argsort(-np.take_along_axis(score, top, 1), axis=1)])
    return np.concatenate(out)


def simd_instructions():
    """How many vector instructions hnswlib was compiled to, on the widest registers this processor has."""
    with open("/proc/cpuinfo") as f:
        flags = next(line for line in f if line.startswith(("flags", "Features"))).split()
    width = "zmm" if "avx512f" in flags else "ymm" if "avx2" in flags else "v[0-9]+.4s"
    code = subprocess.run(["objdump", "-d", hnswlib.__file__], check=True, capture_output=True, text=True).stdout
    return width, len(re.findall(width, code))


def main():
    width, count = simd_instructions()
    if count < 20:
        sys.exit(f"hnswlib was built without {width} instructions: remove the environment and build it again")
    answer = sys.stdout
    print(json.dumps({"hnswlib": version("hnswlib"), "faiss": version("faiss-cpu"), "simd": f"{count} uses of {width}"}), file=answer, flush=True)
    engines, vectors, queries, spec = {}, None, None, None
    for line in sys.stdin:
        c = json.loads(line)
        reply = {}
        if c["do"] == "load":
            spec, engines = c, {}
            vectors = np.fromfile(c["vectors"], dtype=np.float32).reshape(-1, c["dim"])
            queries = np.fromfile(c["queries"], dtype=np.float32).reshape(-1, c["dim"])
            brute_force(vectors, queries, c["metric"], c["k"]).astype(np.uint32).tofile(c["out"])
        elif c["do"] == "save":
            engines["hnswlib"].save(c["out"])
        elif c["do"] == "restore":
            engines["hnswlib"] = HNSWLib()
            before = resident()
            engines["hnswlib"].load(c["out"], c["metric"], c["dim"])
            reply["resident"] = resident() - before
        elif c["do"] == "build":
            engine = {"hnswlib": HNSWLib, "faiss": Faiss}[c["engine"]]()
            start = time.process_time()
            engine.build(vectors, spec["metric"], c["m"], c["ef_construction"], c["threads"])
            reply["cpu"] = time.process_time() - start
            engines[c["engine"]] = engine
        elif c["do"] == "search":
            start = time.process_time()
            ids = engines[c["engine"]].search(queries, spec["k"], c["ef"])
            reply["cpu"] = time.process_time() - start
            if c["out"]:
                np.ascontiguousarray(ids).astype(np.uint32).tofile(c["out"])
        print(json.dumps(reply), file=answer, flush=True)


main()
