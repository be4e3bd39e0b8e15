r"""Folders of tables as data sets, on made-up tables and a made-up encoder."""

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg.datasets import TableDataset
from irllrec_pyg.edges import EDGE_TYPE
from irllrec_pyg.nn.features import principal_components
from irllrec_pyg.text.views import Views
from irllrec_pyg.text.words import WordsEncoder

from .shops import Letters, letters, opened, pairs_of, tables, write


def core(pairs, k):
    r"""The k-core, one removal at a time."""
    pairs = set(pairs)
    while True:
        few = next(
            (
                pair
                for pair in pairs
                if min(sum(pair[side] == other[side] for other in pairs) for side in (0, 1)) < k
            ),
            None,
        )
        if few is None:
            return pairs
        pairs.remove(few)


@pytest.mark.parametrize("k", [0, 1, 5, 8])
def test_holds_the_core(shop, k):
    data = opened(shop, k_core=k)[0]
    table, items = tables()
    expected = core(zip(table["user"], table["item"], strict=True), k)
    assert set.union(*pairs_of(data)) == expected
    assert data["user"].raw_id == sorted({user for user, _ in expected})
    left = set(items["item"]) if k == 0 else {item for _, item in expected}
    assert data["item"].raw_id == sorted(left)  # without a core, what nobody has touched is there


def test_x_is_the_encoders_of_length_1_and_texts_are_by_position(shop):
    dataset = opened(shop)
    items = tables()[1].set_index("item")
    assert dataset.texts == [items["text"][item] for item in dataset[0]["item"].raw_id]
    rows = letters(dataset.texts)
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(dataset[0]["item"].x, expected, rtol=1e-6)
    assert "x" not in dataset[0]["user"]
    titles = opened(shop, text="title")
    assert titles.texts[0].startswith("Title ")
    joined = opened(shop, text=["title", "brand"], intent="brand")
    assert joined.texts[0] == f"{titles.texts[0]}. {items['brand'][joined[0]['item'].raw_id[0]]}"
    assert joined[0]["item"].intent.shape == joined[0]["item"].x.shape
    assert joined.items["brand"].tolist() == [items["brand"][i] for i in joined[0]["item"].raw_id]


def test_a_text_is_embedded_once(shop):
    encoder = Letters()
    first = opened(shop, encoder)
    before, asked = first.processed_paths, len(encoder.asked)
    assert asked == len(set(encoder.asked)) > 10
    for settings in ({}, {"seed": 1}, {"split": "cold-items"}, {"k_core": 6}, {"text_rank": 3}):
        opened(shop, encoder, **settings)
    assert len(encoder.asked) == asked
    items = tables()[1]
    items.loc[4, "text"] = "another text"
    write(shop / "shop", items=items)
    again = opened(shop, encoder)
    assert encoder.asked[asked:] == ["another text"]
    assert again.processed_paths != before
    changed = (again[0]["item"].x != first[0]["item"].x).any(dim=1).nonzero().flatten()
    assert [again[0]["item"].raw_id[int(at)] for at in changed] == ["04"]


def test_a_kill_while_embedding_loses_a_batch_at_most(shop):
    with pytest.raises(RuntimeError, match="the power is gone"):
        opened(shop, Letters(dies_after=8))
    assert not list((shop / "shop" / "processed").glob("*.pt"))
    encoder = Letters()
    dataset = opened(shop, encoder)
    assert len(encoder.asked) == dataset.num_items - 8
    rows = letters(dataset.texts)
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(dataset[0]["item"].x, expected, rtol=1e-6)


def test_everything_that_changes_the_graph_changes_the_name_of_its_file(shop):
    settings = [
        {},
        {"k_core": 4},
        {"split": "cold-users"},
        {"shares": (0.8, 0.1, 0.1)},
        {"seed": 1},
        {"text": "title"},
        {"intent": "title"},
        {"text_rank": 2},
    ]
    names = [opened(shop, **one).processed_file_names[0] for one in settings]
    encoder = Letters()
    encoder.name = "letters 2"
    names.append(opened(shop, encoder).processed_file_names[0])
    assert len(set(names)) == len(names)
    assert opened(shop).processed_file_names[0] == names[0]


@pytest.mark.parametrize("end", [".csv.gz", ".tsv", ".tsv.gz", ".parquet"])
def test_every_format_gives_the_same_graph(shop, tmp_path, end):
    if end == ".parquet":
        pytest.importorskip("pyarrow")
        folder = tmp_path / "other" / "shop"
        folder.mkdir(parents=True)
        for stem, table in zip(("interactions", "items"), tables(), strict=True):
            table.to_parquet(folder / f"{stem}.parquet")
    else:
        write(tmp_path / "other" / "shop", end=end)
    one, other = opened(shop)[0], opened(tmp_path / "other")[0]
    assert pairs_of(one) == pairs_of(other)
    assert torch.equal(one["item"].x, other["item"].x)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path / "shop")
    (tmp_path / "shop" / "interactions.csv").rename(tmp_path / "shop" / "interactions.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    with pytest.raises(ImportError, match=r"interactions\.parquet needs pyarrow: pip install"):
        opened(tmp_path)


@pytest.mark.parametrize("split", ["random", "time", "time-global", "cold-items", "cold-users"])
def test_splits_depend_on_the_seed_and_not_on_the_order_of_rows(shop, tmp_path, split):
    table = tables()[0].assign(time=lambda t: t["time"] // 10)  # many interactions of one time
    write(shop / "shop", table)
    write(tmp_path / "other" / "shop", table.sample(frac=1, random_state=3))
    one, other = (opened(root, split=split, seed=3)[0] for root in (shop, tmp_path / "other"))
    assert pairs_of(one) == pairs_of(other)
    assert opened(shop, split=split, seed=3)[0][EDGE_TYPE].edge_index.equal(
        one[EDGE_TYPE].edge_index
    )
    redrawn = pairs_of(opened(shop, split=split, seed=4)[0])
    assert (redrawn == pairs_of(one)) == (split == "time-global")  # where nothing is drawn


def test_interactions_of_one_time_are_in_no_order(shop):
    write(shop / "shop", tables()[0].assign(time=7))
    train, _, test = pairs_of(opened(shop, split="time")[0])
    late = sum(item > max(i for u, i in train if u == user) for user, item in test)
    assert late < len(test) / 2  # by the order of ids it would be all of them


def test_items_without_text_get_the_mean_and_one_warning(shop):
    items = tables()[1]
    items.loc[2, "text"] = np.nan
    items = items.drop(index=3)
    write(shop / "shop", items=items)
    with pytest.warns(UserWarning, match=r"items\.csv: 2 of 15 items have no text.*'02'") as seen:
        dataset = opened(shop)
    assert len(seen) == 1
    x, ids = dataset[0]["item"].x, dataset[0]["item"].raw_id
    without = torch.tensor([item in ("02", "03") for item in ids])
    assert [dataset.texts[at] for at in without.nonzero().flatten()] == ["", ""]
    torch.testing.assert_close(x[without], x[~without].mean(dim=0).expand(2, -1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened(shop)  # the graph is there already


def test_ids_that_match_nothing_are_said(shop):
    write(shop / "shop", items=tables()[1].assign(item=lambda t: t["item"] + ".0"))
    with pytest.warns(UserWarning, match=r"items\.csv has no text for any item .*'00'.*same way"):
        dataset = opened(shop)
    assert "x" not in dataset[0]["item"]


def test_of_repeated_items_the_first_counts(shop):
    items = tables()[1]
    write(shop / "shop", items=pd.concat([items, items[:2].assign(text="other")]))
    with pytest.warns(UserWarning, match=r"csv, line 20: the item '00' is there already \(2"):
        dataset = opened(shop)
    assert dataset.texts[0] == items["text"][0]


def test_texts_are_reduced_to_principal_components(shop):
    whole, narrow = opened(shop)[0]["item"].x.double(), opened(shop, text_rank=3)[0]
    centred = whole - whole.mean(dim=0)
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    expected = left[:, :3] * values[:3]
    found = narrow["item"].x.double()
    torch.testing.assert_close(found.abs(), expected.abs(), rtol=1e-4, atol=1e-5)
    share = float((values[:3] ** 2).sum() / (values**2).sum())
    assert narrow.kept_variance["x"] == pytest.approx(share)
    everything = principal_components(whole, 1000)
    assert everything.kept == pytest.approx(1)
    torch.testing.assert_close(
        torch.cdist(everything.project(whole), whole * 0)[:, 0], centred.norm(dim=1)
    )


def test_texts_of_users_only_on_request_and_then_marked(shop):
    pd.DataFrame({"user": ["002", "003"], "text": ["abc", "xyz"]}).to_csv(
        shop / "shop" / "users.csv", index=False
    )
    assert "x" not in opened(shop)[0]["user"]
    with pytest.warns(UserWarning, match=r"users\.csv: texts of users may tell of held-out"):
        data = opened(shop, user_text=True)[0]
    assert data["user"].x_may_leak
    x, ids = data["user"].x, data["user"].raw_id
    expected = letters(["abc"])[0] / 3**0.5
    np.testing.assert_allclose(x[ids.index("002")], expected, rtol=1e-6)
    user, item = data[EDGE_TYPE].edge_index
    at = ids.index("007")  # without a text: the mean of the training items
    torch.testing.assert_close(x[at], data["item"].x[item[user == at]].mean(dim=0))
    (shop / "shop" / "users.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"needs a table users\.csv"):
        opened(shop, user_text=True)


def test_without_texts_a_message_says_what_to_do(shop):
    data = TableDataset(shop, "shop", encoder=None)[0]
    assert "x" not in data["item"]
    assert "pass encoder='wordllama'" in data.missing["x"]
    (shop / "shop" / "items.csv").unlink()
    dataset = opened(shop)
    assert "put a table items.csv" in dataset[0].missing["x"]
    assert set(dataset.texts) == {""}


def test_a_table_of_items_without_columns_of_texts_says_so(shop):
    write(shop / "shop", items=tables()[1][["item", "brand"]])
    with pytest.warns(UserWarning, match=r"items\.csv has no column 'text' or 'title'; name"):
        opened(shop)


def test_an_encoder_that_is_not_installed_is_named(shop, monkeypatch):
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(ImportError, match=r"pip install 'irllrec_pyg\[encode\]'"):
        TableDataset(shop, "shop")


def test_words_stand_beside_an_encoder(shop):
    pytest.importorskip("sklearn")
    encoder = Letters()
    views = Views([encoder, WordsEncoder()])
    alone, both = opened(shop, encoder), opened(shop, views)
    assert alone.processed_paths != both.processed_paths
    x, texts = both[0]["item"].x, both.texts
    torch.testing.assert_close(x.norm(dim=1), torch.ones(len(texts)))
    words = WordsEncoder().fit(texts)(texts)
    similarity = alone[0]["item"].x @ alone[0]["item"].x.t() + torch.from_numpy(words @ words.T)
    torch.testing.assert_close(x @ x.t(), similarity / 2)
    assert opened(shop, views, text_rank=3)[0]["item"].x.shape == (len(texts), 3)
    pd.DataFrame({"user": ["002", "003"], "text": [texts[4], ""]}).to_csv(
        shop / "shop" / "users.csv", index=False
    )
    with pytest.warns(UserWarning, match="may tell of held-out"):
        data = opened(shop, views, user_text=True)[0]
    at = data["user"].raw_id.index("002")  # by the words of the items
    torch.testing.assert_close(data["user"].x[at], data["item"].x[4])
