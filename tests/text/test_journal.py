"""The journal after crashes, and the store of embeddings after the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irllrec_pyg.text.journal import Journal, JournalError
from irllrec_pyg.text.redaction import HIDDEN, Redactor
from irllrec_pyg.text.store import EmbeddingStore


def record(node: int, status: str = "ok") -> dict[str, Any]:
    return {"key": f"k{node}", "node": node, "status": status, "answer": {"a": "é\n" * 3}}


def write(path: Path, *nodes: int) -> bytes:
    with Journal(path) as journal:
        for node in nodes:
            journal.append(record(node))
    return path.read_bytes()


def test_lines_are_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "j.jsonl"
    with Journal(path) as journal:
        for node in range(5):
            journal.append(record(node))
            assert path.read_bytes().count(b"\n") == node + 1
    again = Journal(path)
    assert [r["node"] for r in again] == [0, 1, 2, 3, 4]
    assert again.get("k2", 2) == record(2)
    assert again.get("k2", 3) is None
    assert again.get_key("k2") == record(2)


def test_a_line_torn_anywhere_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    whole = write(path, 0, 1)
    first = whole.index(b"\n") + 1
    for end in range(first + 1, len(whole) - 1):
        path.write_bytes(whole[:end])
        journal = Journal(path)
        with pytest.warns(UserWarning, match="torn"):
            journal.__enter__()
        assert len(journal) == 1
        journal.append(record(1))
        journal.__exit__(None, None, None)
        assert path.read_bytes() == whole


def test_a_line_without_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    whole = write(path, 0, 1)
    path.write_bytes(whole[:-1])
    with Journal(path) as journal:
        assert len(journal) == 2
        journal.append(record(2))
    assert path.read_bytes() == whole + write(tmp_path / "other", 2)


def test_reading_alone_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    torn = write(path, 0, 1)[:-10]
    path.write_bytes(torn)
    journal = Journal(path)
    assert journal.torn
    assert len(journal) == 1
    assert path.read_bytes() == torn
    with pytest.raises(JournalError, match="reading only"):
        journal.append(record(3))


def test_damage_before_the_end_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    lines = write(path, 0, 1, 2).splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0\0\0\n" + lines[2])
    with pytest.raises(JournalError, match=r"Line 2 of .*delete that line"):
        Journal(path)


def test_two_runs_do_not_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path), pytest.raises(JournalError, match="Another run"), Journal(path):
        pass
    write(path, 0)


def test_a_file_that_another_run_has_stays_for_reading(tmp_path: Path) -> None:
    first, second = (EmbeddingStore(tmp_path / "e.rows", "e") for _ in range(2))
    with first:
        first.add(["a"], np.ones((1, 4), np.float32))
        with pytest.raises(JournalError, match=r"Another run is writing .*e\.rows"):
            second.__enter__()
        with pytest.raises(JournalError, match="open for reading only"):
            second.add(["b"], np.ones((1, 4), np.float32))
    assert len(EmbeddingStore(tmp_path / "e.rows", "e")) == 1


def test_what_another_run_wrote_is_seen_when_opened(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    early = Journal(path)
    write(path, 0)
    with early as journal:
        assert journal.get("k0", 0) is not None


def test_the_last_record_counts(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.append(record(0, "failed"))
        assert journal.get_key("k0") is None
        journal.append(record(0))
    again = Journal(path)
    assert len(again) == 1
    assert again.get_key("k0") is not None


@pytest.mark.parametrize("key", ["sk-very-secret", 'quote"back\\slash', "schlüssel-ü"])
def test_keys_are_taken_out_of_lines(key: str, tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, redactor=Redactor(key)) as journal:
        journal.append(record(0) | {"reason": f"the key {key} is wrong", "deep": [{"k": key}]})
    kept = Journal(path).get("k0", 0)
    assert kept is not None
    assert key not in str(kept)
    assert HIDDEN in kept["reason"]


def test_a_torn_row_of_embeddings_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "e.rows"
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    with EmbeddingStore(path, "e") as store:
        store.add(["a", "b", "c"], rows)
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with EmbeddingStore(path, "e") as store:
            missing = [i for i, text in enumerate("abc") if text not in store]
            store.add(["abc"[i] for i in missing], rows[missing])
        with EmbeddingStore(path, "e") as store:
            np.testing.assert_array_equal(store.get(["c", "a", "b"]), rows[[2, 0, 1]])
        assert path.read_bytes() == whole


def test_a_store_belongs_to_one_encoder_of_one_width(tmp_path: Path) -> None:
    path = tmp_path / "e.rows"
    with EmbeddingStore(path, "e") as store:
        store.add(["a"], np.ones((1, 4), np.float32))
        with pytest.raises(JournalError, match="width 5"):
            store.add(["b"], np.ones((1, 5), np.float32))
    with pytest.raises(JournalError, match="belongs to encoder 'e'"):
        EmbeddingStore(path, "other")
