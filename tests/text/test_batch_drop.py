"""Batches that the server has lost: the others are collected, and they are given up on request."""

import re
from collections.abc import Callable

import pytest

from irllrec_pyg.text import RunStopped, TextPipeline
from tests.text.conftest import NUM_ITEMS
from tests.text.stub import StubServer
from tests.text.test_batch_api import STEP, job, write

NAMES = [f"{STEP}-{number:03d}.jsonl" for number in range(3)]
Lose = Callable[[StubServer], object]


def lose_answers(stub: StubServer) -> None:
    del stub.files[stub.batches["batch-1"]["output_file_id"]]


def lose_batch(stub: StubServer) -> None:
    del stub.batches["batch-1"]


@pytest.fixture
def three(pipeline: TextPipeline, stub: StubServer) -> TextPipeline:
    """A step in three batches, which the server has answered."""
    write(pipeline, max_requests=3)
    job(pipeline).submit()
    stub.finish_batches()
    return pipeline


@pytest.mark.parametrize("lose", [lose_answers, lose_batch])
def test_a_batch_that_is_gone_holds_no_other_up(
    lose: Lose, three: TextPipeline, stub: StubServer
) -> None:
    lose(stub)
    message = rf"^6 ok, 0 failed.* not of all.*{NAMES[1]}: batch-1: HTTP 404.*batch-drop gives it"
    with pytest.raises(RunStopped, match=message) as raised:
        job(three).collect()
    assert "\n" not in str(raised.value)
    assert (three.counts(STEP)["ok"], three.counts(STEP)["batch"]) == (6, 3)
    (line,) = job(three).poll()
    assert "HTTP 404" in line or "completed" in line
    # It waits for as long as nobody gives it up.
    three.run_step(STEP, progress=False)
    assert three.counts(STEP)["batch"] == 3
    assert job(three).drop() == [f"{NAMES[1]}: given up, what it was to answer is open again"]
    assert three.counts(STEP)["open"] == 3
    assert job(three).drop() == []
    asked = sum(stub.asked.values())
    assert three.run_step(STEP, progress=False)["ok"] == NUM_ITEMS
    assert sum(stub.asked.values()) == asked + 3


def test_a_batch_that_still_answers_is_kept(three: TextPipeline, stub: StubServer) -> None:
    lose_answers(stub)
    stub.batches["batch-2"]["status"] = "in_progress"
    assert job(three).drop() == [
        f"{NAMES[0]}: kept: batch-0 is completed",
        f"{NAMES[1]}: given up, what it was to answer is open again",
        f"{NAMES[2]}: kept: batch-2 is in_progress",
    ]
    with pytest.raises(RunStopped, match=r"batch-2 is in_progress\. --force gives it up all the"):
        job(three).drop(NAMES[2])
    assert three.counts(STEP)["open"] == 3
    assert len(job(three).drop(NAMES[2], force=True)) == 1
    assert three.counts(STEP)["open"] == 6
    job(three).collect()
    assert three.counts(STEP)["ok"] == 3
    with pytest.raises(ValueError, match=f"No batch of step 'item_profile' waits for {NAMES[0]}"):
        job(three).drop(NAMES[0], force=True)


def test_another_keys_batches_are_not_taken_for_lost(three: TextPipeline, stub: StubServer) -> None:
    mine = dict(stub.batches)
    stub.batches.clear()
    lines = job(three).drop()
    assert all(re.search("kept: the server knows no batch of this folder", line) for line in lines)
    assert three.counts(STEP)["batch"] == NUM_ITEMS
    stub.batches.update(mine)
    assert job(three).collect()["ok"] == NUM_ITEMS


def test_a_server_that_does_not_say_keeps_them(
    three: TextPipeline, stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("irllrec_pyg.text.client.FILE_RETRIES", 0)
    lose_answers(stub)
    answers = stub.batches["batch-0"]["output_file_id"]
    stub.files[answers] = 5  # type: ignore[assignment]  # which the server cannot send
    lines = job(three).drop()
    assert "kept: the server does not say how it stands (HTTP 500" in lines[0]
    assert "given up" in lines[1]
    stub.__exit__()
    with pytest.raises(RunStopped, match="no connection"):
        job(three).drop()
    stub.__enter__()


def test_a_batch_that_was_started_but_not_noted_is_kept(
    pipeline: TextPipeline, stub: StubServer
) -> None:
    write(pipeline)
    job(pipeline).submit()
    pipeline.store.run("UPDATE batches SET id = NULL, status = 'written'")
    assert job(pipeline).drop() == []
    with pytest.raises(RunStopped, match="it was started as batch-0; batch-submit notes that"):
        job(pipeline).drop(NAMES[0])
    del stub.batches["batch-0"]
    assert len(job(pipeline).drop(NAMES[0])) == 1
    assert pipeline.counts(STEP)["open"] == NUM_ITEMS
