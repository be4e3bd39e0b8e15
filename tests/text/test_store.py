"""The one file of a folder: its locks, its readers, its damages."""

import errno
import multiprocessing
import os
import resource
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from irllrec_pyg.text import PipelineError, TextPipeline, plan
from irllrec_pyg.text.database import StoreError
from irllrec_pyg.text.store import Store
from tests.text.conftest import NUM_ITEMS
from tests.text.stub import StubServer

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "sub" / "texts.sqlite")
    with found.claim():
        yield found


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def record(number: int, kind: str = "ok") -> dict[str, object]:
    return {"kind": kind, "answer": {"a": f"é\n\u2028{number}"}}


def write(store: Store, *numbers: int) -> None:
    for number in numbers:
        with store.transaction():
            store.put(key(number), record(number))
            store.note("item_profile", number, key(number), "ok")


def test_nothing_is_written_before_it_is_claimed(tmp_path: Path) -> None:
    store = Store(tmp_path / "sub" / "texts.sqlite")
    assert store.answer(key(1)) is None
    assert not store.exists
    assert not list(tmp_path.iterdir())


def test_readers_see_each_answer_at_once(store: Store) -> None:
    reader = Store(store.path)
    for number in range(5):
        store.put(key(number), record(number))
        assert reader.answer(key(number)) == record(number)


def test_one_process_writes(store: Store) -> None:
    other = Store(store.path)
    with pytest.raises(StoreError, match=r"Another run is writing .*texts\.sqlite"), other.claim():
        pass
    assert other.get("x") is None


def test_a_block_is_written_whole_or_not_at_all(store: Store) -> None:
    store.run("DROP TABLE nodes")
    with pytest.raises(StoreError, match="no such table"):
        write(store, 1)
    store.run("CREATE TABLE nodes(step, node, key, kind)")
    assert store.answer(key(1)) is None
    assert store.counts("item_profile", 3) == {"open": 3}


def _write_until_killed(path: Path, pipe: int) -> None:
    store = Store(path)
    with store.claim():
        for number in range(10_000):
            store.put(key(number), record(number))
            os.write(pipe, number.to_bytes(4, "big"))


def test_what_was_written_before_a_kill_is_there(tmp_path: Path) -> None:
    here, there = os.pipe()
    path = tmp_path / "texts.sqlite"
    process = multiprocessing.get_context("fork").Process(
        target=_write_until_killed, args=(path, there)
    )
    process.start()
    last = -1
    while last < 50:
        last = int.from_bytes(os.read(here, 4), "big")
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    store = Store(path)
    assert [store.answer(key(n)) for n in range(last + 1)] == [record(n) for n in range(last + 1)]
    with store.claim():
        store.put(key(0), record(7))


def test_a_maker_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "texts.sqlite"
    path.touch()
    assert not Store(path).exists
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA journal_mode = WAL")
    file.close()
    store = Store(path)
    assert not store.exists
    with store.claim():
        store.put(key(1), record(1))
    assert Store(path).answer(key(1)) == record(1)


def test_a_changed_answer_is_asked_again(pipeline: TextPipeline, stub: StubServer) -> None:
    pipeline.run_step("item_profile", progress=False)
    pipeline.store.run("UPDATE answers SET body = replace(body, 'about', 'About') WHERE rowid = 3")
    again = TextPipeline(pipeline.source, pipeline.folder, pipeline.chat)
    with pytest.warns(UserWarning, match="1 answers in .* were damaged"):
        assert again.run_step("item_profile", progress=False)["ok"] == NUM_ITEMS
    assert sorted(stub.asked.values()) == [1] * (NUM_ITEMS - 1) + [2]


@pytest.mark.parametrize("body", ["CAST(x'7b22ff22' AS TEXT)", "CAST(body AS BLOB)", "'['"])
def test_an_answer_that_is_no_text_is_one_damaged_answer(
    body: str, pipeline: TextPipeline, stub: StubServer
) -> None:
    pipeline.run_step("item_profile", progress=False)
    pipeline.store.run(f"UPDATE answers SET body = {body} WHERE rowid = 3")
    again = TextPipeline(pipeline.source, pipeline.folder, pipeline.chat)
    assert len(again.texts("item_profile")) == NUM_ITEMS - 1
    assert len(plan(again)) == len(again.chat) + 1
    with pytest.warns(UserWarning, match="1 answers in .* were damaged"):
        assert again.run_step("item_profile", progress=False)["ok"] == NUM_ITEMS
    assert sum(stub.asked.values()) == NUM_ITEMS + 1


@pytest.mark.parametrize("damage", ["head", "text"])
def test_a_damaged_file_is_named(damage: str, store: Store) -> None:
    with store.transaction():
        write(store, *range(2000))
    store.close()
    size = store.path.stat().st_size
    with open(store.path, "r+b") as file:
        if damage == "head":
            file.write(b"Not a database at all")
        else:
            file.seek(4096)
            file.write(b"\xff" * (size - 8192))
    with pytest.raises(StoreError, match=r"texts\.sqlite: it is damaged\. Put back a copy"):
        list(Store(store.path).rows("SELECT * FROM answers JOIN nodes USING (key)"))


def test_a_full_disk_keeps_what_was_there(store: Store) -> None:
    store.put(key(1), record(1))
    (pages,) = store.run("PRAGMA page_count").fetchone()
    store.run(f"PRAGMA max_page_count = {pages + 3}")
    with pytest.raises(StoreError, match=r"texts\.sqlite: the disk is full.*free some space"):
        write(store, *range(2, 2000))
    store.run("PRAGMA max_page_count = 100000")
    store.put(key(3000), record(3000))
    assert store.answer(key(1)) == record(1)


def test_a_split_whose_record_was_deleted_is_noticed(
    pipeline: TextPipeline, stub: StubServer
) -> None:
    pipeline.run_step("item_profile", progress=False)
    pipeline.store.run("DELETE FROM settings WHERE name = 'split'")
    with pytest.raises(PipelineError, match="not what split they are of"):
        TextPipeline(pipeline.source, pipeline.folder, pipeline.chat)


def test_a_store_that_was_deleted_is_noticed(pipeline: TextPipeline, stub: StubServer) -> None:
    pipeline.folder.mkdir()
    (pipeline.folder / "manifest.json").write_text("{}")
    with pytest.raises(PipelineError, match=r"texts\.sqlite is missing"):
        pipeline.run_step("item_profile", progress=False)
    assert not stub.asked


def test_embeddings_by_text(store: Store) -> None:
    assert store.missing("e", ["a", "b", "a"]) == ["a", "b"]
    store.add_vectors("e", ["a", "b", "c"], ROWS)
    store.add_vectors("e", ["a"], ROWS[2:])  # the first one stays
    assert store.missing("e", ["c", "d", ""]) == ["d", ""]
    np.testing.assert_array_equal(store.vectors("e", ["c", "a", "b", "a"]), ROWS[[2, 0, 1, 0]])
    assert store.missing("other", ["a"]) == ["a"]
    with pytest.raises(StoreError, match="width 5"):
        store.add_vectors("e", ["x"], np.ones((1, 5)))


def test_a_folder_that_may_not_be_written_is_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(key(1), record(1))
    store.close()
    before = sorted(store.path.parent.iterdir())
    monkeypatch.setattr(os, "access", lambda *_: False)
    reader = Store(store.path)
    assert reader.answer(key(1)) == record(1)
    assert sorted(store.path.parent.iterdir()) == before
    with pytest.raises(StoreError, match="may not be written"):
        reader.put(key(2), record(2))


def test_a_reader_that_may_not_write_sees_what_a_killed_writer_left(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(key(1), record(1))
    for name in ("texts.sqlite", "texts.sqlite-wal", "texts.sqlite-shm"):
        (tmp_path / name).write_bytes((store.path.parent / name).read_bytes())
    assert (tmp_path / "texts.sqlite-wal").stat().st_size
    monkeypatch.setattr(os, "access", lambda *_: False)
    reader = Store(tmp_path / "texts.sqlite")
    assert reader.answer(key(1)) == record(1)
    with pytest.raises(StoreError, match="may not be written"):
        reader.put(key(2), record(2))


def test_a_lease(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    assert store.lease(key(1), "a")
    assert store.lease(key(1), "a")
    now[0] -= 1  # another one that looked at its clock, and then waited for the first to write
    assert not store.lease(key(1), "b")
    assert store.lease(key(2), "b")
    now[0] += 302
    assert store.lease(key(1), "b")
    now[0] -= 1000  # a clock that was put back holds nothing for ever
    assert store.lease(key(1), "c")
    store.release("c")
    assert store.lease(key(1), "d")


@pytest.mark.parametrize("value", ["{", "[1]", b"{}"])
def test_a_damaged_setting_names_the_file(store: Store, value: str | bytes) -> None:
    store.run("INSERT INTO settings VALUES ('options', ?)", value)
    with pytest.raises(StoreError, match=r"texts\.sqlite: it is damaged.*setting 'options'"):
        store.get("options")


@pytest.mark.parametrize("at", [3, 20])
def test_a_flipped_byte_of_the_split_is_damage_and_not_another_split(
    at: int, pipeline: TextPipeline, stub: StubServer
) -> None:
    pipeline.run_step("item_profile", 2, progress=False)
    (value,) = pipeline.store.run("SELECT value FROM settings WHERE name = 'split'").fetchone()
    flipped = value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]
    pipeline.store.run("UPDATE settings SET value = ? WHERE name = 'split'", flipped)
    with pytest.raises(StoreError, match=r"texts\.sqlite: it is damaged.*setting 'split'"):
        TextPipeline(pipeline.source, pipeline.folder, pipeline.chat)


def test_a_setting_without_a_checksum_is_read(store: Store) -> None:
    store.run("INSERT INTO settings VALUES ('old', ?)", '{"a": 1}')
    store.set("new", {"a": 1})
    assert store.get("old") == store.get("new") == {"a": 1}


def test_a_lock_that_may_not_be_written_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Store(store.path)

    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(other._lock, "acquire", refuse)
    with pytest.raises(OSError, match="Read-only file system: it may not be written") as raised:
        other.claim().__enter__()
    assert str(raised.value.filename).endswith("texts.lock")


def test_a_limit_of_the_size_of_files_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    store.close()
    other = Store(store.path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreError, match=r"texts\.sqlite: .*100000 bytes.*ulimit -f"):
            write(other, *range(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("change", ["kind = 'oj'", "key = x'00'", "kind = 'batch'"])
def test_a_node_that_is_not_what_its_answer_says_is_open(
    change: str, pipeline: TextPipeline, stub: StubServer
) -> None:
    pipeline.run_step("item_profile", progress=False)
    pipeline.store.run(f"UPDATE nodes SET {change} WHERE node = 3")
    again = TextPipeline(pipeline.source, pipeline.folder, pipeline.chat)
    assert again.run_step("item_profile", progress=False)["ok"] == NUM_ITEMS
    assert set(stub.asked.values()) == {1}  # found again by its prompt
    assert len(again.texts("item_profile")) == NUM_ITEMS


def test_a_failure_whose_request_was_answered_since_is_none(
    pipeline: TextPipeline, stub: StubServer
) -> None:
    pipeline.run_step("item_profile", progress=False)
    pipeline.store.run("UPDATE nodes SET kind = 'transport' WHERE node = 3")
    assert pipeline.failures() == []
