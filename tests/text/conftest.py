"""A data set of a few users and items, and its tables."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch_geometric.data import HeteroData

from irllrec_pyg.text import ChatSettings, Endpoint, RunSettings, TextPipeline, TrainingTexts
from tests.text.stub import StubServer

NUM_USERS, NUM_ITEMS = 12, 9


def make_data(num_users: int = NUM_USERS, num_items: int = NUM_ITEMS, seed: int = 0) -> HeteroData:
    """Every user has three training items and one item in each of validation and test."""
    rng = np.random.default_rng(seed)
    chosen = np.stack([rng.permutation(num_items)[:5] for _ in range(num_users)])
    user = np.arange(num_users)
    train = np.stack([np.repeat(user, 3), np.sort(chosen[:, :3], axis=1).reshape(-1)])
    data = HeteroData()
    data.name = "tiny"
    data["user"].num_nodes, data["item"].num_nodes = num_users, num_items
    edges = data["user", "rates", "item"]
    edges.edge_index = torch.from_numpy(train)
    edges.val_edge_label_index = torch.from_numpy(np.stack([user, chosen[:, 3]]))
    edges.edge_label_index = torch.from_numpy(np.stack([user, chosen[:, 4]]))
    data["item", "rated_by", "user"].edge_index = edges.edge_index.flip(0)
    data["user"].raw_id = [f"u{n}" for n in range(num_users)]
    data["item"].raw_id = [100 + n for n in range(num_items)]
    return data


def make_items(num_items: int = NUM_ITEMS) -> pd.DataFrame:
    """Titles and genres; every third item has a description."""
    return pd.DataFrame(
        {
            "item": [100 + n for n in range(num_items)],
            "title": [f"Title {n}" for n in range(num_items)],
            "genre": [("drama", "comedy", "horror")[n % 3] for n in range(num_items)],
            "description": [
                f"The description of number {n}." if n % 3 == 0 else None for n in range(num_items)
            ],
        }
    )


def reviews_of(data: HeteroData, field: str, text: str) -> pd.DataFrame:
    """One review for each pair of a split."""
    pairs = data["user", "rates", "item"][field]
    return pd.DataFrame(
        [
            {
                "user": data["user"].raw_id[u],
                "item": data["item"].raw_id[i],
                "review": f"{text} {u} {i}",
            }
            for u, i in pairs.t().tolist()
        ]
    )


def chat_settings(url: str, **arguments: Any) -> ChatSettings:
    return ChatSettings("stub-model", Endpoint(url, timeout=60.0), **arguments)


def records(folder: Path, step: str = "item_profile") -> dict[int, dict[str, Any]]:
    """What a folder holds of a step, as another program would read it."""
    with closing(sqlite3.connect(folder / "texts.sqlite")) as file:
        rows = file.execute(
            "SELECT node, body FROM nodes JOIN answers USING (key) WHERE step = ?", (step,)
        )
        return {node: json.loads(body) for node, body in rows}


@pytest.fixture
def data() -> HeteroData:
    return make_data()


@pytest.fixture
def source(data: HeteroData) -> TrainingTexts:
    return TrainingTexts(data, make_items(), reviews_of(data, "edge_index", "Loved it"))


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.fixture
def pipeline(source: TrainingTexts, stub: StubServer, tmp_path: Path) -> TextPipeline:
    return TextPipeline(
        source,
        tmp_path / "texts",
        chat_settings(stub.url),
        run=RunSettings(concurrency=4, retries=2, backoff=0.01),
    )
