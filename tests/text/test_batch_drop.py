"""Batches that the server has lost: the others are collected, and they are given up on request."""

import re
from collections.abc import Callable

import pytest

from irllrec_pyg.text import RunStopped, TextPipeline
from tests.text.conftest import NUM_ITEMS, records
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
    assert all(re.search("kept: the server knows no batch of this step", line) for line in lines)
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


def test_failures_that_are_gone_take_no_answers_with_them(
    pipeline: TextPipeline, stub: StubServer
) -> None:
    write(pipeline)
    job(pipeline).submit()
    stub.finish_batches(fail_first=True)
    del stub.files[stub.batches["batch-0"]["error_file_id"]]
    assert "kept: batch-0 is completed" in job(pipeline).drop()[0]
    assert job(pipeline).collect() == {"ok": NUM_ITEMS - 1, "failed": 0, "unanswered": 1}


@pytest.mark.parametrize("page", [b"<html>\nLog in.\n</html>", b""])
def test_a_page_in_the_place_of_answers_ends_no_batch(
    page: bytes, three: TextPipeline, stub: StubServer
) -> None:
    file = stub.batches["batch-1"]["output_file_id"]
    answers, stub.files[file] = stub.files[file], page
    message = rf"^6 ok.* not of all.*{NAMES[1]}: batch-1: its answers cannot be read"
    with pytest.raises(RunStopped, match=message):
        job(three).collect()
    assert three.counts(STEP)["batch"] == 3
    stub.files[file] = answers
    assert job(three).collect()["ok"] == 3


def test_a_batch_that_is_listed_but_not_given_is_kept(
    three: TextPipeline, stub: StubServer
) -> None:
    stub.batches["another"] = stub.batches.pop("batch-1")  # by its own name still in the list
    assert f"{NAMES[1]}: kept: the server lists it, but does not give it" in job(three).drop()


def test_batches_of_another_step_may_have_another_key(
    three: TextPipeline, stub: StubServer
) -> None:
    three.store.run("UPDATE batches SET step = 'user_profile' WHERE name = ?", NAMES[0])
    del stub.batches["batch-1"], stub.batches["batch-2"]
    lines = job(three).drop()
    assert all("kept: the server knows no batch of this step" in line for line in lines)


def test_a_failure_takes_no_answers_place(pipeline: TextPipeline, stub: StubServer) -> None:
    write(pipeline)
    job(pipeline).submit()
    pipeline.store.run("UPDATE batches SET status = 'collected'")
    pipeline.store.run("UPDATE nodes SET kind = 'open'")
    pipeline.run_step(STEP, progress=False)
    pipeline.store.run("UPDATE batches SET status = 'in_progress'")
    stub.finish_batches(fail_first=True)
    assert job(pipeline).collect()["failed"] == 1
    assert pipeline.run_step(STEP, progress=False)["ok"] == len(records(pipeline.folder))
    assert {record["kind"] for record in records(pipeline.folder).values()} == {"ok"}
