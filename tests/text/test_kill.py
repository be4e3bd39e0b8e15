"""kill -9 in the middle: what was answered is kept, and nothing is asked twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from irllrec_pyg.text import STEPS
from tests.text.conftest import records
from tests.text.stub import StubServer

CONCURRENCY = 8
ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "datasets" / "sample"
NUM_USERS, NUM_ITEMS = 600, 360


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """All four steps on the sample set, whose item texts serve as descriptions."""
    items = pd.read_csv(SAMPLE / "item_texts.csv").drop(columns="intent")
    items.rename(columns={"profile": "description"}).to_csv(tmp_path / "items.csv", index=False)
    return [
        "texts",
        "run",
        "--out",
        str(tmp_path / "out"),
        "--model",
        "m",
        "--prompts",
        "movies",
        "--root",
        str(tmp_path / "data"),
        "--name",
        "sample",
        "--items",
        str(tmp_path / "items.csv"),
        "--concurrency",
        str(CONCURRENCY),
    ]


def start(arguments: list[str], stub: StubServer, said: Path) -> subprocess.Popen[bytes]:
    """The run in a process of its own. What it says goes to a file, for a pipe gets full."""
    with said.open("wb") as file:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "irllrec_pyg.cli",
                *arguments,
                "--base-url",
                stub.url,
                "--encoder",
                "openai:e",
                "--encoder-url",
                stub.url,
            ],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=file,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )


def signal_after(
    process: subprocess.Popen[bytes], stub: StubServer, answers: int, number: signal.Signals
) -> None:
    """Waits for so many answers, and ends the process with the signal.

    Nothing but the answers says that the run is under way: earlier, a signal meets no handler.
    """
    while stub.answered < answers and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(number)
    process.wait()


def answered(folder: Path) -> dict[str, list[int]]:
    return {step: list(records(folder / "out", step)) for step in STEPS}


def test_killed_twice_and_resumed(arguments: list[str], tmp_path: Path) -> None:
    said = tmp_path / "said"
    with StubServer() as stub:
        stub.keep_bodies = False
        for answers in (NUM_ITEMS // 2, NUM_ITEMS + NUM_USERS + 100):
            process = start(arguments, stub, said)
            signal_after(process, stub, answers, signal.SIGKILL)
            assert process.returncode == -signal.SIGKILL
        process = start(arguments, stub, said)
        assert process.wait() == 0, said.read_text()
        for step, nodes in answered(tmp_path).items():
            size = NUM_ITEMS if step.startswith("item") else NUM_USERS
            assert sorted(nodes) == list(range(size)), step
        # Every prompt that was answered was sent; a kill cost what was in flight at most.
        again = {prompt: times for prompt, times in stub.asked.items() if times > 1}
        print(
            f"{sum(stub.asked.values())} requests for {len(stub.asked)} prompts; "
            f"{len(again)} were in flight at a kill and sent again"
        )
        assert len(stub.asked) <= 2 * (NUM_ITEMS + NUM_USERS)
        assert sum(stub.asked.values()) <= len(stub.asked) + 2 * CONCURRENCY
        assert set(stub.embedded.values()) == {1}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert {step: manifest["steps"][step]["done"] for step in STEPS} == {
        "item_profile": NUM_ITEMS,
        "user_profile": NUM_USERS,
        "item_intent": NUM_ITEMS,
        "user_intent": NUM_USERS,
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_what_is_in_flight(
    number: signal.Signals, arguments: list[str], tmp_path: Path
) -> None:
    said = tmp_path / "said"
    with StubServer(delay=0.1) as stub:
        process = start(arguments, stub, said)
        signal_after(process, stub, 10, number)
        assert process.returncode == 1, said.read_text()
        assert f"interrupted ({number.name})" in said.read_text()
        assert len(answered(tmp_path)["item_profile"]) == sum(stub.asked.values()) < NUM_ITEMS
