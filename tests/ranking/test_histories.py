r"""People who are given by their items."""

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg import build_model
from irllrec_pyg.linear import EASE, IALS, LinearFilter, TextMean, TextProfile, build_linear
from irllrec_pyg.ranking import Blend, Filters
from irllrec_pyg.registry import names

from ..linear.test_linear import SMALL

IDS = [f"i{at}" for at in range(9)]


@pytest.fixture
def ease(tiny_data):
    tiny_data["item"].raw_id = IDS
    return EASE(tiny_data, reg=1.0)


def lists(table):
    return {user: rows["item"].tolist() for user, rows in table.groupby("user", sort=False)}


def test_one_person_and_several(ease):
    scores = ease.weight[[2, 5]].sum(0)
    order = [IDS[at] for at in scores.argsort(descending=True, stable=True).tolist()]
    rest = [item for item in order if item not in ("i2", "i5")]
    table = ease.recommend(history=["i2", "i5"], k=4)
    assert lists(table) == {0: rest[:4]}
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert lists(ease.recommend(history=["i2", "i5"], k=9, exclude=None)) == {0: order}
    several = ease.recommend(history=[["i1"], ("i5", "i2"), pd.Series(["i0"])], k=4)
    assert lists(several)[1] == rest[:4]
    assert list(lists(several)) == [0, 1, 2]


def test_a_table_of_people_keeps_their_names_and_order(ease):
    frame = pd.DataFrame({"user": ["zoe", "al", "zoe"], "item": ["i2", "i7", "i5"]})
    table = ease.recommend(history=frame, k=3)
    one = ease.recommend(history=["i5", "i2"], k=3)
    assert list(lists(table)) == ["zoe", "al"]
    assert lists(table)["zoe"] == lists(one)[0]
    weighted = ease.recommend(history=frame.assign(weight=[1.0, 2.0, 5.0]), k=9, exclude=None)
    own = ease.recommend(history=["i2", "i5"], weights=[1, 5], k=9, exclude=None)
    assert lists(weighted)["zoe"] == lists(own)[0]
    expected = (ease.weight[2] + 5 * ease.weight[5]).sort(descending=True).values
    np.testing.assert_allclose(own["score"], expected, rtol=1e-5)


def test_what_stands_twice_counts_once_or_by_the_sum_of_its_weights(ease):
    assert ease.recommend(history=["i2", "i2", "i5"]).equals(ease.recommend(history=["i5", "i2"]))
    twice = ease.recommend(history=["i2", "i2", "i5"], weights=[1, 2, 1])
    assert twice.equals(ease.recommend(history=["i2", "i5"], weights=[3, 1]))


def test_filters_and_candidates_hold_for_people_too(ease):
    ease.item_table = pd.DataFrame({"kind": list("aaabbbccc")}, index=IDS)
    filters = Filters(max_per={"kind": 1}, where="kind != 'c'")
    table = ease.recommend(history=[["i2"], ["i4"]], candidates=IDS[1:], filters=filters)
    for user, items in lists(table).items():
        assert len(items) == 2
        assert not {"i0", "i6", "i7", "i8", ("i2", "i4")[user]} & set(items)


@pytest.mark.parametrize(
    ("history", "weights", "error", "message"),
    [
        ([], None, ValueError, "The history is empty"),
        ([["i1"], []], None, ValueError, "The history of user 1 is empty"),
        (["i1", "x"], None, KeyError, "Unknown item 'x'"),
        ("i1", None, TypeError, "'history' must be a list, got 'i1'"),
        (7, None, TypeError, "'history' must be a list, got 7"),
        (["i1", ["i2"]], None, TypeError, "item ids, or lists of item ids; it holds both"),
        ([None], None, KeyError, "Unknown item None"),
        ([float("nan")], None, KeyError, "Unknown item nan"),
        ([True], None, TypeError, "'item' must be an id"),
        (["i1", "i2"], [1.0], ValueError, "The history has 1 weights for 2 items"),
        (["i1"], [-1.0], ValueError, "weight of item 'i1' must be a positive number, got -1.0"),
        (["i1"], [0], ValueError, "positive number, got 0"),
        (["i1"], [float("nan")], ValueError, "positive number, got nan"),
        (["i1"], [float("inf")], ValueError, "positive number, got inf"),
        (["i1"], [True], ValueError, "positive number, got True"),
        (["i1"], ["2"], ValueError, "positive number, got '2'"),
        (["i1"], [[1.0]], ValueError, "'weights' must be shaped like 'history'"),
        ([["i1"], ["i2"]], [[1.0], [0]], ValueError, "history of user 1: the weight of item 'i2'"),
        ([["i1"]], [1.0], ValueError, "'weights' must be shaped like 'history'"),
        ([["i1"]], [[1.0], [1.0]], ValueError, "'weights' are of 2 people for 1 histories"),
        (None, [1.0], ValueError, "'weights' belong to a 'history'"),
        (pd.DataFrame({"user": [1]}), None, ValueError, "needs a column 'item'"),
        (pd.DataFrame({"user": [], "item": []}), None, ValueError, "has no row"),
        (pd.DataFrame({"user": [None], "item": ["i1"]}), None, ValueError, "no user in row 0"),
        (pd.DataFrame({"user": [1], "item": ["i1"]}), [1], ValueError, "a column 'weight'"),
    ],
)
def test_what_is_no_history_is_named(ease, history, weights, error, message):
    with pytest.raises(error, match=message):
        ease.recommend(history=history, weights=weights)


def test_arguments_that_do_not_go_together_are_named(ease):
    with pytest.raises(ValueError, match="'user' or 'history', not both"):
        ease.recommend(3, history=["i1"])
    with pytest.raises(ValueError, match="'k' must be a whole number"):
        ease.recommend(history=["i1"], k=0)
    assert len(ease.recommend(history=["i1"], k=100)) == 8
    assert ease.recommend(history=IDS).empty


@pytest.mark.parametrize("name", names("linear"))
def test_equal_weights_are_none_and_mode_stays(tiny_data, name):
    ranker = build_linear(name, tiny_data, **SMALL.get(name, {})).train()
    plain = ranker.recommend(history=[1, 4], k=7)
    equal = ranker.recommend(history=[1, 4], weights=[1, 1], k=7)
    assert ranker.training
    assert lists(plain) == lists(equal)
    assert not plain["item"].isin([1, 4]).any()


def test_a_weight_pulls_towards_its_item(tiny_data):
    for cls in (TextMean, TextProfile, LinearFilter):
        ranker = cls(tiny_data)
        alone = ranker.score_history(torch.eye(9)[[1]])[0]
        heavy = ranker.recommend(history=[1, 4], weights=[1e4, 1], k=9, exclude=None)
        order = alone.argsort(descending=True, stable=True).tolist()
        assert heavy["item"].tolist()[0] == order[0]


def test_weights_of_ials_are_those_of_its_squares(tiny_data):
    model = IALS(tiny_data, dim=3, num_steps=3)
    weight = np.array([2.0, 0.5])
    own = model.items[[1, 4]].double().numpy()
    every = model.items.double().numpy()
    ridge = model.config.reg * (2 + model.config.unobserved * 9) ** model.config.exponent
    matrix = model.config.unobserved * every.T @ every + ridge * np.eye(3)
    for w, h in zip(weight, own, strict=True):
        matrix += w * np.outer(h, h)
    user = np.linalg.solve(matrix, (weight[:, None] * own).sum(0))
    table = model.recommend(history=[1, 4], weights=weight, k=9, exclude=None)
    np.testing.assert_allclose(table["score"], np.sort(every @ user)[::-1], rtol=1e-4)


def test_blends_take_histories_if_all_parts_do(tiny_data):
    blend = Blend(EASE(tiny_data), build_model("lightgcn", tiny_data))
    assert blend.takes_history
    assert len(blend.recommend(history=[[1], [2, 3]], k=3)) == 6
    other = Blend(EASE(tiny_data), build_model("autocf", tiny_data))
    assert not other.takes_history
    with pytest.raises(NotImplementedError, match="A model on AutoCF cannot rank for people by a"):
        other.recommend(history=[1])
