"""A folder as irllrec_pyg 0.1.0 left it is opened, imported once and gone on with."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from irllrec_pyg.cli import main
from irllrec_pyg.text.database import StoreError
from irllrec_pyg.text.imports import open_store
from irllrec_pyg.text.store import Store
from tests.text.conftest import records
from tests.text.stub import StubServer

OLD = Path(__file__).parent / "folder_0_1_0"
STEPS = ("item_profile", "user_profile")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six items with profiles, two of four users with one, a batch of intents that was written."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return Path("texts")


def run(action: str, *more: str) -> int:
    return main(["texts", action, "--out", "texts", "--no-progress", *more])


def test_looking_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    assert run("status") == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert [lines[step][2] for step in STEPS] == ["6", "2"]
    assert run("plan") == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert [lines[step][1:3] for step in STEPS] == [["6", "6"], ["4", "2"]]
    assert sorted(folder.rglob("*")) == before


def test_it_is_gone_on_with(folder: Path, stub: StubServer) -> None:
    old = {step: (folder / "journal" / f"{step}.jsonl").read_bytes() for step in STEPS}
    assert run("items", "--base-url", stub.url) == 0
    assert not stub.asked  # the server has moved, the answers have not
    assert run("users", "--base-url", stub.url) == 0
    assert sum(stub.asked.values()) == 1  # the two others are alike
    assert [len(records(folder, step)) for step in STEPS] == [6, 4]
    # What was written for a batch waits there.
    assert run("intents", "--allow-incomplete", "--base-url", stub.url) == 0
    assert set(stub.asked.values()) == {1}
    assert len(records(folder, "user_intent")) == 4
    assert not records(folder, "item_intent")
    assert run("batch-submit", "--step", "item_intent") == 0
    stub.finish_batches()
    assert run("batch-collect", "--step", "item_intent") == 0
    assert len(records(folder, "item_intent")) == 6
    assert {step: (folder / "journal" / f"{step}.jsonl").read_bytes() for step in STEPS} == old


def test_embeddings_are_not_bought_again(folder: Path) -> None:
    store = open_store(folder)
    ((encoder,),) = store.rows("SELECT name FROM encoders")
    texts = [record["answer"]["summarization"] for record in _answers(store, "item_profile")]
    assert not store.missing(encoder, texts)
    with open("usr_emb_np.pkl", "rb") as file:
        users = pickle.load(file)
    row = store.vectors(encoder, [_answers(store, "user_profile")[0]["answer"]["summarization"]])[0]
    assert np.abs(users - row / np.linalg.norm(row)).max(axis=1).min() < 1e-6


def _answers(store: Store, step: str) -> list[dict]:  # type: ignore[type-arg]
    query = "SELECT key FROM nodes WHERE step = ? ORDER BY node"
    return [store.answer(key) or {} for (key,) in store.rows(query, step)]


@pytest.mark.parametrize("damage", ["torn", "zeros", "a list", "no node"])
def test_a_damaged_line_is_asked_again(damage: str, folder: Path, stub: StubServer) -> None:
    path = folder / "journal" / "item_profile.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    bad = {"torn": lines[-1][:-20], "zeros": b"\0" * 9 + b"\n", "a list": b"[1]\n"}
    lines[-1] = bad.get(damage, b'{"key": "00", "status": "ok"}\n')
    path.write_bytes(b"".join(lines if damage == "torn" else [lines[-1], *lines[:-1]]))
    with pytest.warns(UserWarning, match=r"Line \d of .*item_profile.jsonl is damaged"):
        open_store(folder)
    assert run("items", "--base-url", stub.url) == 0
    assert sum(stub.asked.values()) == 1
    assert len(records(folder)) == 6


def test_a_part_that_was_deleted_is_noticed(folder: Path) -> None:
    (folder / "split.json").unlink()
    with pytest.raises(StoreError, match=r"split\.json is missing"):
        open_store(folder)


def test_another_split_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("items", "--seed", "1") == 2
    assert "another split" in capsys.readouterr().err
