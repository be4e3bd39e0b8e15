"""Leakage: nothing outside the training split reaches a prompt, a journal or a file."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch_geometric.data import HeteroData

from irllrec_pyg.text import (
    STEPS,
    Embedder,
    EndpointEncoder,
    LeakageError,
    TextPipeline,
    TrainingTexts,
    write_manifest,
)
from irllrec_pyg.text.source import split_hash
from tests.text.conftest import chat_settings, make_data, make_items, reviews_of
from tests.text.stub import StubServer

CANARY = "xylophone-canary"


def with_canary(data: HeteroData) -> tuple[HeteroData, pd.DataFrame, pd.DataFrame, int]:
    """Titles the test item of user 0, and begins all held-out reviews, with the canary."""
    edges = data["user", "rates", "item"]
    held = int(edges.edge_label_index[1, 0])
    items = make_items()
    items.loc[held, "title"] = CANARY
    reviews = pd.concat(
        [
            reviews_of(data, "edge_index", "Loved it"),
            reviews_of(data, "val_edge_label_index", CANARY),
            reviews_of(data, "edge_label_index", CANARY),
        ]
    )
    return data, items, reviews, held


def test_a_review_outside_training_is_refused(data: HeteroData) -> None:
    data, items, reviews, _ = with_canary(data)
    with pytest.raises(LeakageError, match=r"Row 36 .*'u0'"):
        TrainingTexts(data, items, reviews)


@pytest.mark.parametrize("stranger", [{"user": "u999", "item": 100}, {"user": "u0", "item": 999}])
def test_a_review_by_or_of_a_stranger_is_refused(
    stranger: dict[str, object], data: HeteroData
) -> None:
    with pytest.raises(LeakageError, match="Row 0"):
        TrainingTexts(data, make_items(), pd.DataFrame([stranger | {"review": "x"}]))


def test_canary_of_the_test_rows_is_nowhere(
    data: HeteroData, stub: StubServer, tmp_path: Path
) -> None:
    data, items, reviews, held = with_canary(data)
    source = TrainingTexts(data, items, reviews, outside="drop")
    assert source.dropped_reviews == 24
    pipeline = TextPipeline(source, tmp_path / "texts", chat_settings(stub.url))
    for step in STEPS:
        pipeline.run_step(step, progress=False)
    embedder = Embedder(
        pipeline, EndpointEncoder("e", pipeline.chat["item_profile"].endpoint), progress=False
    )
    write_manifest(pipeline, embedder, embedder.write(data))

    # The title of an item is the item's own text, and that of the users who trained on it; it is
    # in no prompt of a user who has it in the test split only.
    fans = {int(user) for user in source.neighbours("item", held)}
    assert 0 not in fans
    sent = [json.dumps(body["messages"]) for body in stub.bodies]
    seen = [text for text in sent if CANARY in text]
    assert len(seen) == 2 + 2 * len(fans)
    assert not [
        text
        for text in seen
        if "has chosen" in text and not any(f"Loved it {user} " in text for user in fans)
    ]
    # The held-out reviews are nowhere at all.
    for user, item in data["user", "rates", "item"].edge_label_index.t().tolist():
        assert not [text for text in sent if f"{CANARY} {user} {item}" in text]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert f"{CANARY} ".encode() not in path.read_bytes().replace(
                b"Title: " + CANARY.encode(), b""
            ), path


def test_user_prompts_hold_training_items_only(
    data: HeteroData, source: TrainingTexts, stub: StubServer, tmp_path: Path
) -> None:
    pipeline = TextPipeline(source, tmp_path / "t", chat_settings(stub.url))
    for user in range(source.num_users):
        for step in ("user_profile", "user_intent"):
            request = pipeline.request(step, user, lambda step, node: "")
            assert request is not None
            named = {
                item
                for item in range(source.num_items)
                if f"Title {item}\n" in request.messages[1]["content"] + "\n"
            }
            assert named == set(source.items_of(user).tolist())


def test_a_pair_in_two_splits_counts_as_held_out(data: HeteroData) -> None:
    edges = data["user", "rates", "item"]
    pair = edges.edge_index[:, :1]
    edges.edge_label_index = torch.cat([edges.edge_label_index, pair], dim=1)
    source = TrainingTexts(data, make_items())
    assert source.held_out_twice == 1
    assert int(pair[1]) not in source.items_of(int(pair[0])).tolist()
    assert int(pair[0]) not in source.neighbours("item", int(pair[1])).tolist()


def test_neighbours_equal_a_naive_loop(data: HeteroData, source: TrainingTexts) -> None:
    pairs = data["user", "rates", "item"].edge_index.t().tolist()
    for user in range(source.num_users):
        assert source.items_of(user).tolist() == sorted(i for u, i in pairs if u == user)
    for item in range(source.num_items):
        assert source.neighbours("item", item).tolist() == sorted(u for u, i in pairs if i == item)


def test_split_hash_knows_the_splits_and_not_their_order() -> None:
    data, same, other = make_data(), make_data(), make_data()
    edges = same["user", "rates", "item"]
    edges.edge_index = edges.edge_index.flip(1)
    assert split_hash(data) == split_hash(same)
    edges = other["user", "rates", "item"]
    edges.val_edge_label_index, edges.edge_label_index = (
        edges.edge_label_index,
        edges.val_edge_label_index,
    )
    assert split_hash(data) != split_hash(other)


def test_cells_may_be_empty_and_columns_whole_numbers(data: HeteroData) -> None:
    items = make_items()
    items["year"] = [1994.0, None, *[2000.0] * 7]
    source = TrainingTexts(data, items)
    assert source.attributes[0] == {"genre": "drama", "year": "1994"}
    assert source.attributes[1] == {"genre": "comedy"}
    assert source.descriptions[1] == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="item"), "no column 'item'"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "lists item 100 twice, in rows 0 and 9"),
        (lambda t: t.assign(item=t["item"] + 5000), "No id in column 'item'"),
    ],
)
def test_tables_that_cannot_be_used(change: object, message: str, data: HeteroData) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingTexts(data, change(make_items()))  # type: ignore[operator]


def test_ids_are_text_and_a_gap_in_their_column_changes_none(data: HeteroData) -> None:
    items = pd.concat([make_items(), pd.DataFrame([{"item": None, "title": "nobody's"}])])
    items["item"] = items["item"].astype(float)
    source = TrainingTexts(data, items)
    assert source.titles == [f"Title {number}" for number in range(source.num_items)]
    assert source.unknown_items == 1
    data["item"].raw_id = [f"{number:05}" for number in range(source.num_items)]
    padded = make_items().assign(item=data["item"].raw_id)
    assert TrainingTexts(data, padded).titles == source.titles
    with pytest.raises(ValueError, match="No id in column 'item'"):
        TrainingTexts(data, make_items().assign(item=range(100, 100 + source.num_items)))
