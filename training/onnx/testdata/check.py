"""Checks the models of a folder with the ONNX project's own checker and runs them in Python's ONNX Runtime."""
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort

folder = pathlib.Path(sys.argv[1])
for path in sorted(folder.glob("*.onnx")):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    print("checked", path.name)

for path in sorted(folder.glob("*.case.json")):
    case = json.loads(path.read_text())
    session = ort.InferenceSession(folder / case["model"], providers=["CPUExecutionProvider"])
    feed = {
        name: np.array(t["ints"], dtype=np.int64).reshape(t["shape"]) if t.get("ints") is not None else np.array(t["floats"], dtype=np.float32).reshape(t["shape"])
        for name, t in case["inputs"].items()
    }
    got = session.run(["vector"], feed)[0]
    apart = float(np.abs(got - np.array(case["want"], dtype=np.float32).reshape(got.shape)).max())
    print(case["model"], "furthest from Go:", apart)
    if apart > 1e-5:
        sys.exit("the numbers differ")

if not (folder / "trees.json").exists():
    sys.exit()
case = json.loads((folder / "trees.json").read_text())
x = np.array([np.nan if v is None else v for v in case["features"]], dtype=np.float32).reshape(case["rows"], -1)
session = ort.InferenceSession(folder / "trees.onnx", providers=["CPUExecutionProvider"])
got = session.run(None, {"features": x})[0]
apart = float(np.abs(got - np.array(case["want"], dtype=np.float32).reshape(got.shape)).max())
print("furthest from Go:", apart)
if apart > 1e-5:
    sys.exit("the numbers differ")
