r"""Similar items and users against naive cosines."""

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg import build_model
from irllrec_pyg.linear import EASE, GFCF, IALS, ItemKNN, LinearFilter, Popularity, TextMean
from irllrec_pyg.ranking import Blend, Filters
from irllrec_pyg.registry import names

from ..linear.test_linear import matrix
from ..linear.test_saving import build

IDS = [f"i{at}" for at in range(9)]


def cosine(rows):
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows @ rows.T


def check(table, expected, own):
    order = sorted((i for i in range(len(expected)) if i != own), key=lambda i: -expected[i])
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    np.testing.assert_allclose(table["similarity"], expected[order[: len(table)]], atol=1e-5)
    found = [int(str(label).strip("iu")) for label in table["id"]]
    np.testing.assert_allclose(expected[found], table["similarity"], atol=1e-5)


@pytest.fixture
def data(tiny_data):
    tiny_data["item"].raw_id = IDS
    tiny_data["user"].raw_id = [f"u{at}" for at in range(12)]
    return tiny_data


def test_weights_between_items(data):
    model = EASE(data, reg=1.0)
    expected = cosine(np.eye(9) + model.weight.numpy())
    check(model.similar("i3", k=8), expected[3], 3)
    both = model.similar(["i3", "i5"], k=2)
    assert list(both) == ["of", "id", "rank", "similarity"]
    assert both["of"].tolist() == ["i3", "i3", "i5", "i5"]
    assert both.query("of == 'i3'")["id"].tolist() == model.similar("i3", k=2)["id"].tolist()
    assert len(model.similar("i3", k=100)) == 8


def test_embeddings_texts_and_filters_on_the_graph(data):
    model = IALS(data, dim=4)
    check(model.similar("i0", k=5), cosine(model.items.numpy())[0], 0)
    check(model.similar(user="u4", k=5), cosine(model.users.numpy())[4], 4)
    texts = data["item"].x.numpy()
    check(TextMean(data).similar("i0"), cosine(texts - texts.mean(0))[0], 0)
    history = matrix(data)
    columns = (history / np.sqrt(np.maximum(history.sum(1, keepdims=True), 1))).T
    for model in (GFCF(data, rank=3), LinearFilter(data)):
        check(model.similar("i6", k=8), cosine(columns)[6], 6)
        check(model.similar(user="u2", k=3), cosine(history)[2], 2)


def test_neighbourhoods_hold_both_ways_and_no_others(data):
    model = ItemKNN(data, num_neighbors=2)
    expected = np.full((9, 9), -np.inf)
    whole = cosine(matrix(data).T)
    for i in range(9):
        for j in sorted((j for j in range(9) if j != i), key=lambda j: (-whole[i, j], j))[:2]:
            if whole[i, j] > 0:
                expected[i, j] = expected[j, i] = whole[i, j]
    for item in range(9):
        table = model.similar(f"i{item}", k=8)
        assert len(table) == np.isfinite(expected[item]).sum()
        check(table, expected[item], item)


def test_a_blend_is_the_mean_of_its_parts(data):
    parts = EASE(data, reg=1.0), TextMean(data), Popularity(data)
    texts = data["item"].x.numpy()
    expected = 0.25 * cosine(np.eye(9) + parts[0].weight.numpy())
    expected += 0.75 * cosine(texts - texts.mean(0))
    blend = Blend(*parts, weights=(0.1, 0.3, 5.0))  # popularity tells no item from another
    check(blend.similar("i2", k=8), expected[2], 2)
    with pytest.raises(NotImplementedError, match="Popularity has no similarities"):
        parts[2].similar("i2")


@pytest.mark.parametrize(
    "name", [*sorted(set(names("linear")) - {"popularity", "text-popularity"}), "lightgcn"]
)
def test_rules_hold_and_nothing_is_like_itself(data, name):
    model = build_model(name, data) if name == "lightgcn" else build(name, data)
    filters = Filters(deny=["i1", "i2"])
    for item in IDS:
        found = set(model.similar(item, k=9, filters=filters)["id"])
        assert not found & {"i1", "i2", item}
    assert len(model.similar("i0", filters=Filters(allow=["i0"]))) == 0


def test_wrong_arguments_are_named(data):
    model = EASE(data)
    for arguments, message in (
        ({}, "Give an 'item' or a 'user'"),
        ({"item": "i0", "user": "u0"}, "Give an 'item' or a 'user'"),
        ({"user": "u0", "filters": Filters(deny=["i1"])}, "'filters' are rules for items"),
        ({"item": "i0", "k": 0}, "'k' must be a whole number"),
    ):
        with pytest.raises(ValueError, match=message):
            model.similar(**arguments)
    with pytest.raises(KeyError, match="Unknown item 'x'"):
        model.similar("x")
    assert isinstance(model.similar(item=[]), pd.DataFrame)
    assert model.similar("i0", k=1)["similarity"].dtype == np.float32
    assert torch.is_grad_enabled()
