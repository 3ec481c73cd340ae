"""Runs the code of LAKE.md against a lake and prints, tool by tool, what it reads as JSON."""
import hashlib, json, re, sys

import pyarrow as pa

document, lake = sys.argv[1:]
blocks = re.findall(r"```python\n# ([^\n]+)\n(.*?)```", open(document, encoding="utf-8").read(), re.DOTALL)
names = {"lake": lake}


def table(events):
    if hasattr(events, "to_arrow_table"):
        return events.to_arrow_table()  # DuckDB
    if hasattr(events, "to_arrow"):
        return events.to_arrow()  # polars
    return events if isinstance(events, pa.Table) else pa.Table.from_pandas(events, preserve_index=False)


def uuid(value):
    return value.hex() if isinstance(value, bytes) else str(value).replace("-", "")


def read(events):
    columns = ["event_id", "profile_id", "type", "occurred_at", "received_at", "watched_ms", "rank", "kafka_partition", "kafka_offset"]
    lines = []
    for row in table(events).select(columns + ["seen_title_ids"]).to_pylist():
        row["event_id"] = uuid(row["event_id"])
        for column in ("occurred_at", "received_at"):
            at = row[column]
            row[column] = int(at.timestamp()) * 1_000_000 + at.microsecond
        rank = row["rank"]
        row["rank"] = -1 if rank is None or rank != rank else int(rank)
        lines.append(" ".join(str(row[c]) for c in columns) + " " + ",".join(row["seen_title_ids"]))
    lines.sort()
    return {"events": len(lines), "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}


out = {}
for name, code in blocks:
    if name == "spark":
        continue
    exec(compile(code, f"{document}: {name}", "exec"), names)
    if "events" in names:
        out[name] = read(names.pop("events"))
json.dump(out, sys.stdout)
