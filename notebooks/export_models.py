"""Train a user's tower and a ranker in PyTorch for a Marquee release, and export both as ONNX with samples.

    python notebooks/export_models.py --release data/models/bundles/ID --interactions data/lake/features/interactions/SNAPSHOT --out exported
    marquee models import --role user-tower exported/user_tower.onnx --samples exported/user_tower.jsonl

A release's folder says what a model must fit:

    manifest.json        towers.dim, towers.max_history, ranker.features
    titles.arrow         the titles' ids by row; models know titles by row
    title_vectors.arrow  their vectors by the release's title tower

The user's tower takes "history" (int64) and "strength" (float32), viewers x titles, filled up with -1 and 0, and gives "vector", viewers x
dim: a title is worth the product of its vector and the viewer's. Here it weighs what was watched by attention and learns to point at
the rest of a history, parted at random; the titles' vectors stay as they are.

The ranker takes "features" (float32), candidates x features, NaN for what is not known, and gives "scores", candidates x 1. Here a small
network learns what the release's own ranker says of random features, which needs no further data; with examples of your own, put
those in its place. A release without a ranker gets none.

Samples are lines of JSON with a model's inputs and outputs by name. The import computes the outputs again and holds them against these.
"""

import argparse
import json
import pathlib

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn


def read_arrow(path):
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def read_histories(folder, row_of, least=5):
    """Rows and strengths of what each profile watched for good."""
    # A file exists where the manifest names it.
    parts = [folder / f["key"].rsplit("/", 1)[-1] for f in json.loads((folder / "manifest.json").read_text())["parts"]]
    names = ["profile_id", "title_id", "strength"]
    columns = pa.concat_tables([pq.ParquetFile(part).read(columns=names) for part in parts]).to_pydict()
    histories = {}
    for profile, title, strength in zip(columns["profile_id"], columns["title_id"], columns["strength"]):
        if strength > 0 and title in row_of:  # whole numbers: 10,000 is a full watch
            histories.setdefault(profile, []).append((row_of[title], strength / 10000))
    return [h for h in histories.values() if len(h) >= least]


class UserTower(nn.Module):
    """Titles watched, weighed by attention and strength, through a residual layer, to unit length."""

    def __init__(self, vectors):
        super().__init__()
        titles, dim = vectors.shape
        # What fills a list up, -1, is the row after the last.
        table = torch.cat([vectors, torch.zeros(1, dim)])
        self.titles = nn.Embedding.from_pretrained(table, freeze=True)
        self.filler = titles
        self.query = nn.Linear(dim, 1)
        self.wide = nn.Linear(dim, 2 * dim)
        self.close = nn.Linear(2 * dim, dim)

    def forward(self, history, strength):
        known = history >= 0
        x = self.titles(torch.where(known, history, torch.full_like(history, self.filler)))
        logits = self.query(x).squeeze(2) + torch.log(torch.where(known, strength, torch.ones_like(strength)))
        weights = torch.softmax(torch.where(known, logits, torch.full_like(logits, -1e9)), dim=1)
        weights = torch.where(known, weights, torch.zeros_like(weights))
        y = (weights.unsqueeze(1) @ x).squeeze(1)
        y = y + self.close(torch.relu(self.wide(y)))
        return y / torch.clamp(torch.linalg.vector_norm(y, dim=1, keepdim=True), min=1e-12)


def filled(histories, most):
    """Histories as two tensors, filled up with -1 and 0."""
    length = max(1, min(most, max(len(h) for h in histories)))
    rows = torch.full((len(histories), length), -1, dtype=torch.int64)
    strength = torch.zeros(len(histories), length)
    for i, h in enumerate(histories):
        for j, (row, value) in enumerate(h[:length]):
            rows[i, j], strength[i, j] = row, value
    return rows, strength


def train_user_tower(vectors, histories, most, epochs, seed):
    """A softmax over all titles of what was kept out of each history."""
    rng = np.random.default_rng(seed)
    model = UserTower(vectors)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    for epoch in range(epochs):
        total, batches = 0.0, 0
        order = rng.permutation(len(histories))
        for lo in range(0, len(order), 128):
            read, target = [], torch.zeros(len(order[lo : lo + 128]), len(vectors))
            for i, at in enumerate(order[lo : lo + 128]):
                h = [histories[at][k] for k in rng.permutation(len(histories[at]))]
                cut = max(1, len(h) // 2)
                read.append(h[cut:])
                target[i, [row for row, _ in h[:cut]]] = 1
            scores = model(*filled(read, most)) @ vectors.T / 0.1
            loss = -(torch.log_softmax(scores, dim=1) * target).sum(1).div(target.sum(1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, batches = total + loss.item(), batches + 1
        print(f"user's tower, epoch {epoch + 1} of {epochs}: loss {total / batches:.4f}")
    return model.eval()


class Ranker(nn.Module):
    """A small network over the features; what is not known counts as the mean, and that it is not known as a feature."""

    def __init__(self, mean, scale):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        width = len(mean)
        self.layers = nn.Sequential(nn.Linear(2 * width, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())

    def forward(self, features):
        unknown = torch.isnan(features)
        x = torch.where(unknown, torch.zeros_like(features), (features - self.mean) / self.scale)
        return self.layers(torch.cat([x, unknown.to(features.dtype)], dim=1))


def train_ranker(release, width, steps, seed):
    """Learns from the release's own ranker."""
    teacher = onnxruntime.InferenceSession(str(release / "ranker.onnx"), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    features = rng.exponential(2, (4096, width)).astype(np.float32)
    features[rng.random(features.shape) < 0.1] = np.nan
    wanted = torch.from_numpy(teacher.run(None, {teacher.get_inputs()[0].name: features})[0])
    x = torch.from_numpy(features)
    model = Ranker(torch.from_numpy(np.nanmean(features, 0)), torch.from_numpy(np.nanstd(features, 0)))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(steps):
        loss = torch.nn.functional.binary_cross_entropy(model(x), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"ranker: loss {loss.item():.4f} after {steps} steps")
    return model.eval(), x[:20]


def export(model, inputs, names, output, path):
    """Dimensions that change from one call to the next must be free: how many are asked for, and how long lists are."""
    free = {0: torch.export.Dim.DYNAMIC}
    if inputs[0].dtype == torch.int64:
        free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        model, inputs, str(path), input_names=names, output_names=[output], dynamo=True, opset_version=20, external_data=False,
        dynamic_shapes=tuple(free for _ in inputs), verbose=False,
    )


def write_samples(path, samples):
    with open(path, "w") as f:
        for s in samples:
            f.write(json.dumps(s) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--release", type=pathlib.Path, required=True, help="a release's folder")
    parser.add_argument("--interactions", type=pathlib.Path, required=True, help="the folder of a snapshot's interactions")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    manifest = json.loads((args.release / "manifest.json").read_text())
    if not manifest.get("towers"):
        raise SystemExit("the release has no towers: let a night train some (training.nightly.towers)")
    args.out.mkdir(parents=True, exist_ok=True)

    ids = read_arrow(args.release / "titles.arrow")["title_id"].to_pylist()
    dim, most = manifest["towers"]["dim"], manifest["towers"]["max_history"]
    column = read_arrow(args.release / "title_vectors.arrow")["vectors"].combine_chunks()
    vectors = torch.from_numpy(column.flatten().to_numpy(zero_copy_only=False).reshape(len(ids), dim).copy())
    histories = read_histories(args.interactions, {title: row for row, title in enumerate(ids)})
    tower = train_user_tower(vectors, histories, most, args.epochs, args.seed)
    export(tower, filled(histories[:2], most), ["history", "strength"], "vector", args.out / "user_tower.onnx")
    samples = []
    with torch.no_grad():
        for h in histories[:20]:
            rows, strength = filled([h], most)
            samples.append({"history": rows[0].tolist(), "strength": strength[0].tolist(), "vector": tower(rows, strength)[0].tolist()})
    write_samples(args.out / "user_tower.jsonl", samples)

    if not manifest.get("ranker"):
        print("the release has no ranker to replace")
        return
    ranker, features = train_ranker(args.release, len(manifest["ranker"]["features"]), 300, args.seed)
    export(ranker, (features[:2],), ["features"], "scores", args.out / "ranker.onnx")
    with torch.no_grad():
        scores = ranker(features)
    unknown = lambda row: [None if v != v else v for v in row]
    write_samples(args.out / "ranker.jsonl", [{"features": unknown(f.tolist()), "scores": s.tolist()} for f, s in zip(features, scores)])


if __name__ == "__main__":
    main()
