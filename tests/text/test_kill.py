"""kill -9 at any moment: what was answered is kept, and what was in flight alone is sent twice."""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from irllrec_pyg.cli import main
from irllrec_pyg.text import STEPS
from tests.text.conftest import NUM_ITEMS, NUM_USERS, records
from tests.text.stub import StubServer
from tests.text.test_keys import tables

CONCURRENCY = 4
SAMPLE = Path(__file__).resolve().parents[2] / "datasets" / "sample"
Process = multiprocessing.context.ForkProcess


def run(arguments: list[str], said: Path) -> None:
    with open(said, "a") as sys.stdout:
        sys.stderr = sys.stdout
        status = main(arguments)
    os._exit(status)


def start(action: str, stub: StubServer, folder: Path, *more: str) -> Process:
    """The command in a process of its own, with everything imported already."""
    arguments = ["texts", action, "--out", str(folder / "out"), "--no-progress", *more]
    arguments += ["--base-url", stub.url, "--encoder", "openai:e", "--encoder-url", stub.url]
    arguments += ["--concurrency", str(CONCURRENCY), "--model", "m", "--prompts", "movies"]
    process = multiprocessing.get_context("fork").Process(
        target=run, args=(arguments, folder / "said")
    )
    process.start()
    return process


def signal_when(process: Process, ready: Callable[[], bool], number: signal.Signals) -> None:
    while not ready() and process.is_alive():
        time.sleep(0.0005)
    time.sleep(random.uniform(0, 0.005))
    if process.is_alive():
        os.kill(process.pid or 0, number)
    process.join()


def killed_run(stub: StubServer, folder: Path, kills: int, requests: int, *more: str) -> None:
    """Kills runs after random numbers of requests, and lets the last one end."""
    for _ in range(kills):
        wanted = sum(stub.asked.values()) + stub.embeddings + random.randint(0, requests)
        process = start("run", stub, folder, *more)
        signal_when(
            process,
            lambda wanted=wanted: sum(stub.asked.values()) + stub.embeddings >= wanted,
            signal.SIGKILL,
        )
    process = start("run", stub, folder, *more)
    process.join()
    assert process.exitcode == 0, (folder / "said").read_text()


def check(stub: StubServer, folder: Path, kills: int, users: int, items: int) -> None:
    for step in STEPS:
        size = items if step.startswith("item") else users
        assert sorted(records(folder / "out", step)) == list(range(size)), step
    again = sum(stub.asked.values()) - len(stub.asked)
    print(f"{len(stub.asked)} prompts, {kills} kills: {again} requests were sent again")
    assert again <= kills * CONCURRENCY
    assert stub.embeddings_again <= kills * CONCURRENCY
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert sum(step["done"] for step in manifest["steps"].values()) == 2 * (users + items)


def test_killed_at_random_moments(tmp_path: Path) -> None:
    with StubServer(delay=0.002) as stub:
        options = tables(tmp_path / "in")
        killed_run(stub, tmp_path, 4, 16, *options)
        check(stub, tmp_path, 4, NUM_USERS, NUM_ITEMS)


@pytest.mark.slow
def test_a_hundred_kills(tmp_path: Path) -> None:
    items = pd.read_csv(SAMPLE / "item_texts.csv").drop(columns="intent")
    items.rename(columns={"profile": "description"}).to_csv(tmp_path / "items.csv", index=False)
    options = ["--root", str(tmp_path / "data"), "--name", "sample"]
    options += ["--items", str(tmp_path / "items.csv")]
    with StubServer() as stub:
        stub.keep_bodies = False
        killed_run(stub, tmp_path, 100, 40, *options)
        check(stub, tmp_path, 100, 600, 360)


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_batches_killed_at_random_moments(kills: int, tmp_path: Path) -> None:
    options = ["--step", "item_profile", *tables(tmp_path / "in")]
    with StubServer(delay=0.02) as stub:
        seconds = time.monotonic()
        (tmp_path / "timing").mkdir()
        start("batch-write", stub, tmp_path / "timing", *options).join()
        seconds = time.monotonic() - seconds
        for action in ("batch-write", "batch-submit", "batch-collect"):
            if action == "batch-collect":
                stub.finish_batches()
            for _ in range(-(-kills // 3)):
                process = start(action, stub, tmp_path, *options)
                time.sleep(random.uniform(0.2 * seconds, seconds))
                os.kill(process.pid or 0, signal.SIGKILL)
                process.join()
            process = start(action, stub, tmp_path, *options)
            process.join()
            assert process.exitcode == 0, (tmp_path / "said").read_text()
        assert len(stub.batches) == 1
        assert sorted(records(tmp_path / "out")) == list(range(NUM_ITEMS))
        assert set(stub.asked.values()) == {1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_what_is_in_flight(number: signal.Signals, tmp_path: Path) -> None:
    with StubServer(delay=0.05) as stub:
        process = start("run", stub, tmp_path, *tables(tmp_path / "in"))
        # Nothing but the answers says that the run is under way: earlier, no handler is there.
        signal_when(process, lambda: stub.answered >= 3, number)
        said = (tmp_path / "said").read_text()
        assert process.exitcode == 2, said
        assert f"interrupted ({number.name})" in said
        assert len(records(tmp_path / "out")) == sum(stub.asked.values()) < NUM_ITEMS
