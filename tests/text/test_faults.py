"""Whatever goes wrong with one item, the others are answered, and it is listed with a reason."""

import json
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from irllrec_pyg.text import RunSettings, RunStopped, TextPipeline, TrainingTexts
from irllrec_pyg.text.database import StoreError
from irllrec_pyg.text.prompts import PromptSet
from tests.text.conftest import NUM_ITEMS, chat_settings
from tests.text.fault_tables import BATCH, SERVER, drop
from tests.text.raw_server import Action, RawServer, hang
from tests.text.stub import StubServer

STEP = "item_profile"
PROMPTS = PromptSet()
BAD = 4


def full(pipeline: TextPipeline) -> None:
    with pipeline.claim():
        pipeline.store.run(
            "CREATE TRIGGER full BEFORE INSERT ON answers WHEN (SELECT count(*) FROM answers) > 2 "
            "BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
        )


def mended(pipeline: TextPipeline) -> None:
    pipeline.store.run("DROP TRIGGER full")


def damage_cache(pipeline: TextPipeline) -> None:
    (pipeline.folder.parent / "cache").write_bytes(b"Not a database at all" * 100)


def remove_cache(pipeline: TextPipeline) -> None:
    (pipeline.folder.parent / "cache").unlink()


def directory(pipeline: TextPipeline) -> None:
    pipeline.store.path.mkdir(parents=True)


def no_directory(pipeline: TextPipeline) -> None:
    pipeline.store.path.rmdir()


def hold(pipeline: TextPipeline) -> None:
    pipeline.holder = pipeline.claim()  # type: ignore[attr-defined]
    pipeline.holder.__enter__()  # type: ignore[attr-defined]


def let_go(pipeline: TextPipeline) -> None:
    pipeline.holder.__exit__(None, None, None)  # type: ignore[attr-defined]


# Name -> what happens to the disk, how it is mended, and what the run says.
DISK: dict[str, tuple[Callable[..., None], Callable[..., None], str]] = {
    "disk: full": (full, mended, r"texts\.sqlite: the disk is full"),
    "disk: damaged cache": (damage_cache, remove_cache, "cache: it is damaged"),
    "disk: a folder in the file's place": (directory, no_directory, r"sqlite: it cannot be opened"),
    "disk: another run": (hold, let_go, "Another run is writing"),
}


@pytest.mark.parametrize("name", [*SERVER, *BATCH, *DISK])
def test_faults(
    name: str, source: TrainingTexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("irllrec_pyg.text.client.MOST_BYTES", 1 << 19)
    if name in SERVER:
        server_fault(*SERVER[name], source, tmp_path)
    elif name in BATCH:
        batch_fault(*BATCH[name], source, tmp_path)
    else:
        disk_fault(*DISK[name], source, tmp_path)


def make(source: TrainingTexts, folder: Path, url: str, **more: Any) -> TextPipeline:
    chat = chat_settings(url, max_tokens=100)
    run = RunSettings(concurrency=3, retries=2, repairs=1, backoff=0.001)
    return TextPipeline(source, folder / "texts", chat, PROMPTS, run, **more)


def check(pipeline: TextPipeline, kind: str) -> None:
    """The other items are answered; the bad one is, or is listed with a reason, or is open."""
    kinds = pipeline.kinds(STEP)
    assert [kinds[n] for n in range(NUM_ITEMS) if n != BAD] == ["ok"] * (NUM_ITEMS - 1)
    assert kinds[BAD] == kind
    failures = pipeline.failures()
    assert [raw for _, raw, _ in failures] == ([100 + BAD] if kind not in ("ok", "open") else [])
    assert all(reason for _, _, reason in failures)


def server_fault(
    script: list[Action], kind: str, calls: int, source: TrainingTexts, folder: Path
) -> None:
    # A request may take long on a busy machine; then it may take longer.
    waits = hang in script or any(callable(action) and action is not drop for action in script)
    for seconds in (0.2, 2.0, 20.0) if waits else (30.0,):
        with RawServer({f"Title {BAD}": script}) as server:
            pipeline = make(source, folder / str(seconds), server.url)
            chat = chat_settings(server.url, max_tokens=100)
            object.__setattr__(chat.endpoint, "timeout", seconds)
            pipeline.chat = dict.fromkeys(pipeline.chat, chat)
            pipeline.run_step(STEP, progress=False)
        if server.asked.total() == NUM_ITEMS - 1 + calls:
            break
    check(pipeline, kind)
    assert server.asked.pop(f"Title {BAD}") == calls
    assert set(server.asked.values()) == {1}
    # Nothing that was answered, or failed for good, is asked again.
    with RawServer() as server:
        pipeline = make(source, folder / str(seconds), server.url)
        assert pipeline.run_step(STEP, progress=False)["open"] == 0
    assert server.asked == ({f"Title {BAD}": 1} if kind == "transport" else {})


def batch_fault(
    change: Callable[[dict[str, Any]], bytes], kind: str, source: TrainingTexts, folder: Path
) -> None:
    with StubServer() as stub:
        pipeline = make(source, folder, stub.url)
        with pipeline.claim():
            pipeline.batch(STEP).write(pipeline.batch_requests(STEP))
            pipeline.batch(STEP).submit()
        stub.finish_batches()
        request = pipeline.request(STEP, BAD)
        assert request is not None
        name = stub.batches["batch-0"]["output_file_id"]
        lines = stub.files[name].split(b"\n")
        at = next(n for n, line in enumerate(lines) if request.key.hex() in line.decode())
        lines[at] = change(json.loads(lines[at]))
        stub.files[name] = b"\n".join(lines)
        with pipeline.claim(), warnings.catch_warnings(record=True) as warned:
            counts = pipeline.batch(STEP).collect()
        # A line that is there, and of no use, is told of; one of another request is left out.
        told = kind == "open" and lines[at] and b"ab" * 32 not in lines[at]
        assert len(warned) == bool(told)
        assert counts["ok"] == NUM_ITEMS - (kind != "ok")
        check(pipeline, kind)
        stub.asked.clear()
        pipeline.run_step(STEP, progress=False)
        assert sum(stub.asked.values()) == (kind == "open")


def run(source: TrainingTexts, folder: Path, url: str) -> Counter[str]:
    return make(source, folder, url, cache=folder / "cache").run_step(STEP, progress=False)


def disk_fault(
    strike: Callable[..., None],
    mend: Callable[..., None],
    message: str,
    source: TrainingTexts,
    folder: Path,
) -> None:
    with StubServer() as stub:
        strike(pipeline := make(source, folder, stub.url))
        with pytest.raises((StoreError, RunStopped, OSError), match=message) as raised:
            run(source, folder, stub.url)
        assert "\n" not in str(raised.value)
        asked = sum(stub.asked.values())
        mend(pipeline)
        assert run(source, folder, stub.url)["ok"] == NUM_ITEMS
        # What was in flight when the disk was full is asked again, and nothing else.
        assert sum(stub.asked.values()) <= NUM_ITEMS + 3
        assert asked <= 3 + 3
