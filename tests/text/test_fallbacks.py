"""No node is dropped: texts from attributes, then means of neighbours."""

from pathlib import Path

import numpy as np
import pytest
from torch_geometric.data import HeteroData

from irllrec_pyg.text import Embedder, RunSettings, TextPipeline, TrainingTexts
from irllrec_pyg.text.fallbacks import fallback_text, fill_missing
from irllrec_pyg.text.source import Side
from tests.text.conftest import NUM_ITEMS, NUM_USERS, chat_settings, make_items
from tests.text.stub import StubServer


class Lengths:
    """A text's embedding is made of its length: anybody can compute it."""

    name = "lengths"

    def encode(self, texts: list[str]) -> list[list[float]]:
        return [[len(text), 1.0] for text in texts]


def silent(items: object, *nodes: int) -> object:
    items.loc[list(nodes), ["title", "genre", "description"]] = None  # type: ignore[attr-defined]
    return items


def test_text_from_attributes(source: TrainingTexts) -> None:
    assert fallback_text(source, "item_profile", 1) == "Title 1. genre: comedy"
    text = fallback_text(source, "user_intent", 0)
    assert text.startswith("likes ")
    for item in source.items_of(0):
        assert f"Title {item}" in text
        assert source.attributes[item]["genre"] in text


def test_neighbours_stand_in_as_a_naive_loop_has_it(data: HeteroData) -> None:
    source = TrainingTexts(data, make_items())
    rng = np.random.default_rng(0)
    vectors: dict[Side, np.ndarray] = {
        "user": rng.random((NUM_USERS, 4), np.float32),
        "item": rng.random((NUM_ITEMS, 4), np.float32),
    }
    before = {side: rows.copy() for side, rows in vectors.items()}
    origins = {
        "user": [None if n % 4 == 0 else "model" for n in range(NUM_USERS)],
        "item": [None if n == 2 else "model" for n in range(NUM_ITEMS)],
    }
    fill_missing(source, vectors, origins)  # type: ignore[arg-type]
    pairs = data["user", "rates", "item"].edge_index.t().tolist()
    fans = [u for u, i in pairs if i == 2 and u % 4]
    item = np.mean([before["user"][u] for u in fans], axis=0)
    np.testing.assert_allclose(vectors["item"][2], item, rtol=1e-6)
    for user in range(0, NUM_USERS, 4):
        rows = [item if i == 2 else before["item"][i] for u, i in pairs if u == user]
        np.testing.assert_allclose(vectors["user"][user], np.mean(rows, axis=0), rtol=1e-6)
        assert origins["user"][user] == "neighbours"


def test_a_node_that_nothing_reaches_takes_the_mean_of_its_side(data: HeteroData) -> None:
    data["item"].num_nodes = NUM_ITEMS + 1
    data["item"].raw_id = [100 + n for n in range(NUM_ITEMS + 1)]
    source = TrainingTexts(data, make_items())
    vectors: dict[Side, np.ndarray] = {
        "user": np.ones((NUM_USERS, 2), np.float32),
        "item": np.arange(20, dtype=np.float32).reshape(10, 2),
    }
    origins = {"user": ["model"] * NUM_USERS, "item": ["model"] * NUM_ITEMS + [None]}
    fill_missing(source, vectors, origins)  # type: ignore[arg-type]
    np.testing.assert_allclose(vectors["item"][9], vectors["item"][:9].mean(axis=0))
    assert origins["item"][9] == "mean"


def test_nothing_at_all_is_an_error(data: HeteroData, tmp_path: Path) -> None:
    source = TrainingTexts(data, silent(make_items(), *range(NUM_ITEMS)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="No user and no item has a text"):
        Embedder(TextPipeline(source, tmp_path), Lengths(), progress=False).embed()


def test_failures_and_silent_nodes_are_reported_and_embedded(
    data: HeteroData, stub: StubServer, tmp_path: Path
) -> None:
    source = TrainingTexts(data, silent(make_items(), 4))  # type: ignore[arg-type]
    pipeline = TextPipeline(
        source, tmp_path / "t", chat_settings(stub.url), run=RunSettings(repairs=0)
    )
    complete = stub.complete

    def failing(body: dict) -> dict:  # type: ignore[type-arg]
        answer = complete(body)
        if body["messages"][1]["content"].startswith("Title: Title 7"):
            answer["choices"][0]["message"]["content"] = "no"
        return answer

    stub.complete = failing  # type: ignore[method-assign]
    for step in ("item_profile", "user_profile", "item_intent", "user_intent"):
        pipeline.run_step(step, progress=False)
    assert pipeline.kinds("item_profile")[4] == "no_text"
    assert [(step, raw) for step, raw, _ in pipeline.failures()] == [
        ("item_profile", 107),
        ("item_intent", 107),
    ]
    embedder = Embedder(pipeline, Lengths(), normalize=False, progress=False)
    vectors = embedder.embed()["x"]["item"]
    origins = embedder.origins["x"]["item"]
    assert origins == ["model"] * 4 + ["neighbours"] + ["model"] * 2 + ["attributes", "model"]
    assert vectors[7].tolist() == [len(fallback_text(source, "item_profile", 7)), 1.0]
    assert embedder.counts()["x of items"] == {"model": 7, "neighbours": 1, "attributes": 1}
    # A failure for good is not asked for again, unless it is wished.
    asked = sum(stub.asked.values())
    pipeline.run_step("item_profile", progress=False)
    assert sum(stub.asked.values()) == asked
    stub.complete = complete  # type: ignore[method-assign]
    pipeline.run_step("item_profile", retry_failed=True, progress=False)
    assert [step for step, _, _ in pipeline.failures()] == ["item_intent"]
    assert sum(stub.asked.values()) == asked + 1


def test_without_a_model_all_texts_are_made_from_attributes(
    source: TrainingTexts, tmp_path: Path
) -> None:
    embedder = Embedder(TextPipeline(source, tmp_path / "t"), Lengths(), progress=False)
    embedder.embed()
    assert embedder.counts()["intent of users"] == {"attributes": NUM_USERS}
