"""Tables of the items, as they come from a data set or a file."""

import pandas as pd
import pytest

from irllrec_pyg import TableDataset
from irllrec_pyg.linear import EASE
from irllrec_pyg.ranking import Filters


@pytest.fixture
def shop(tmp_path):
    """Ids that begin with zeros, prices and truths as text, an item without a price."""
    pairs = [(f"u{user}", f"0{(user + step) % 8}") for user in range(8) for step in range(4)]
    pd.DataFrame(pairs, columns=["user", "item"]).to_csv(tmp_path / "interactions.csv", index=False)
    rows = {
        "item": [f"0{item}" for item in (7, 6, 5, 4, 3, 2, 1, 0)],
        "price": ["7", "", *"543210"],
        "sold": ["true", "False"] * 4,
        "shelf": ["01"] * 8,
    }
    pd.DataFrame(rows).to_csv(tmp_path / "items.csv", index=False)
    return TableDataset(tmp_path.parent, tmp_path.name, k_core=0, encoder=None)


def test_the_table_of_a_data_set_is_all_that_rules_need(shop):
    model = EASE(shop[0], reg=1.0)
    model.item_table = shop.items
    cheap = Filters(where="price < 3")
    listed = set(model.recommend("u0", k=8, exclude=None, filters=cheap)["item"])
    assert listed == {"00", "01", "02"}
    rules = Filters(where="sold == True and shelf == '01'")
    listed = set(model.recommend("u0", k=8, exclude=None, filters=rules)["item"])
    assert listed == {"07", "05", "03", "01"}
    assert model.item_table["price"].isna()["06"]


def test_ids_that_are_numbers_are_found_by_their_text(tiny_data):
    model = EASE(tiny_data, reg=1.0)
    first = model.ids("item")[0]
    rows = {"item": [str(first), "no such", str(first)], "tags": [["a"], ["b"], ["c"]]}
    model.item_table = pd.DataFrame(rows)
    assert model.item_table.index.tolist() == [first]
    assert model.item_table["tags"][first] == ["a"]  # the first row counts; lists stay lists


def test_a_table_that_is_indexed_by_ids_is_taken_as_it_is(tiny_data):
    model = EASE(tiny_data, reg=1.0)
    table = pd.DataFrame({"shelf": ["1"]}, index=[model.ids("item")[0]])
    model.item_table = table
    assert model.item_table is table
    model.item_table = None
    assert model.item_table is None
