"""What other tools read of an export, against the model's own lists."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg import build_model, load_folder, save_folder
from irllrec_pyg.cli import main
from irllrec_pyg.config import ConfigError
from irllrec_pyg.export import export
from irllrec_pyg.export.folder import MANIFEST
from irllrec_pyg.linear import EASE, ItemKNN, TextMean
from irllrec_pyg.ranking import Blend

WITHOUT_VECTORS = [EASE, ItemKNN, lambda data: Blend(EASE(data), TextMean(data))]


@pytest.fixture
def named(tiny_data):
    """The tiny data set with ids of text, one of them unicode."""
    tiny_data["item"].raw_id = [f"é{at}" if at % 3 else f"00{at}" for at in range(9)]
    tiny_data["user"].raw_id = list(range(100, 112))
    return tiny_data


def lightgcn(data):
    torch.manual_seed(0)
    return build_model("lightgcn", data).eval()


def exact_lists(ranker, k):
    """Lists by a naive loop over scores."""
    scores = ranker.score(torch.arange(ranker.num_users)).detach().float()
    lists = []
    for user, row in enumerate(scores):
        seen = set(ranker.known_item[ranker.known_ptr[user] : ranker.known_ptr[user + 1]].tolist())
        left = sorted((-float(row[i]), i) for i in range(ranker.num_items) if i not in seen)
        lists.append([item for _, item in left[:k]])
    return lists, scores


def run_graph(folder, first, seen, k):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    given = {name: first.numpy(), "seen": seen.numpy(), "k": np.array([k])}
    items, scores = session.run(["items", "scores"], given)
    return name, items, scores


@pytest.mark.parametrize("make", [lightgcn, TextMean, EASE])
def test_the_graph_lists_what_the_model_lists(make, named, tmp_path):
    ranker = make(named)
    export(ranker, tmp_path / "onnx", "onnx")
    seen = torch.zeros(ranker.num_users, ranker.num_items, dtype=torch.bool)
    for user in range(ranker.num_users):
        seen[user, ranker.known_item[ranker.known_ptr[user] : ranker.known_ptr[user + 1]]] = True
    if make is EASE:
        first = torch.zeros(ranker.num_users, ranker.num_items)
        for user in range(ranker.num_users):
            first[user, ranker.seen_item[ranker.seen_ptr[user] : ranker.seen_ptr[user + 1]]] = 1.0
    else:
        first = torch.from_numpy(np.load(tmp_path / "onnx" / "users.npy"))
    name, items, scores = run_graph(tmp_path / "onnx", first, seen, 3)
    assert name == ("history" if make is EASE else "users")
    expected, expected_scores = ranker.topk(torch.arange(ranker.num_users), 3)
    there = expected >= 0
    assert (np.isneginf(scores) == ~there.numpy()).all()
    assert items[there.numpy()].tolist() == expected[there].tolist()
    assert scores[there.numpy()] == pytest.approx(expected_scores[there].detach(), abs=1e-5)
    assert json.loads((tmp_path / "onnx" / "items.json").read_text()) == list(ranker.item_ids)


def test_ties_in_the_graph_are_those_of_the_model(named, tmp_path):
    ranker = EASE(named)
    ranker.weight.zero_()
    export(ranker, tmp_path / "onnx", "onnx")
    nobody = torch.zeros(2, 9)
    _, items, _ = run_graph(tmp_path / "onnx", nobody, nobody.bool(), 4)
    assert items.tolist() == [[0, 1, 2, 3]] * 2


def test_large_weights_lie_beside_the_graph(named, tmp_path, monkeypatch):
    monkeypatch.setattr("irllrec_pyg.export.onnx.LARGE", 16)
    ranker = EASE(named)
    manifest = export(ranker, tmp_path / "onnx", "onnx")
    assert "model.onnx.data" in manifest["files"]
    history = torch.eye(9)
    _, items, _ = run_graph(tmp_path / "onnx", history, history.bool(), 2)
    expected = ranker.recommend(history=[[item] for item in ranker.item_ids], k=2)
    assert [ranker.item_ids[at] for at in items.flatten()] == expected["item"].tolist()


@pytest.mark.parametrize("make", [lightgcn, TextMean, *WITHOUT_VECTORS])
def test_tables_hold_ids_vectors_and_lists(make, named, tmp_path):
    ranker = make(named)
    ranker.item_table = pd.DataFrame({"price": [5, 7]}, ["é1", "003"])
    manifest = export(ranker, tmp_path / "tables", "parquet", k=4)
    users, items, lists = (
        pd.read_parquet(tmp_path / "tables" / f"{name}.parquet")
        for name in ("users", "items", "lists")
    )
    assert users["user"].tolist() == list(range(100, 112))
    assert items["item"].tolist() == list(ranker.item_ids)
    assert items.set_index("item")["price"].dropna().to_dict() == {"é1": 5, "003": 7}
    expected, scores = exact_lists(ranker, 4)
    found = lists.groupby("user", sort=True)["item"].agg(list).tolist()
    assert found == [[ranker.item_ids[item] for item in row] for row in expected]
    if manifest["width"] is not None:
        product = np.stack(users["vector"]) @ np.stack(items["vector"]).T
        assert product == pytest.approx(scores.numpy(), abs=1e-5)
    else:
        assert "vector" not in items


def test_a_column_of_several_kinds_is_named_and_none_is_lost(named, tmp_path):
    ranker, folder = EASE(named), tmp_path / "out"
    own = {"vector": range(9), "size": [1, "m", *[None] * 7]}
    ranker.item_table = pd.DataFrame(own, named["item"].raw_id)
    with pytest.raises(ValueError, match="Column 'size' of the items' table has values of several"):
        export(ranker, folder, "parquet")
    assert not folder.exists()
    del ranker.item_table["size"]
    export(ranker, folder, "parquet")
    assert pd.read_parquet(folder / "items.parquet")["vector"].tolist() == list(range(9))


def test_weights_between_items_are_a_table(named, tmp_path):
    ranker = EASE(named)
    export(ranker, tmp_path / "tables", "parquet", weights=2)
    table = pd.read_parquet(tmp_path / "tables" / "weights.parquet")
    assert len(table) == 18
    ids = list(ranker.item_ids)
    for item, own in table.groupby("item"):
        row = ranker.weight[ids.index(item)]
        largest = sorted(row.abs().tolist(), reverse=True)[:2]
        assert own["weight"].abs().tolist() == pytest.approx(largest)
        assert [float(row[ids.index(one)]) for one in own["listed"]] == own["weight"].tolist()


def test_the_index_finds_the_best_items(named, tmp_path):
    faiss = pytest.importorskip("faiss")
    ranker = lightgcn(named)
    export(ranker, tmp_path / "index", "faiss", exact=True)
    index = faiss.read_index(str(tmp_path / "index" / "items.faiss"))
    users = np.load(tmp_path / "index" / "users.npy")
    found = index.search(users, 9)[1]
    with torch.no_grad():
        expected = ranker.topk(torch.arange(12), 9, exclude=None)[0]
    assert found.tolist() == expected.tolist()
    assert json.loads((tmp_path / "index" / "users.json").read_text()) == list(range(100, 112))


@pytest.mark.parametrize("to", ["faiss", "onnx"])
def test_what_has_no_vectors_says_so_in_one_line(to, named, tmp_path, capsys):
    save_folder(ItemKNN(named), tmp_path / "run")
    assert main(["export", str(tmp_path / "run"), "--to", to, "--out", str(tmp_path / "x")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "dot products" in said
    assert "parquet" in said
    assert [path.name for path in tmp_path.iterdir() if "x" in path.name] == []


def test_hub_reads_and_writes_the_same_model(named, tmp_path, capsys):
    pytest.importorskip("huggingface_hub")
    from irllrec_pyg.export.hub import HubRanker

    ranker = EASE(named)
    items = pd.DataFrame({"item": ranker.item_ids, "title": [f"t{at}" for at in range(9)]})
    result = {"test": {"recall@20": 0.5}, "seconds": 1.0}
    save_folder(ranker, tmp_path / "run", items, result=result)
    out = tmp_path / "hub"
    assert main(["export", str(tmp_path / "run"), "--to", "hub", "--out", str(out)]) == 0
    assert json.loads((out / "config.json").read_text())["model"] == "EASE"
    assert "library_name: irllrec_pyg" in (out / "README.md").read_text()
    loaded = HubRanker.from_pretrained(out)
    pd.testing.assert_frame_equal(loaded.ranker.recommend(k=3), ranker.recommend(k=3))
    assert loaded.ranker.item_table is not None
    loaded.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "result.json").exists()
    pd.testing.assert_frame_equal(load_folder(tmp_path / "again").recommend(), ranker.recommend())


def test_an_export_is_replaced_and_nothing_else_is(named, tmp_path):
    out = tmp_path / "out"
    export(EASE(named), out, "onnx")
    manifest = export(EASE(named), out, "parquet")
    assert {path.name for path in out.iterdir()} == {*manifest["files"], MANIFEST}
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"thesis\.txt"):
        export(EASE(named), out, "onnx")
    assert (out / "lists.parquet").exists()
    with pytest.raises(ConfigError, match="not a folder"):
        export(EASE(named), out / "thesis.txt", "onnx")


def test_nothing_is_left_of_an_export_that_fails(named, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError("no space")

    export(EASE(named), tmp_path / "out", "parquet", k=2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    monkeypatch.setattr("irllrec_pyg.export.parquet._write_lists", fail)
    with pytest.raises(OSError, match="no space"):
        export(EASE(named), tmp_path / "out", "parquet")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert not list(tmp_path.glob(".out*"))


def test_an_option_of_another_format_is_refused(named, tmp_path, capsys):
    save_folder(EASE(named), tmp_path / "run")
    command = ["export", str(tmp_path / "run"), "--out", str(tmp_path / "x"), "--to", "onnx"]
    assert main([*command, "--k", "3"]) == 2
    assert "--k is for --to parquet" in capsys.readouterr().err


def test_a_missing_package_names_the_extra(named, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "irllrec_pyg.export.onnx", raising=False)
    with pytest.raises(ImportError, match=r"irllrec_pyg\[export\]"):
        export(EASE(named), tmp_path / "x", "onnx")
