"""A server of a run on a folder of tables, with the encoder of its texts."""

import argparse

import pandas as pd
import pytest

from irllrec_pyg import TableDataset, save_folder
from irllrec_pyg.commands.common import load
from irllrec_pyg.linear import TextMean

pytest.importorskip("wordllama")


def test_new_items_of_a_shop_are_embedded_as_its_own_are(tmp_path, ask):
    shop = tmp_path / "data" / "shop"
    shop.mkdir(parents=True)
    subjects = ["pasta sauce", "space rocket"]
    pairs = [(f"u{u}", f"00{i}") for u in range(8) for i in range(8) if (u + i) % 2 == 0]
    pd.DataFrame(pairs, columns=["user", "item"]).to_csv(shop / "interactions.csv", index=False)
    items = pd.DataFrame(
        [(f"00{i}", f"{subjects[i % 2]} {i}", i) for i in range(8)],
        columns=["item", "title", "price"],
    )
    items.to_csv(shop / "items.csv", index=False)
    data = {"root": str(tmp_path / "data"), "name": "shop", "k_core": 1}
    dataset = TableDataset(**data)
    run = save_folder(TextMean(dataset[0]), tmp_path / "run", dataset.items, {"data": data})
    arguments = argparse.Namespace(with_data=True, data=None)
    client = ask(lambda: load(str(run), arguments))
    assert client.get("/health").json()["takes_new_items"] is True
    new = [
        {"item": "new", "title": "tomato sauce for pasta"},
        {"item": "other", "title": "a rocket to the moon", "price": 3},
    ]
    assert client.post("/items", json={"items": new}).json()["items"] == 10
    answer = client.post("/similar", json={"items": ["new", "other"], "k": 3}).json()
    for one, even in zip(answer["lists"], (True, False), strict=True):
        assert all((int(row["id"]) % 2 == 0) is even for row in one["similar"]), one
    body = {"users": ["u0"], "filters": {"where": "price == 3"}, "exclude": "none"}
    lists = client.post("/recommend", json=body).json()["lists"]
    assert {row["id"] for row in lists[0]["items"]} == {"003", "other"}
    for row in ({"item": "empty"}, {"item": "none", "title": None}, {"item": "x", "title": "  "}):
        answer = client.post("/items", json={"items": [{"item": "y", "title": "pasta"}, row]})
        assert answer.status_code == 422, answer.text
        assert "has no text" in answer.json()["error"]
    assert client.get("/health").json()["items"] == 10
