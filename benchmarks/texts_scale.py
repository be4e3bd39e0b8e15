"""Time and memory of ``irllrec texts`` on many items: plan, run, status and embed.

Each part runs in a process of its own. The model answers at once from within the process, 64
requests in flight, so that what is measured is the pipeline; ``--http`` measures, for 5,000 items,
the same through the openai client and a server on loopback. Example::

    python benchmarks/texts_scale.py --nodes 10000 200000 --out benchmarks/results
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from irllrec_pyg.files import write_text

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("plan", "run", "run again", "status", "embed")
FLIGHT = 64


def write_tables(folder: Path, nodes: int) -> None:
    """So many items, a quarter as many users with eight interactions each."""
    folder.mkdir(parents=True)
    users, rng = nodes // 4, np.random.default_rng(0)
    pairs = {"user": np.repeat(np.arange(users), 8), "item": rng.permutation(2 * nodes) % nodes}
    table = pd.DataFrame(pairs).map(lambda value: f"n{value}")
    table.to_csv(folder / "interactions.csv", index=False)
    words = np.array([f"word{n}" for n in range(5000)])
    texts = words[rng.integers(0, len(words), (nodes, 60))]
    pd.DataFrame(
        {
            "item": [f"n{n}" for n in range(nodes)],
            "title": [f"Title {n} {' '.join(row[:3])}" for n, row in enumerate(texts)],
            "description": [" ".join(row) for row in texts],
        }
    ).to_csv(folder / "items.csv", index=False)


class Model:
    """Answers at once, in eighty words that differ from item to item."""

    async def ask(self, messages: list[dict[str, str]], parameters: Mapping[str, Any]) -> Any:
        from irllrec_pyg.text import Reply, Usage

        text = " ".join(messages[1]["content"].split()[1:81])
        answer = {"reasoning": "It says so.", "summarization": text}
        return Reply(json.dumps(answer), usage=Usage(400, 120))


def measure(part: str, folder: Path, url: str | None) -> dict[str, float]:
    """One part, in this process."""
    from irllrec_pyg import text
    from irllrec_pyg.cli import main
    from irllrec_pyg.datasets import TableDataset

    started, cpu = time.perf_counter(), time.process_time()
    if part == "status":
        assert main(["texts", "status", "--out", str(folder / "out")]) == 0
        return found(time.perf_counter() - started, time.process_time() - cpu)
    data = TableDataset(str(folder), "tables", encoder=None, k_core=1)[0]
    items = pd.read_csv(folder / "tables" / "items.csv", dtype=str)
    source = text.TrainingTexts(data, items)
    chat = text.ChatSettings(
        "m", text.Endpoint(url) if url else text.Endpoint("http://127.0.0.1:9")
    )
    pipeline = text.TextPipeline(
        source,
        folder / "out",
        chat,
        run=text.RunSettings(concurrency=FLIGHT),
        client=None if url else Model(),
    )
    read, started, cpu = time.perf_counter() - started, time.perf_counter(), time.process_time()
    if part == "plan":
        text.plan(pipeline)
    elif part == "embed":
        text.Embedder(
            pipeline, text.WordLlamaEncoder(), allow_incomplete=True, half=True, progress=False
        ).embed()
    else:
        counts = pipeline.run_step("item_profile", progress=False)
        assert counts["ok"] == source.num_items
    return found(time.perf_counter() - started, time.process_time() - cpu, read)


def found(seconds: float, cpu: float, read: float = 0.0) -> dict[str, float]:
    """Seconds, also of the processor and to read the tables, and the peak of the memory in MB."""
    # Not ru_maxrss, which begins with what the process that started this one had.
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    rounded = {"seconds": seconds, "cpu": cpu, "tables": read}
    return {name: round(value, 2) for name, value in rounded.items()} | {"peak_mb": round(peak)}


def child(part: str, folder: Path, url: str = "") -> dict[str, float]:
    """One part, in a process of its own."""
    command = [sys.executable, __file__, "--part", part, "--folder", str(folder), "--url", url]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def through_http(folder: Path, nodes: int = 5000) -> dict[str, Any]:
    """The run through the openai client, against a server that answers at once."""
    sys.path.insert(0, str(ROOT))
    from tests.text.stub import StubServer

    write_tables(folder / "tables", nodes)
    with StubServer() as stub:
        stub.keep_bodies = False
        row = child("run", folder, stub.url)
        assert set(stub.asked.values()) == {1}
        assert stub.most_in_flight <= FLIGHT
    return {"nodes": nodes, "part": "run through HTTP", **row}


def main() -> None:
    """Runs the parts and writes ``texts_scale.json`` and ``texts_scale.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[10_000, 200_000])
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(measure(args.part, args.folder, args.url or None)))
        return
    rows: list[dict[str, Any]] = []
    for nodes in args.nodes:
        with tempfile.TemporaryDirectory() as name:
            write_tables(Path(name, "tables"), nodes)
            for part in PARTS:
                rows.append({"nodes": nodes, "part": part, **child(part, Path(name))})
                write(rows, args.out)
    if args.http:
        with tempfile.TemporaryDirectory() as name:
            rows.append(through_http(Path(name)))
            write(rows, args.out)


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Prints the last row, and writes what was measured so far."""
    print(rows[-1], flush=True)
    write_text(out / "texts_scale.json", json.dumps(rows, indent=1) + "\n")
    command = " ".join(["python benchmarks/texts_scale.py", *sys.argv[1:]])
    names = ("nodes", "part", "seconds", "cpu", "tables", "peak_mb")
    lines = [
        f"# `irllrec texts` on many items\n\n`{command}`\n",
        "| items | part | seconds | of the processor | tables before it | peak memory, MB |",
        "|---|---|---|---|---|---|",
        *(f"| {' | '.join(str(row[name]) for name in names)} |" for row in rows),
    ]
    write_text(out / "texts_scale.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
