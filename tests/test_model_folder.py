"""A model as one folder, which loads without data and says what it lacks."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg import build_model, load_folder, save_folder
from irllrec_pyg.config import ConfigError
from irllrec_pyg.linear import EASE, Popularity
from irllrec_pyg.model_folder import read_json
from irllrec_pyg.nn import Recommender
from irllrec_pyg.ranking import Blend
from irllrec_pyg.tensor_file import CheckpointError


@pytest.fixture
def items(tiny_data):
    """Items in another order than the graph's, one of them missing, one that is none."""
    ids = [3, 1, 2, 0, 4, 5, 6, 7, 99]
    return pd.DataFrame(
        {
            "item": ids,
            "title": [f"title, {at}\nof two lines" for at in ids],
            "price": [f"{at}.50" for at in ids],
            "shelf": [f"0{at}" for at in ids],
            "in_stock": ["true" if at % 2 else "False" for at in ids],
        }
    )


@pytest.mark.parametrize("kind", ["ease", "blend", "lightgcn", "alpharec"])
def test_every_kind_of_model_recommends_as_before(tiny_data, tmp_path, items, kind):
    torch.manual_seed(0)
    model = {
        "ease": lambda: EASE(tiny_data),
        "blend": lambda: Blend(EASE(tiny_data), Popularity(tiny_data), weights=(0.7, 0.3)),
        "lightgcn": lambda: build_model("lightgcn", tiny_data),
        "alpharec": lambda: build_model("alpharec", tiny_data),
    }[kind]()
    save_folder(model, tmp_path / "model", items)
    loaded = load_folder(tmp_path / "model")
    one, two = model.recommend(k=3), loaded.recommend(k=3)
    assert one[["user", "item"]].equals(two[["user", "item"]])
    np.testing.assert_allclose(one["score"], two["score"], rtol=1e-5)
    assert isinstance(loaded, Recommender) == (kind == "lightgcn")  # AlphaRec is built of texts


def test_the_table_of_the_items_is_found_by_their_ids(tiny_data, tmp_path, items):
    save_folder(EASE(tiny_data), tmp_path, items)
    table = load_folder(tmp_path).item_table
    assert list(table.index) == [3, 1, 2, 0, 4, 5, 6, 7]
    assert table["title"][2] == "title, 2\nof two lines"
    assert table["price"][4] == 4.5
    assert table["shelf"][4] == "04"  # a number would lose its zero
    assert table["in_stock"].tolist() == [True, True, False, False, False, True, False, True]
    save_folder(load_folder(tmp_path), tmp_path / "again")
    assert load_folder(tmp_path / "again").item_table.equals(table)


def test_prices_that_are_missing_leave_the_others_numbers(tiny_data, tmp_path):
    ids = range(tiny_data["item"].num_nodes)
    price = ["nan", "", "N/A", "null", "1.5", *["2"] * (len(ids) - 5)]
    stock = ["None", "true", *["False"] * (len(ids) - 2)]
    columns = {"item": ids, "price": price, "stock": stock}
    save_folder(EASE(tiny_data), tmp_path, pd.DataFrame(columns))
    table = load_folder(tmp_path).item_table
    assert table["price"].isna().tolist() == [True] * 4 + [False] * (len(ids) - 4)
    assert (table["price"] < 1.8).sum() == 1
    assert table["stock"].dtype == bool
    assert table["stock"].sum() == 1


def test_the_same_table_is_the_same_file(tiny_data, tmp_path, items):
    for name in ("one", "two"):
        save_folder(EASE(tiny_data), tmp_path / name, items)
    one, two = ((tmp_path / name / "items.csv.gz").read_bytes() for name in ("one", "two"))
    assert one == two


def test_the_card_says_what_is_there_and_what_is_not(tiny_data, tmp_path):
    config = {"data": {"name": "tiny", "licence": "CC BY 4.0"}, "ranker": {"name": "ease"}}
    result = {"test": {"ndcg@20": 0.25}, "validation": {"ndcg@20": 0.5}, "seconds": 3.2}
    save_folder(EASE(tiny_data), tmp_path, config=config, result=result)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: irllrec_pyg\n")
    assert "# ease on tiny" in card
    assert "12 users, 9 items" in card
    assert "Licence of data and texts: CC BY 4.0." in card
    assert "| ndcg@20 | 0.5000 | 0.2500 |" in card
    assert "cannot go on training" in card
    assert json.loads((tmp_path / "result.json").read_text()) == result


def test_what_is_no_model_says_how_there_will_be_one(tiny_data, tmp_path):
    with pytest.raises(FileNotFoundError, match="irllrec train --out"):
        load_folder(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"there is no model\.safetensors"):
        load_folder(tmp_path)
    (tmp_path / "config.yaml").write_text("data: {}\n")
    with pytest.raises(FileNotFoundError, match=r"goes on with 'irllrec train --config"):
        load_folder(tmp_path)


def test_a_result_without_its_fields_is_damaged(tmp_path):
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"result\.json is damaged .*no field 'test'"):
        read_json(tmp_path / "result.json", ["test"])


def test_damaged_parts_are_named(tiny_data, tmp_path, items):
    save_folder(EASE(tiny_data), tmp_path, items)
    whole = (tmp_path / "items.csv.gz").read_bytes()
    (tmp_path / "items.csv.gz").write_bytes(whole[:-9])
    with pytest.raises(ValueError, match=r"items\.csv\.gz is damaged"):
        load_folder(tmp_path)
    (tmp_path / "items.csv.gz").write_bytes(gzip.compress(b"id,title\n0,a\n"))
    with pytest.raises(ValueError, match=r"items\.csv\.gz has no column 'item'"):
        load_folder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        load_folder(tmp_path)
    with pytest.raises(ConfigError, match="must have a column 'item', got id"):
        save_folder(EASE(tiny_data), tmp_path, pd.DataFrame({"id": [0]}))
