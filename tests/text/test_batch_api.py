"""The Batch API: write, submit, poll, collect, by different processes."""

import asyncio
import json
import threading
from contextlib import suppress

import pytest

from irllrec_pyg.text import RunStopped, TextPipeline
from irllrec_pyg.text.batch_api import BatchJob
from irllrec_pyg.text.database import StoreError
from irllrec_pyg.text.store import Store
from tests.text.conftest import NUM_ITEMS, chat_settings, records
from tests.text.raw_server import RawServer, http
from tests.text.stub import StubServer

STEP = "item_profile"


def job(pipeline: TextPipeline) -> BatchJob:
    """As another process sees it: from the files alone."""
    pipeline.store = Store(pipeline.store.path)
    return pipeline.batch(STEP)


def write(pipeline: TextPipeline, limit: int | None = None, **arguments: int) -> int:
    with pipeline.claim():
        return job(pipeline).write(pipeline.batch_requests(STEP, limit), **arguments)


def test_a_whole_step(pipeline: TextPipeline, stub: StubServer) -> None:
    assert write(pipeline, max_requests=4) == NUM_ITEMS
    assert len(job(pipeline).parts()) == 3
    assert job(pipeline).submit() == 3
    assert [line.split(": ")[1].split()[1] for line in job(pipeline).poll()] == ["in_progress"] * 3
    assert job(pipeline).collect() == {"ok": 0, "failed": 0, "unanswered": 0}
    stub.finish_batches()
    assert job(pipeline).collect() == {"ok": NUM_ITEMS, "failed": 0, "unanswered": 0}
    assert job(pipeline).poll() == []
    assert pipeline.counts(STEP)["ok"] == NUM_ITEMS
    # The same keys as one by one: nothing is asked again.
    pipeline.run_step(STEP, progress=False)
    assert set(stub.asked.values()) == {1}
    assert len(records(pipeline.folder)) == NUM_ITEMS


def test_the_file_is_what_the_service_reads(pipeline: TextPipeline) -> None:
    write(pipeline)
    content = (pipeline.folder / "batch" / f"{STEP}-000.jsonl").read_text("utf-8")
    lines = [json.loads(line) for line in content.splitlines()]
    assert len({line["custom_id"] for line in lines}) == NUM_ITEMS
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert set(lines[0]["body"]) == {
        "model",
        "max_tokens",
        "temperature",
        "messages",
        "response_format",
    }


def test_what_waits_in_a_batch_is_not_asked_one_by_one(
    pipeline: TextPipeline, stub: StubServer
) -> None:
    write(pipeline, 5)
    assert pipeline.counts(STEP)["batch"] == 5
    pipeline.run_step(STEP, progress=False)
    assert sum(stub.asked.values()) == NUM_ITEMS - 5
    assert write(pipeline) == 0


def test_a_batch_whose_start_was_not_noted_is_found_again(
    pipeline: TextPipeline, stub: StubServer
) -> None:
    write(pipeline)
    job(pipeline).submit()
    pipeline.store.run("UPDATE batches SET id = NULL, status = 'written'")
    assert job(pipeline).submit() == 0
    assert len(stub.batches) == 1
    assert job(pipeline).parts()[0]["id"] == "batch-0"


def test_two_submits_at_once_start_one_batch(pipeline: TextPipeline, stub: StubServer) -> None:
    write(pipeline)
    stub.delay = 0.05
    said = []

    def submit() -> None:
        try:
            said.append(job(pipeline).submit())
        except StoreError as error:
            said.append(str(error))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stub.batches) == 1
    assert said.count(1) == 1
    assert all(what in (0, 1) or "Another run is writing" in str(what) for what in said)


def test_a_batch_that_failed_is_not_taken_for_a_new_one(
    pipeline: TextPipeline, stub: StubServer
) -> None:
    for number, status in enumerate(["expired", "failed", "completed"]):
        write(pipeline)  # the same requests, so the same content
        assert job(pipeline).submit() == 1
        assert len(stub.batches) == number + 1
        if status == "completed":
            stub.finish_batches()
        else:
            stub.batches[f"batch-{number}"]["status"] = status
        job(pipeline).collect()
    assert pipeline.counts(STEP)["ok"] == NUM_ITEMS


def test_a_damaged_file_of_requests_is_not_sent(pipeline: TextPipeline, stub: StubServer) -> None:
    write(pipeline)
    (pipeline.folder / "batch" / f"{STEP}-000.jsonl").write_bytes(b"{}")
    with pytest.raises(RunStopped, match=r"item_profile-000\.jsonl is damaged"):
        job(pipeline).submit()
    assert not stub.batches
    assert pipeline.counts(STEP)["open"] == NUM_ITEMS


def test_a_missing_file_of_requests_is_written_again(
    pipeline: TextPipeline, stub: StubServer
) -> None:
    write(pipeline)
    (pipeline.folder / "batch" / f"{STEP}-000.jsonl").unlink()
    with pytest.raises(RunStopped, match=r"item_profile-000\.jsonl is missing: write its requests"):
        job(pipeline).submit()
    write(pipeline)
    assert job(pipeline).submit() == 1
    assert pipeline.counts(STEP)["batch"] == NUM_ITEMS


@pytest.mark.parametrize("said", ["{}", "[]", "null", "<html>", '"x"', "{", "[" * 100_000])
def test_a_service_that_talks_nonsense(
    said: str, pipeline: TextPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("irllrec_pyg.text.client.FILE_RETRIES", 0)
    write(pipeline)

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(said, content_type="text/html" if said[0] == "<" else "application/json"))
        writer.close()

    with RawServer() as server:
        server._answer = nonsense  # type: ignore[method-assign]
        waiting = job(pipeline)
        waiting.chat = chat_settings(server.url)
        for ask in (waiting.submit, waiting.poll, waiting.collect):
            with suppress(RunStopped):
                ask()
            pipeline.store.run("UPDATE batches SET id = 'b', status = 'in_progress'")
    assert pipeline.counts(STEP)["batch"] == NUM_ITEMS


def test_collecting_twice_writes_once(pipeline: TextPipeline, stub: StubServer) -> None:
    write(pipeline)
    job(pipeline).submit()
    stub.finish_batches()
    job(pipeline).collect()
    pipeline.store.run("UPDATE batches SET status = 'completed'")
    assert job(pipeline).collect() == {"ok": NUM_ITEMS, "failed": 0, "unanswered": 0}
    assert len(records(pipeline.folder)) == NUM_ITEMS


def test_errors_are_kept_with_their_reason(pipeline: TextPipeline, stub: StubServer) -> None:
    write(pipeline)
    job(pipeline).submit()
    stub.finish_batches(fail_first=True)
    assert job(pipeline).collect() == {"ok": NUM_ITEMS - 1, "failed": 1, "unanswered": 0}
    ((step, raw, reason),) = pipeline.failures()
    assert (step, raw) == (STEP, 100)
    assert "too long" in reason


@pytest.mark.parametrize("status", ["expired", "cancelled", "failed"])
def test_what_a_batch_left_open_is_to_do_again(
    status: str, pipeline: TextPipeline, stub: StubServer
) -> None:
    write(pipeline)
    job(pipeline).submit()
    stub.batches["batch-0"]["status"] = status
    assert job(pipeline).collect() == {"ok": 0, "failed": 0, "unanswered": NUM_ITEMS}
    assert pipeline.counts(STEP)["open"] == NUM_ITEMS


def test_a_service_that_does_not_answer(
    pipeline: TextPipeline, stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("irllrec_pyg.text.client.FILE_RETRIES", 0)
    write(pipeline)
    waiting = job(pipeline)
    stub.__exit__()
    with pytest.raises(RunStopped, match="no connection"):
        waiting.submit()
    stub.__enter__()
