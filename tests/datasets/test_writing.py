r"""A data set that is written and read again is the same, and ids are the owner's on every road."""

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg.checkpoint import load_ranker, save_ranker
from irllrec_pyg.cli import main
from irllrec_pyg.datasets import (
    DataFileError,
    IRLLRecDataset,
    from_interactions,
    read_profiles,
    write_published,
)
from irllrec_pyg.nn import LightGCN, Recommender
from tests.conftest import NUM_ITEMS, NUM_USERS
from tests.text.stub import StubServer

RATES = ("user", "rates", "item")
SPLITS = ("edge_index", "val_edge_label_index", "edge_label_index")
USERS = {
    "strings": ["b", "a", "ü", "日本", "00001", "1"],
    "integers": [7, -3, 10**12, 5, 4, 100],
    "both": [1, "1", "01", 2, "two", "2.0"],
    "odd texts": ["a\nb", "a\r\nb", ' "quoted", ', "", "\u2028", "half \ud800"],
    "numpy": list(np.array([7, 3, 9, 5, 4, 100])),
}


def _data(users: list[object], **arguments: object):
    r"""Every user has three of five items."""
    rows = [(user, f"0{item}") for at, user in enumerate(users) for item in (at % 3, 3, 4)]
    df = pd.DataFrame(rows, columns=["u", "i"], dtype=object)
    return from_interactions(df, "u", "i", **arguments)


@pytest.mark.parametrize("users", USERS.values(), ids=USERS)
def test_data_set_is_read_as_it_was_written(tmp_path: Path, users: list[object]) -> None:
    rng = np.random.default_rng(0)
    vectors = {
        field: tuple(
            {key: rng.standard_normal(width) for key in keys}
            for keys in (users, [f"0{item}" for item in range(5)])
        )
        for field, width in (("x", 6), ("intent", 4))
    }
    data = _data(users, **vectors)
    profiles = ({0: {"profile": "likes maps"}}, {1: {"profile": "a map"}})
    raw = write_published(data, tmp_path / "mine" / "raw", profiles)
    read = IRLLRecDataset(tmp_path, "mine")[0]
    for side in ("user", "item"):
        assert read[side].raw_id == data[side].raw_id
        assert list(map(type, read[side].raw_id)) == list(map(type, data[side].raw_id))
        for field in ("x", "intent"):
            assert torch.equal(read[side][field], data[side][field])
    for split in SPLITS:
        assert torch.equal(read[RATES][split], data[RATES][split])
    assert read_profiles(raw / "itm_prf.pkl") == profiles[1]
    assert sorted(read["user"].raw_id, key=str) == sorted(
        (int(user) if isinstance(user, np.integer) else user for user in users), key=str
    )


def test_plain_ids_need_no_file_and_old_files_go(tmp_path: Path) -> None:
    write_published(
        _data(USERS["both"], x=({user: [1.0] for user in USERS["both"]}, _items())),
        tmp_path / "a/raw",
    )
    assert (tmp_path / "a/raw/ids.json").exists()
    df = pd.DataFrame({"u": [0, 1, 0, 1], "i": [0, 0, 1, 1]})
    data = from_interactions(df, "u", "i", x=(None, {0: [1.0], 1: [2.0]}))
    raw = write_published(data, tmp_path / "a/raw")
    assert {path.name for path in raw.iterdir()} == {
        *("trn_mat.pkl", "val_mat.pkl", "tst_mat.pkl", "itm_emb_np.pkl")
    }
    with pytest.warns(UserWarning, match="'x' embeddings of users"):
        read = IRLLRecDataset(tmp_path, "a")[0]
    assert "raw_id" not in read["user"]
    assert read["item"].x.tolist() == [[1], [2]]


def _items() -> dict[str, list[float]]:
    return {f"0{item}": [float(item)] for item in range(5)}


@pytest.mark.parametrize("broken", ["val_mat.pkl", "ids.json"])
def test_all_files_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    raw = write_published(_data(USERS["integers"]), tmp_path / "a" / "raw")
    before = {path.name: path.read_bytes() for path in raw.iterdir()}
    from irllrec_pyg.datasets import writing

    def full(path: Path) -> None:
        if broken in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writing, "sync", full)
    with pytest.raises(OSError, match=f"its old content is kept.*{broken}") as caught:
        write_published(_data(USERS["strings"], x=(None, _items())), raw)
    assert caught.value.errno == errno.ENOSPC
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == before
    with pytest.raises(OSError, match="nothing of it was written"):
        write_published(_data(USERS["strings"]), tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize("size", [NUM_USERS - 1, NUM_USERS + 1])
def test_ids_that_are_not_one_a_node_are_not_written(tiny_data, tmp_path: Path, size: int) -> None:
    tiny_data["user"].raw_id = list(map(str, range(size)))
    with pytest.raises(ValueError, match=rf"data\['user'\]\.raw_id must hold one .* got {size}"):
        write_published(tiny_data, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a JSON file of ids"),
        ("[" * 100_000, "is not a JSON file of ids"),
        ("[]", "must hold a JSON object with the keys 'user' and 'item'"),
        ('{"users": []}', "must hold a JSON object with the keys"),
        ('{"item": {}}', "'item' must be a list, got dict"),
        ('{"item": [0, 1, 2, 3, 4, 5, 6, 7]}', "'item' must hold one id for each of 9 .* got 8"),
        ('{"item": [0, 1, 2, 3, 4, 5, 6, 7, 8.0]}', "entry 8 of 'item' must be an integer of"),
        ('{"item": [0, 1, 2, 3, 4, 5, 6, 7, true]}', "entry 8 .* got True"),
        ('{"item": [0, 1, 2, 3, 4, 5, 6, 7, null]}', "entry 8 .* got None"),
        ('{"item": [0, 1, 2, 3, 4, 5, "a", 7, "a"]}', "'item' holds the id 'a' more than once"),
        ('{"item": [1' + "0" * 5000 + "]}", "is not a JSON file of ids"),
        ('{"item": [18446744073709551616]}', "entry 0 of 'item' must be an integer of 64 bits"),
    ],
)
def test_ids_that_cannot_be_used(published_folder, tmp_path, text, message) -> None:
    (published_folder / "ids.json").write_text(text)
    with pytest.raises(DataFileError, match=rf"ids\.json.*{message}"):
        IRLLRecDataset(tmp_path, "tiny")


def test_new_ids_are_seen(published_folder: Path, tmp_path: Path) -> None:
    old = IRLLRecDataset(tmp_path, "tiny")
    ids = [f"{item:03}" for item in range(NUM_ITEMS)]
    (published_folder / "ids.json").write_text(str({"item": ids}).replace("'", '"'))
    new = IRLLRecDataset(tmp_path, "tiny")
    assert new[0]["item"].raw_id == ids
    assert "raw_id" not in new[0]["user"]
    assert old.processed_file_names == new.processed_file_names  # of what is there now
    (published_folder / "ids.json").unlink()
    assert "raw_id" not in IRLLRecDataset(tmp_path, "tiny")[0]["item"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("numbers", [False, True])
def test_ids_of_a_table_reach_the_recommendation(
    tmp_path: Path, ending: str, numbers: bool
) -> None:
    r"""Table -> texts -> data set -> model -> checkpoint -> recommendation."""
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    users = [str(1000 + n) if numbers else f"{n:05}" for n in range(11)] + ["NA"] * (not numbers)
    items = [str(2000 + n) if numbers else f"0195{n:06}" for n in range(9)]
    pairs = pd.DataFrame(
        [
            (user, items[(at + step) % 9], 7 + step)
            for at, user in enumerate(users)
            for step in range(5)
        ],
        columns=["user", "isbn", "when"],
    )
    texts = pd.DataFrame({"isbn": items, "title": [f"Title {item}" for item in items]})
    if numbers and ending in ("jsonl", "parquet"):
        pairs = pairs.astype({"user": int, "isbn": int})
        texts = texts.astype({"isbn": int})
    for table, name in ((pairs, "pairs"), (texts, "texts")):
        path = tmp_path / f"{name}.{ending}"
        if ending == "parquet":
            table.to_parquet(path)
        elif ending == "jsonl":
            table.to_json(path, orient="records", lines=True)
        else:
            table.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    with StubServer() as server:
        arguments = ["texts", "run", "--out", str(tmp_path / "mine"), "--no-progress"]
        arguments += ["--interactions", str(tmp_path / f"pairs.{ending}")]
        arguments += ["--items", str(tmp_path / f"texts.{ending}"), "--item-column", "isbn"]
        arguments += ["--time-column", "when", "--model", "m", "--base-url", server.url]
        arguments += ["--encoder", "openai:e", "--encoder-url", server.url]
        assert main(arguments) == 0
    data = IRLLRecDataset(tmp_path, "mine")[0]
    assert data["user"].raw_id == sorted(users)
    assert data["item"].raw_id == sorted(items)
    latest = {(user, item) for user, item, when in pairs.astype(str).to_numpy() if when == "11"}
    test = data[RATES].edge_label_index.t().tolist()
    assert {(data["user"].raw_id[u], data["item"].raw_id[i]) for u, i in test} == latest

    model = Recommender(LightGCN(data, embedding_size=4, num_layers=1))
    save_ranker(model, tmp_path / "model.safetensors")
    loaded = load_ranker(tmp_path / "model.safetensors")
    for user in (users[3], users[-1]):
        table = loaded.recommend(user, k=3)
        assert table["user"].tolist() == [user] * len(table)
        assert set(table["item"]) <= set(items)
        trained = data[RATES].edge_index[1, data[RATES].edge_index[0] == sorted(users).index(user)]
        assert not set(table["item"]) & {sorted(items)[i] for i in trained.tolist()}
        torch.testing.assert_close(
            table["score"].tolist(), model.recommend(user, k=3)["score"].tolist()
        )
    hint = rf"Its ids are text: did you mean '{users[0]}'" if numbers else "Unknown user 0;"
    with pytest.raises(KeyError, match=hint):
        loaded.recommend(int(users[0]))
