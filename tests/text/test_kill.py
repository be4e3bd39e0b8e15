"""kill -9 in the middle: what was answered is kept, and nothing is asked twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from irllrec_pyg.text import STEPS
from tests.text.conftest import NUM_ITEMS, NUM_USERS, journal_lines
from tests.text.stub import StubServer
from tests.text.test_keys import tables

CONCURRENCY = 3
ROOT = Path(__file__).resolve().parents[2]


def start(stub: StubServer, folder: Path, *extra: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "irllrec_pyg.cli", "texts", "run", "--out", str(folder / "out"),
         "--model", "m", "--base-url", stub.url, "--concurrency", str(CONCURRENCY), "--encoder",
         "openai:e", "--encoder-url", stub.url, *tables(folder / "in"), *extra],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"})


def stop_after(process: subprocess.Popen[bytes], stub: StubServer, answers: int,
               number: signal.Signals) -> None:
    until = time.monotonic() + 120
    while stub.answered < answers and time.monotonic() < until and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(number)
    process.communicate(timeout=60)


def journaled(folder: Path) -> dict[str, list[int]]:
    paths = {step: folder / "out" / "journal" / f"{step}.jsonl" for step in STEPS}
    return {step: [line["node"] for line in journal_lines(path)] if path.exists() else []
            for step, path in paths.items()}


def test_killed_twice_and_resumed(tmp_path: Path) -> None:
    with StubServer(delay=0.03) as stub:
        wasted = 0
        for answers in (NUM_ITEMS // 2, NUM_ITEMS + NUM_USERS // 2):
            process = start(stub, tmp_path)
            stop_after(process, stub, answers, signal.SIGKILL)
            assert process.returncode == -signal.SIGKILL
            # A torn line, as a power cut would leave it.
            path = max((tmp_path / "out" / "journal").glob("*.jsonl"),
                       key=lambda p: p.stat().st_mtime_ns)
            with open(path, "ab") as file:
                file.write(b'{"key": "torn", "no')
            wasted += CONCURRENCY
        process = start(stub, tmp_path)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
        assert b"torn by a crash" in errors
        for step, nodes in journaled(tmp_path).items():
            size = NUM_ITEMS if step.startswith("item") else NUM_USERS
            assert sorted(nodes) == list(range(size)), step
        total = 2 * (NUM_ITEMS + NUM_USERS)
        assert len(stub.asked) == total
        assert sum(stub.asked.values()) <= total + wasted
        assert set(stub.embedded.values()) == {1}
        asked = sum(stub.asked.values())
        process = start(stub, tmp_path)
        process.communicate(timeout=120)
        assert sum(stub.asked.values()) == asked
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["steps"]["user_intent"]["to_do"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_what_is_in_flight(number: signal.Signals, tmp_path: Path) -> None:
    with StubServer(delay=0.1) as stub:
        process = start(stub, tmp_path)
        until = time.monotonic() + 120
        while stub.answered < 3 and time.monotonic() < until:
            time.sleep(0.002)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert f"interrupted ({number.name})".encode() in errors
        assert len(journaled(tmp_path)["item_profile"]) == sum(stub.asked.values())
