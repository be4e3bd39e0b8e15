"""Ten thousand items at concurrency 32, against a stub on loopback."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.text.conftest import journal_lines
from tests.text.stub import StubServer

ROOT = Path(__file__).resolve().parents[2]
NUM_ITEMS, NUM_USERS = 10_000, 2_000


@pytest.mark.slow
def test_ten_thousand_items(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = pd.DataFrame(
        {
            "item": np.tile(np.arange(NUM_ITEMS), 2),
            "user": rng.integers(0, NUM_USERS, 2 * NUM_ITEMS),
        }
    )
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    pd.DataFrame(
        {
            "item": range(NUM_ITEMS),
            "title": [f"Title {n}" for n in range(NUM_ITEMS)],
            "description": ["A description of forty words. " * 8] * NUM_ITEMS,
        }
    ).to_csv(tmp_path / "items.csv", index=False)
    arguments = [
        sys.executable,
        "-m",
        "irllrec_pyg.cli",
        "texts",
        "items",
        "--out",
        str(tmp_path / "out"),
        "--model",
        "m",
        "--interactions",
        str(tmp_path / "pairs.csv"),
        "--items",
        str(tmp_path / "items.csv"),
        "--concurrency",
        "32",
        "--no-progress",
    ]
    with StubServer(delay=0.02) as stub:
        stub.keep_bodies = False
        started = time.monotonic()
        subprocess.run(
            [*arguments, "--base-url", stub.url],
            cwd=ROOT,
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        seconds = time.monotonic() - started
        assert len(stub.asked) == sum(stub.asked.values()) == NUM_ITEMS
        assert stub.most_in_flight <= 32
    lines = journal_lines(tmp_path / "out" / "journal" / "item_profile.jsonl")
    assert sorted(line["node"] for line in lines) == list(range(NUM_ITEMS))
    assert {line["status"] for line in lines} == {"ok"}
    first, last = min(line["time"] for line in lines), max(line["time"] for line in lines)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"\n{NUM_ITEMS} items in {seconds:.0f} s with start and manifest; "
        f"{NUM_ITEMS / (last - first):.0f} requests a second; peak memory {memory:.0f} MiB"
    )
