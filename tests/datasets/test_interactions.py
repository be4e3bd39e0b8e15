from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg.datasets import from_interactions
from irllrec_pyg.loader import triplet_loader

RATES = ("user", "rates", "item")
SPLITS = ("edge_index", "val_edge_label_index", "edge_label_index")


def _table(num_users=30, num_items=40, seed=0):
    r"""Users with 1 to 25 interactions, some twice; the owner's ids, a time a row."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(num_users):
        for item in rng.choice(num_items, size=1 + user % 25, replace=False):
            rows += [(f"u{user}", 1000 - int(item))] * (1 + int(item % 5 == 0))
    df = pd.DataFrame(rows, columns=["who", "what"]).sample(frac=1, random_state=seed)
    df["when"] = rng.permutation(len(df))
    return df.reset_index(drop=True)


def _pairs(data):
    r"""For each split its pairs in the owner's ids."""
    users = data["user"].get("raw_id", range(10**6))
    items = data["item"].get("raw_id", range(10**6))
    return [{(users[u], items[i]) for u, i in data[RATES][key].t().tolist()} for key in SPLITS]


@pytest.mark.parametrize("time", [None, "when"])
@pytest.mark.parametrize("split", [(0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (0.5, 0.5, 0), (1, 0, 0)])
def test_splits(time, split):
    df = _table()
    data = from_interactions(df, user="who", item="what", time=time, split=split)
    assert data.validate()
    assert data["user"].raw_id == sorted(set(df.who))
    assert data["item"].raw_id == sorted(set(df.what))
    parts = _pairs(data)
    assert set.union(*parts) == set(zip(df.who, df.what, strict=True))
    assert sum(map(len, parts)) == len(df.drop_duplicates(["who", "what"]))
    for key in SPLITS:
        pairs = data[RATES][key].t().tolist()
        assert pairs == sorted(pairs)
    for user, group in df.drop_duplicates(["who", "what"]).groupby("who"):
        sizes = [sum(owner == user for owner, _ in part) for part in parts]
        assert sizes[0] >= 1
        for size, share in zip(sizes, split, strict=True):
            assert abs(size - share * len(group)) < 2
    reverse = data["item", "rated_by", "user"].edge_index
    assert torch.equal(reverse, data[RATES].edge_index.flip([0]))


def test_shares_hold_overall():
    df = pd.DataFrame({"u": np.repeat(np.arange(3000), 4), "i": np.tile(np.arange(4), 3000)})
    data = from_interactions(df, "u", "i")
    sizes = np.array([data[RATES][key].size(1) for key in SPLITS])
    assert np.abs(sizes / len(df) - [0.6, 0.2, 0.2]).max() < 0.02


def test_time_orders_the_splits():
    df = _table()
    df["when"] = [datetime.fromtimestamp(86400 * int(t)) for t in df.when]
    data = from_interactions(df, user="who", item="what", time="when")
    first = df.groupby(["who", "what"]).when.min()  # of a pair seen twice
    parts = _pairs(data)
    for user in set(df.who):
        times = [[first[pair] for pair in part if pair[0] == user] for part in parts]
        for early, late in ((0, 1), (0, 2), (1, 2)):
            if times[early] and times[late]:
                assert max(times[early]) < min(times[late])


def test_seed_decides_and_order_of_rows_does_not():
    df = _table()
    one = _pairs(from_interactions(df, user="who", item="what", seed=1))
    assert one == _pairs(from_interactions(df, user="who", item="what", seed=1))
    assert one != _pairs(from_interactions(df, user="who", item="what", seed=2))
    shuffled = df.sample(frac=1, random_state=9)
    assert one == _pairs(from_interactions(shuffled, user="who", item="what", seed=1))


@pytest.mark.parametrize("value", [2**63, 1e300])
def test_integers_beyond_64_bits_are_no_ids(value):
    with pytest.raises(ValueError, match="integers must fit into 64 bits: use text"):
        from_interactions(pd.DataFrame({"u": [value, 2.0], "i": [1, 2]}), "u", "i")


def test_plain_ids_need_no_map():
    df = pd.DataFrame({"u": [1, 0, 2], "i": [0.0, 1.0, 1.0]})
    data = from_interactions(df, "u", "i", split=(1, 0, 0))
    assert "raw_id" not in data["user"]
    assert "raw_id" not in data["item"]
    assert data[RATES].edge_index.t().tolist() == [[0, 1], [1, 0], [2, 1]]


def test_integers_and_strings_stay_apart():
    df = pd.DataFrame({"u": [1, "1", 0], "i": ["a", "a", "b"]})
    data = from_interactions(df, "u", "i")
    assert data["user"].raw_id == [0, 1, "1"]
    assert [type(value) for value in data["user"].raw_id] == [int, int, str]


def test_embeddings_and_nodes_without_interaction():
    df = pd.DataFrame({"u": ["b", "a"], "i": [5, 7]})
    users = {"c": [3.0, 3], "a": [1.0, 1], "b": [2.0, 2]}
    items = pd.DataFrame({"p": [7.0, 5, 6], "q": [0.5, 0, 0]}, index=[7, 5, 6], dtype=np.float16)
    data = from_interactions(df, "u", "i", x=(users, items))
    assert data["user"].raw_id == ["a", "b", "c"]
    assert data["item"].raw_id == [5, 6, 7]
    assert data["user"].x.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert data["user"].x.dtype == torch.float32
    assert data["item"].x.tolist() == [[5, 0], [6, 0], [7, 0.5]]
    assert data["item"].x.dtype == torch.float32
    assert list(data.missing) == ["intent"]
    assert "pass intent=" in data.missing["intent"]
    arrays = {key: np.array(row) for key, row in users.items()}
    both = from_interactions(df, "u", "i", x=(users, items), intent=(arrays, items))
    assert both["user"].intent.dtype == torch.float32
    assert "missing" not in both


def test_trains_with_the_loader():
    data = from_interactions(_table(), user="who", item="what")
    batch = next(iter(triplet_loader(data, batch_size=16)))
    assert batch["user"].n_id[batch["user"].src_index].shape == (16,)


DF = pd.DataFrame({"u": ["a", "b", "a"], "i": [1, 2, 2], "t": [1.0, 2, 3]}, index=[10, 11, 12])
VECTORS = ({"a": [1.0], "b": [2.0]}, {1: [1.0], 2: [1.0]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user": "who"}, r"no column 'who'; its columns are \['u', 'i', 't'\]"),
        ({"time": "when"}, "no column 'when'"),
        ({"df": DF[:0]}, "no row"),
        ({"df": DF.assign(i=[1, None, 2])}, r"row 11: column 'i' is empty \(1 such"),
        ({"df": DF.assign(u=["a", "b", None])}, "row 12: column 'u' is empty"),
        ({"df": DF.assign(t=[1, np.nan, 2]), "time": "t"}, "row 11: column 't' is empty"),
        ({"df": DF.assign(i=[1.5, 2, 3])}, r"column 'i' has the id 1\.5 of type float"),
        ({"df": DF.assign(u=[True, False, True])}, "id True of type bool"),
        ({"df": DF.assign(u=[(1,), (2,), (1,)])}, r"id \(1,\) of type tuple"),
        ({"kind": "global"}, "'kind' must be one of random, time, .* got 'global'"),
        ({"kind": "time-global"}, "with a column 'time', got 'time-global' and time=None"),
        ({"x": (VECTORS[0], None)}, "x must be a pair"),
        ({"split": (0.5, 0.2, 0.2)}, "with sum 1"),
        ({"split": (0, 0.5, 0.5)}, "the first not 0"),
        ({"split": (1.2, -0.1, -0.1)}, "none negative"),
        ({"split": (0.8, 0.2)}, "shares of training, validation and test"),
        ({"x": VECTORS[0]}, "x must be a pair"),
        ({"x": ({"a": [1.0]}, VECTORS[1])}, "x, user: no vector for 1 ids: 'b'"),
        ({"intent": (VECTORS[0], {7: [1.0]})}, "intent, item: no vector for 2 ids: 1, 2"),
        ({"x": (VECTORS[0], {1: [1.0], 2: [np.nan]})}, "x, item 2: .*NaN"),
        ({"x": ({"a": [1.0], "b": [1.0, 2]}, VECTORS[1])}, r"x, user 'b' has a vector of shape"),
        ({"x": ({"a": ["z"], "b": ["y"]}, VECTORS[1])}, "x, user: expected vectors of floats"),
        (
            {"x": (VECTORS[0], pd.DataFrame({"p": [1.0, 2, 3]}, index=[1, 2, 1]))},
            "x, item 1 has more than one vector",
        ),
    ],
)
def test_errors_name_the_place(change, message):
    with pytest.raises(ValueError, match=message):
        from_interactions(**{"df": DF, "user": "u", "item": "i", **change})


def test_ids_of_one_embedding_are_asked_of_the_other():
    more = {**VECTORS[0], "new": [1.0]}
    with pytest.raises(ValueError, match="intent, user: no vector for 1 ids: 'new'"):
        from_interactions(DF, "u", "i", x=(more, VECTORS[1]), intent=VECTORS)


def _order_of(times):
    r"""The items of one user in the order of their splits: one each."""
    df = pd.DataFrame({"u": 0, "i": np.arange(len(times)), "t": times})
    data = from_interactions(df, "u", "i", time="t", split=(1 / 3, 1 / 3, 1 / 3))
    return [data[RATES][key][1].item() for key in SPLITS]


EAST = timezone(timedelta(hours=9))


@pytest.mark.parametrize(
    "times",  # the earliest last, the latest in the middle
    [
        ["7", "10", "-3"],
        ["7.5", "1e1", " 7 "],
        ["20230105", "20230501", "20221231"],
        [7, 2**60 + 1, 6.5],
        [2**60, 2**60 + 1, 2.0**59],
        ["2023-01-05", "2023-05-01", "2022-12-31"],
        ["2023-01-05", "2023-01-05T00:01", "2023-01-04 23:59:59.5"],
        ["2023-01-05T09:00:00+09:00", "2023-01-05T00:00:01Z", "2023-01-05T08:59:59+0900"],
        [date(2023, 1, 5), datetime(2023, 1, 5, 1), np.datetime64("2022-01-01")],
        [
            datetime(2023, 1, 5, 9, tzinfo=EAST),
            datetime(2023, 1, 5, 0, 1, tzinfo=UTC),
            pd.Timestamp("2023-01-04", tz="UTC"),
        ],
        pd.to_datetime(["2023-01-05", "2023-05-01", "2022-12-31"]),
        pd.to_datetime(["2023-01-05", "2023-05-01", "2022-12-31"]).tz_localize("Asia/Tokyo"),
        pd.Categorical(["7", "10", "-3"]),
        pd.array([7, 10, 3], dtype="Int64"),
        np.array([7, 10, 3], np.uint8),
    ],
    ids=lambda times: str(times[1]),
)
def test_times_of_every_kind_are_ordered(times):
    assert _order_of(times) == [2, 0, 1]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["05.01.2023", "01.05.2023", "31.12.2022"], r"row 0: .* ISO 8601 text, got '05\.01"),
        (["2023-01-05", "05.01.2023", "2022-12-31"], r"row 1: .*got '05\.01\.2023'"),
        (["01/05/2023"] * 3, r"row 0: .*pd\.to_datetime\(df\['t'\], format=…\)"),
        (["2023-01-05", "2023-13-45", "2022-12-31"], "row 1: .* exist, got '2023-13-45'"),
        (["7", "10", "2022-12-31"], r"row 2: column 't' must be a number like row 0 \('7'\)"),
        (["7", "10", "soon"], "row 2: .* got 'soon'"),
        (["7", "10", "nan"], "row 2: .* got 'nan'"),
        (["7", "10", ""], "row 2: .* got ''"),
        ([7, 10, datetime(2023, 1, 1)], "row 2: .* must be a number"),
        ([datetime(2023, 1, 1), datetime(2023, 1, 2, tzinfo=UTC)] * 2, "row 1: .* without a time"),
        (["2023-01-05T09:00Z", "2023-01-05T09:00", "2023-01-06T09:00Z"], "row 1: .* with a time"),
        ([True, False, True], "row 0: .* got True"),
        ([pd.Timestamp(0), pd.NaT, pd.Timestamp(1)], "row 1: column 't' is empty"),
        ([1.0, 2.0, np.nan], "row 2: column 't' is empty"),
        ([timedelta(1), timedelta(2)], "row 0: .* must be a number, a date"),
    ],
)
def test_times_that_cannot_be_read_are_named(times, message):
    df = pd.DataFrame({"u": 0, "i": np.arange(len(times))})
    df["t"] = pd.Series(times, dtype=object)
    with pytest.raises(ValueError, match=message):
        from_interactions(df, "u", "i", time="t")


@pytest.mark.parametrize("split", [(0.6, 0.2, 0.2), (0.5, 0, 0.5), (0.7, 0.3, 0), (1, 0, 0)])
@pytest.mark.parametrize("moments", [5, 1000])
def test_one_cut_off_for_all_users_equals_a_naive_loop(split, moments):
    df = _table()
    df["when"] = np.random.default_rng(1).integers(0, moments, len(df))
    data = from_interactions(
        df, user="who", item="what", time="when", split=split, kind="time-global"
    )
    first = {}
    for who, what, when in zip(df.who, df.what, df.when, strict=True):
        first[who, what] = min(when, first.get((who, what), when))
    times = sorted(first.values())
    cuts = [
        times[max(0, -int(-round(share * len(times), 6) // 1) - 1)]
        for share in (split[0], split[0] + split[1])
    ]
    expected = [set(), set(), set()]
    for pair, when in first.items():
        expected[0 if when <= cuts[0] else 1 if when <= cuts[1] else 2].add(pair)
    assert _pairs(data) == expected
    shuffled = df.sample(frac=1, random_state=3)
    again = from_interactions(
        shuffled, user="who", item="what", time="when", split=split, seed=9, kind="time-global"
    )
    assert _pairs(again) == expected


def test_newcomers_after_the_cut_off_are_nodes_without_training():
    df = pd.DataFrame({"u": ["a", "a", "b", "new"], "i": ["p", "q", "p", "fresh"], "t": range(4)})
    data = from_interactions(df, "u", "i", time="t", split=(0.75, 0, 0.25), kind="time-global")
    assert data["user"].raw_id == ["a", "b", "new"]
    assert _pairs(data) == [{("a", "p"), ("a", "q"), ("b", "p")}, set(), {("new", "fresh")}]
    assert data.validate()
    assert next(iter(triplet_loader(data, batch_size=2)))["user"].n_id.numel()


def test_items_alone_may_have_texts():
    data = from_interactions(DF, "u", "i", x=(None, VECTORS[1]), intent=VECTORS)
    assert "x" not in data["user"]
    assert data["item"].x.tolist() == [[1], [1]]
    assert list(data.missing) == ["x"]
    assert "no 'x' embeddings of users: pass x=" in data.missing["x"]
    assert "The mean of the embeddings" in data.missing["x"]
