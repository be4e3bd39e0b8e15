"""What is paid for is paid for once, and not more than was allowed."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from irllrec_pyg.text import (
    STEPS,
    Budget,
    CallError,
    ChatSettings,
    PromptSet,
    Reply,
    RunSettings,
    RunStopped,
    TextPipeline,
    TrainingTexts,
    Usage,
    plan,
)
from irllrec_pyg.text.store import Store
from tests.text.conftest import NUM_ITEMS, NUM_USERS, chat_settings
from tests.text.stub import StubServer

ALL = 2 * (NUM_USERS + NUM_ITEMS)


def run_all(pipeline: TextPipeline, limit: int | None = None, **more: bool) -> None:
    for step in STEPS:
        pipeline.run_step(step, limit, progress=False, **more)


def test_a_sample_and_then_everything(pipeline: TextPipeline, stub: StubServer) -> None:
    run_all(pipeline, 3)
    assert sum(stub.asked.values()) == 4 * 3
    run_all(pipeline)
    assert sum(stub.asked.values()) == ALL
    run_all(pipeline)
    assert sum(stub.asked.values()) == ALL
    # Those who were asked about before their items had profiles can be asked about again.
    run_all(pipeline, refresh=True)
    assert ALL < sum(stub.asked.values()) <= ALL + 4 * 3
    assert set(stub.asked.values()) == {1}


def test_a_prompt_is_rendered_once(
    pipeline: TextPipeline, stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = []
    messages = PromptSet.messages
    monkeypatch.setattr(PromptSet, "messages", lambda *args: rendered.append(1) or messages(*args))
    run_all(pipeline)
    assert len(rendered) == ALL
    run_all(pipeline)
    for step in STEPS:
        pipeline.counts(step)
    assert len(rendered) == ALL


def test_folders_share_answers_in_a_cache(
    source: TrainingTexts, stub: StubServer, tmp_path: Path
) -> None:
    for folder in ("one", "two"):
        pipeline = TextPipeline(
            source, tmp_path / folder, chat_settings(stub.url), cache=tmp_path / "answers"
        )
        run_all(pipeline)
        assert sum(stub.asked.values()) == ALL
        assert all(pipeline.counts(step)["open"] == 0 for step in STEPS)
    assert pipeline.store.used() == (0, 0, 0)
    (tmp_path / "answers").unlink()  # the folder keeps what it took from there
    assert len(TextPipeline(source, tmp_path / "two", pipeline.chat).texts(STEPS[0])) == NUM_ITEMS


def test_processes_that_begin_at_once_share_the_work(
    source: TrainingTexts, stub: StubServer, tmp_path: Path
) -> None:
    stub.delay = 0.02

    def run(folder: str) -> None:
        chat, cache = chat_settings(stub.url), tmp_path / "answers"
        how = RunSettings(concurrency=2)
        pipeline = TextPipeline(source, tmp_path / folder, chat, run=how, cache=cache)
        for step in STEPS:
            assert pipeline.run_step(step, progress=False)["open"] == 0

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, "abc"))
    assert set(stub.asked.values()) == {1}
    assert sum(stub.asked.values()) == ALL


def test_a_request_of_a_process_that_is_gone_is_asked_when_its_time_is_up(
    source: TrainingTexts, stub: StubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("irllrec_pyg.text.engine.PAUSE", 0.01)
    chat, cache = chat_settings(stub.url), tmp_path / "answers"
    pipeline = TextPipeline(source, tmp_path / "out", chat, cache=cache)
    assert pipeline.cache is not None
    for node in (2, 3):
        request = pipeline.request("item_profile", node)
        assert request is not None
        monkeypatch.setattr("irllrec_pyg.text.store.LEASE", 0.5 if node == 2 else 300.0)
        pipeline.cache.lease(request.key, "another")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(pipeline.run_step, "item_profile", progress=False)
        while stub.answered < NUM_ITEMS - 1:
            time.sleep(0.01)
        time.sleep(0.1)
        waits = not running.done()
        Store(cache, shared=True).release("another")
        assert running.result(60)["ok"] == NUM_ITEMS
    assert waits
    assert set(stub.asked.values()) == {1}


def test_equal_prompts_of_two_steps_are_asked_once(
    source: TrainingTexts, stub: StubServer, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    for step in ("item_profile", "item_intent"):
        (prompts / f"{step}.jinja").write_text("Say it\n---user---\n{{ item.title }}")
        (prompts / f"{step}.schema.json").write_text(
            '{"type": "object", "properties": '
            '{"summarization": {"type": "string"}, "intent": {"type": "string"}}}'
        )
    client = Counting({"summarization": "a", "intent": "b"})
    chat = ChatSettings("m", response_format="none")
    pipeline = TextPipeline(source, tmp_path / "out", chat, prompts, client=client)
    for step in ("item_profile", "item_intent"):
        pipeline.run_step(step, progress=False)  # type: ignore[arg-type]
    assert client.calls == NUM_ITEMS
    assert set(pipeline.texts("item_intent").values()) == {"b"}


class Counting:
    """A client that a user has written: it needs no key, no server and no HTTP."""

    def __init__(self, answer: Mapping[str, Any], faulty: bool = False) -> None:
        self.answer, self.faulty, self.calls = answer, faulty, 0

    async def ask(self, messages: list[dict[str, str]], parameters: Mapping[str, Any]) -> Reply:
        self.calls += 1
        if self.faulty and "Title 7" in messages[1]["content"]:
            raise ZeroDivisionError("half a model")
        if self.faulty and "Title 8" in messages[1]["content"] and self.calls < 20:
            raise CallError("busy", retry=True)
        return Reply(str(self.answer).replace("'", '"'), usage=Usage(1000, 100))


def test_a_client_of_ones_own(source: TrainingTexts, tmp_path: Path) -> None:
    client = Counting({"reasoning": "r", "summarization": "s"}, faulty=True)
    run = RunSettings(backoff=0.001, retries=30)
    pipeline = TextPipeline(source, tmp_path, ChatSettings("mine"), run=run, client=client)
    counts = pipeline.run_step("item_profile", progress=False)
    assert (counts["ok"], counts["answer"]) == (NUM_ITEMS - 1, 1)
    assert pipeline.failures() == [("item_profile", 107, "ZeroDivisionError: half a model")]
    assert client.calls == 20


def test_a_budget_is_not_passed(source: TrainingTexts, tmp_path: Path) -> None:
    client = Counting({"reasoning": "r", "summarization": "s"})
    chat, run = ChatSettings("mine", max_tokens=100), RunSettings(concurrency=4)

    def spend(limit: float) -> int:
        before = client.calls
        pipeline = TextPipeline(
            source, tmp_path, chat, run=run, client=client, budget=Budget(limit, (1.0, 1.0))
        )
        with pytest.raises(RunStopped, match="could pass the budget of"):
            pipeline.run_step("item_profile", progress=False)
        _, prompt, answer = pipeline.store.used()
        assert client.calls == before or (prompt + answer) / 1e6 <= limit
        return client.calls - before

    assert 0 < spend(0.008) < NUM_ITEMS
    assert spend(0.0005) == 0  # what was spent before counts
    assert spend(0.0095) > 0


def test_a_plan_counts_what_answers_took(pipeline: TextPipeline, stub: StubServer) -> None:
    first = plan(pipeline, prices=(1.0, 2.0)).set_index("step")
    assert first.loc["item_profile", "tokens_from"] == "prompts"
    pipeline.run_step("item_profile", 3, progress=False)
    row = plan(pipeline, prices=(1.0, 2.0)).set_index("step").loc["item_profile"]
    left = NUM_ITEMS - 3
    assert (row["to_ask"], row["prompt_tokens"], row["answer_tokens"]) == (
        left,
        100 * left,
        20 * left,
    )
    assert row["tokens_from"] == "answers"
    assert row["cost"] == pytest.approx(left * (100 + 2 * 20) / 1e6, abs=1e-4)


def test_a_plan_of_many_is_drawn_from_a_sample(
    pipeline: TextPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = plan(pipeline).set_index("step")["prompt_tokens"]
    monkeypatch.setattr("irllrec_pyg.text.manifest.SAMPLE", 6)
    part = plan(pipeline).set_index("step")
    assert part["to_ask"].tolist() == [NUM_ITEMS, NUM_USERS, NUM_ITEMS, NUM_USERS, ALL]
    assert (part["prompt_tokens"] / whole).between(0.8, 1.25).all()
