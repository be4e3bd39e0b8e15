"""The speed benchmark measures what it says, on the sample set."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import speed
import worker

from irllrec_pyg.nn import contrast
from irllrec_pyg.nn.losses import ssl_loss


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """One turn of LightGCN, with everything that is measured around it."""
    root = tmp_path_factory.mktemp("speed")
    speed.main(
        [
            "--model",
            "lightgcn",
            "--dataset",
            "sample",
            "--root",
            str(root / "data"),
            "--steps",
            "1",
            "--batch-size",
            "512",
            "--out",
            str(root / "out"),
        ]
    )
    return root / "out", json.loads((root / "out" / "speed-cpu.json").read_text())


def test_both_implementations_do_the_same(result):
    row = result[1][0]
    assert set(row["loss_gap"]) == {"bpr", "reg", "total"}
    assert max(row["loss_gap"].values()) < 1e-5


@pytest.mark.parametrize("side", ["ours", "plain"])
def test_an_epoch_is_the_sum_of_its_parts(result, side):
    row = result[1][0]
    found = row[side]
    parts = [found[part] for part in ("sampling", "forward", "backward", "optimiser")]
    assert min(parts) > 0
    assert found["epoch"] == pytest.approx(sum(parts), rel=1e-3)
    assert found["triplets"] == pytest.approx(row["triplets"] / found["epoch"], rel=1e-2)
    assert found["peak"] > found["imports"] > 0


def test_table_holds_the_ratio_and_the_limit(result):
    folder, found = result
    row = found[0]
    lines = (folder / "speed-cpu.md").read_text().splitlines()
    header, values = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith(("| model", "| lightgcn"))
    )
    ratio = row["plain"]["epoch"] / row["ours"]["epoch"]
    assert values[header.index("×")] == f"**{ratio:.1f}**"
    assert float(values[header.index("of limit")].rstrip("%")) > 0


@pytest.mark.parametrize(
    ("seconds", "counted"),
    [
        ([9.0, 0.3, 0.1, 0.2], 9.0),  # as long as a turn: the only one
        ([0.4, 0.1, 0.2, 0.2, 0.3], 0.2),  # the first of a turn does not count
    ],
)
def test_a_turn_is_some_steps_or_a_long_one(seconds, counted):
    steps = iter(seconds)
    session = object.__new__(worker.Session)
    session._step = lambda first: {"forward": next(steps), "backward": 0.0}
    assert session.step(first=False)["forward"] == pytest.approx(counted)


@pytest.mark.parametrize("part", [1, 4])
def test_a_part_of_a_translation_is_that_part(part, monkeypatch):
    blocks = []
    monkeypatch.setattr(
        torch,
        "mm",
        lambda *args, mm=torch.mm, **kwargs: (blocks.append(args[0].size(0)), mm(*args, **kwargs))[
            1
        ],
    )
    ssl_loss(*(torch.randn(9000, 32, requires_grad=True) for _ in range(2)), 1.0)
    largest, total = max(blocks), sum(blocks)
    assert total == 9000
    blocks.clear()
    monkeypatch.setattr(contrast, "range", range, raising=False)  # a process of its own leaves it
    threads = torch.get_num_threads()
    found = worker.translate(
        {"threads": 1, "clock": "cpu", "device": "cpu", "nodes": 9000, "part": part}
    )
    torch.set_num_threads(threads)
    assert found["extrapolated"] == pytest.approx(found["seconds"] * part, rel=1e-3)
    assert sum(blocks) == pytest.approx(9000 / part, abs=largest)
