"""A small shop behind a server."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx2")

from fastapi.testclient import TestClient

from irllrec_pyg import save_folder
from irllrec_pyg.linear import EASE, L3AE, TextMean
from irllrec_pyg.ranking import Blend
from irllrec_pyg.serving import create_app


def encode(texts):
    """Vectors of texts as wide as those of the tiny data set, the same for the same text."""
    rows = [np.frombuffer(text.encode().ljust(6, b" ")[:6], np.uint8) for text in texts]
    return np.stack(rows).astype(np.float32) / 256 - 0.3


@pytest.fixture
def shop(tiny_data):
    """The tiny data set with ids of text."""
    tiny_data["item"].raw_id = [f"00{at}" if at % 3 else f"é{at}" for at in range(9)]
    tiny_data["user"].raw_id = [f"u{at}" for at in range(12)]
    return tiny_data


@pytest.fixture
def items(shop):
    """A table of its items."""
    return pd.DataFrame(
        {
            "item": shop["item"].raw_id,
            "title": [f"title {at}" for at in range(9)],
            "author": list("aabbccdde"),
            "price": range(9),
        }
    )


@pytest.fixture
def ease(shop, items):
    """EASE with the table."""
    ranker = EASE(shop)
    ranker.item_table = items.set_index("item")
    return ranker


@pytest.fixture
def blend(shop, items):
    """A blend that takes new items, with an encoder."""
    ranker = Blend(L3AE(shop), TextMean(shop))
    ranker.item_table, ranker.text_encoder = items.set_index("item"), encode
    return ranker


@pytest.fixture
def folder(ease, tmp_path):
    """EASE in a folder."""
    return save_folder(ease, tmp_path / "run")


@pytest.fixture
def ask():
    """A function that posts to an application and gives status and answer."""
    clients = []

    def client_of(source, limits=None, index=False):
        client = TestClient(create_app(source, limits, index), raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        return client

    yield client_of
    for client in clients:
        client.__exit__(None, None, None)
