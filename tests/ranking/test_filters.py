r"""Rules for lists against naive loops, and what somebody may get wrong."""

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg.linear import EASE, GFCF, ItemKNN, TextMean
from irllrec_pyg.ranking import Blend, Filters

from .test_ranker import Few

IDS = [f"i{at}" for at in range(9)]


@pytest.fixture
def ranker(tiny_data):
    tiny_data["item"].raw_id = IDS
    model = TextMean(tiny_data)
    model.item_table = pd.DataFrame(
        {
            "price": [5.0, 1, 9, np.nan, 3, 3, 8, 2],
            "in_stock": [True, True, False, True, True, False, True, True],
            "author": ["a", "a", "b", "a", None, "b", "a", None],
            "list price": range(8),
        },
        index=[*IDS[:7], "elsewhere"],  # i7 and i8 have no row
    )
    return model


def items(table):
    return table["item"].tolist()


def test_allow_and_deny(ranker):
    whole = items(ranker.recommend(3, k=9, exclude=None))
    allowed = ranker.recommend(3, k=9, exclude=None, filters=Filters(allow=["i5", "i2", "i0"]))
    assert items(allowed) == [item for item in whole if item in ("i5", "i2", "i0")]
    assert allowed["rank"].tolist() == [1, 2, 3]
    denied = ranker.recommend(3, k=9, exclude=None, filters=Filters(deny=(i for i in ["i5"])))
    assert items(denied) == [item for item in whole if item != "i5"]
    both = Filters(allow=["i5", "i2"], deny=["i5"])
    assert items(ranker.recommend(3, exclude=None, filters=both)) == ["i2"]
    kept = ranker.recommend(3, exclude=None, candidates=["i2", "i8"], filters=Filters(deny=["i8"]))
    assert items(kept) == ["i2"]
    assert ranker.recommend(3, filters=Filters(allow=[])).empty
    assert ranker.recommend(filters=Filters(deny=IDS, max_per={"author": 1})).empty


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("in_stock == True and price < 8", {"i0", "i1", "i4"}),
        ("in_stock & (price < 8)", {"i0", "i1", "i4"}),
        ("not in_stock", {"i2", "i5"}),
        ("author in ['b'] or `list price` == 4", {"i2", "i4", "i5"}),
        ("price * 2 >= 16", {"i2", "i6"}),
        ("price < 0", set()),
    ],
)
def test_conditions_on_columns(ranker, where, expected):
    table = ranker.recommend(3, k=9, exclude=None, filters=Filters(where=where))
    assert set(items(table)) == expected


@pytest.mark.parametrize(
    "where",
    [
        "price.max() > 3",
        "@pd.io.common.os.system('true')",
        "__import__('os').system('true')",
        "(lambda: 1)()",
        "price[0]",
        "[x for x in price]",
        "price <",
        "price = 3",
        "",
        "price < 1 or " * 200 + "price < 2",
        7,
    ],
)
def test_conditions_that_are_more_or_less_are_refused(where):
    with pytest.raises(ValueError, match="'where' "):
        Filters(where=where)


def test_wrong_rules_are_named(ranker):
    for rules, message in (
        ({"where": "prize < 3"}, "no column 'prize'; its columns are price, in_stock"),
        ({"where": "author < 3"}, "'where' cannot be evaluated.* hold text: author"),
        ({"where": "author"}, "'where' must be true or false for each item"),
        ({"where": "price + 1"}, "'where' must be true or false for each item"),
        ({"max_per": {"writer": 1}}, "no column 'writer'"),
    ):
        with pytest.raises(ValueError, match=message):
            ranker.recommend(3, filters=Filters(**rules))
    with pytest.raises(KeyError, match="Unknown item 'x'"):
        ranker.recommend(3, filters=Filters(deny=["x"]))
    for rules, message in (
        ({"max_per": {"author": 0}}, "'max_per' must be a whole number of at least 1 for 'author'"),
        ({"max_per": ["author"]}, "'max_per' must be numbers by column"),
        ({"diversity": 1.5}, "'diversity' must be a number from 0 to 1, got 1.5"),
        ({"diversity": float("nan")}, "'diversity' must be a number"),
        ({"allow": "i1"}, "'allow' must be a list of item ids, got 'i1'"),
    ):
        with pytest.raises(ValueError, match=message):
            Filters(**rules)
    ranker.item_table = pd.concat([ranker.item_table, ranker.item_table[:1]])
    with pytest.raises(ValueError, match="one row an item, got 'i0' more than once"):
        ranker.recommend(3, filters=Filters(where="price < 3"))
    ranker.item_table = pd.DataFrame({"tags": [["a"]] * 9}, index=IDS)
    with pytest.raises(ValueError, match="the column 'tags' holds lists"):
        ranker.recommend(3, filters=Filters(max_per={"tags": 1}))
    ranker.item_table = pd.DataFrame({"price": [1]}, index=[0])
    with pytest.raises(ValueError, match=r"no row of any item: its index holds 0, items .* 'i0'"):
        ranker.recommend(3, filters=Filters(where="price < 3"))
    for ask in (ranker.recommend, ranker.similar):
        with pytest.raises(TypeError, match="'filters' must be Filters"):
            ask("i3" if ask == ranker.similar else 3, filters={"deny": ["i1"]})
    ranker.item_table = None
    with pytest.raises(ValueError, match=r"'where' asks .* set 'ranker\.item_table'"):
        ranker.recommend(3, filters=Filters(where="price < 3"))


def test_at_most_so_many_of_a_group_however_deep_the_list_must_go():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 50, (3, 900), generator=generator).float()
    scores[:, :600] += 100  # the best 600 are of one author
    ranker = Few(scores, torch.tensor([[0, 1], [0, 700]]))
    author = np.array([0] * 600 + list(range(1, 151)) * 2, dtype=object)
    author[-20:] = None  # items of nobody are not limited
    ranker.item_table = pd.DataFrame({"author": author})
    table = ranker.recommend(k=30, filters=Filters(max_per={"author": 2}))
    for user in range(3):
        hidden = {0: {0}, 1: {700}, 2: set()}[user]
        expected, count = [], {}
        for item in sorted(range(900), key=lambda i: (-float(scores[user, i]), i)):
            name = author[item]
            if item in hidden or (name is not None and count.get(name, 0) == 2):
                continue
            count[name] = count.get(name, 0) + 1
            expected.append(item)
        assert table[table["user"] == user]["item"].tolist() == expected[:30]


@pytest.mark.parametrize("diversity", [0.3, 0.7, 1.0])
def test_diverse_lists_are_those_of_maximal_marginal_relevance(tiny_data, diversity):
    ranker = TextMean(tiny_data)
    scores = ranker.score(torch.tensor([4]))[0].double().numpy()
    unit = ranker.items.double().numpy()
    scaled = (scores - scores.min()) / (scores.max() - scores.min())
    expected = [int(scores.argmax())]
    while len(expected) < 5:
        worth = {
            item: (1 - diversity) * scaled[item]
            - diversity * max(unit[item] @ unit[other] for other in expected)
            for item in range(9)
            if item not in expected
        }
        expected.append(max(worth, key=worth.get))
    table = ranker.recommend(4, k=5, exclude=None, filters=Filters(diversity=diversity))
    assert items(table) == expected
    np.testing.assert_allclose(table["score"], scores[expected], rtol=1e-5)


def test_every_kind_of_similarity_makes_lists_diverse(tiny_data):
    parts = EASE(tiny_data), GFCF(tiny_data, rank=3), ItemKNN(tiny_data), TextMean(tiny_data)
    for ranker in (*parts, Blend(*parts)):
        plain = ranker.recommend(k=4, exclude="train")
        diverse = ranker.recommend(k=4, exclude="train", filters=Filters(diversity=0.9))
        assert diverse.groupby("user")["item"].nunique().eq(4).all()
        assert plain[plain["rank"] == 1].equals(
            diverse[diverse["rank"] == 1].set_index(plain[plain["rank"] == 1].index)
        )
        assert items(plain) != items(diverse)
