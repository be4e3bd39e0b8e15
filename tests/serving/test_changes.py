"""Items that are changed while a model is served."""

import json
import threading

import numpy as np
import pandas as pd
import pytest

from irllrec_pyg.linear import EASE, TextMean
from irllrec_pyg.ranking.item_table import with_rows
from irllrec_pyg.serving import Shelf

from .conftest import encode
from .test_tools import talk


@pytest.fixture
def texts(shop, items):
    """A model of texts alone, with the table."""
    items["in_stock"] = True

    def load():
        ranker = TextMean(shop)
        ranker.item_table, ranker.text_encoder = items.set_index("item"), encode
        return ranker

    return load


def listed(client, where=None, k=20):
    rules = {} if where is None else {"filters": {"where": where}}
    body = {"users": ["u1"], "k": k, "exclude": "none", **rules}
    answer = client.post("/recommend", json=body)
    assert answer.status_code == 200, answer.text
    return {row["id"]: row for row in answer.json()["lists"][0]["items"]}


def test_columns_of_items_get_other_values(texts, ask):
    client = ask(texts)
    before = listed(client)
    change = {"items": [{"item": "001", "price": 99.5, "title": "other"},
                        {"item": "é3", "in_stock": False}]}  # fmt: skip
    answer = client.patch("/items", json=change)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"version": 2, "changed": 2, "items": 9}
    assert set(listed(client, "price > 20")) == {"001"}
    assert set(listed(client, "not in_stock")) == {"é3"}
    after = listed(client)
    assert after["001"]["title"] == "other"
    for item, row in before.items():  # what was learned stays
        assert after[item]["score"] == row["score"]
    assert client.post("/reload").json()["added"] == 0  # the folder's table again
    assert listed(client, "price > 20") == {}


def test_an_added_item_is_changed_and_ranked_by_its_new_text(texts, ask):
    client = ask(texts)
    for one in ({"item": "new", "title": "zzz", "price": 3}, {"item": "more", "title": "abc"}):
        assert client.post("/items", json={"items": [one]}).status_code == 200
    assert set(listed(client, "in_stock")) == {f"00{at}" if at % 3 else f"é{at}" for at in range(9)}
    first = listed(client)
    assert client.patch("/items", json={"items": [{"item": "new", "price": 77}]}).status_code == 200
    assert listed(client)["new"]["score"] == first["new"]["score"]
    change = {"items": [{"item": "new", "title": "aaa"}, {"item": "002", "price": 78}]}
    assert client.patch("/items", json=change).json()["version"] == 5
    twin = texts()
    twin.add_items(pd.DataFrame({"item": ["new", "more"], "title": ["aaa", "abc"]}))
    expected = twin.recommend("u1", k=20, exclude=None).set_index("item")["score"].to_dict()
    found = listed(client)
    assert {item: row["score"] for item, row in found.items()} == pytest.approx(expected)
    assert found["new"]["score"] != first["new"]["score"]
    assert found["new"]["title"] == "aaa"
    assert set(listed(client, "price > 70")) == {"new", "002"}
    assert client.post("/reload").json()["added"] == 2  # as they were changed
    assert set(listed(client, "price > 70")) == {"new"}
    assert listed(client)["new"]["score"] == pytest.approx(expected["new"])


@pytest.mark.parametrize(
    ("row", "status", "said"),
    [
        ({"item": "nothing", "price": 1}, 404, "Unknown item 'nothing'"),
        ({"item": "001", "prise": 1}, 422, "did you mean 'price'?"),
        ({"item": "001", "price": "cheap"}, 422, "'price' of item '001' must be a number"),
        ({"item": "001", "price": True}, 422, "must be a number"),
        ({"item": "001", "in_stock": "maybe"}, 422, "must be true or false"),
        ({"item": "001", "price": [1]}, 422, "'price' must be a text, a number"),
        ({"item": "é3", "price": 2}, 422, "once in a request"),
        ({"item": "new", "title": " "}, 422, "has no text"),
    ],
)
def test_a_wrong_change_changes_nothing(texts, ask, row, status, said):
    client = ask(texts)
    client.post("/items", json={"items": [{"item": "new", "title": "zzz"}]})
    before = listed(client)
    answer = client.patch("/items", json={"items": [{"item": "é3", "price": 1}, row]})
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]
    assert client.get("/health").json()["version"] == 2
    assert listed(client) == before


def test_a_new_item_of_a_wrong_kind_spoils_no_condition(texts, ask):
    client = ask(texts)
    new = {"item": "new", "title": "zzz", "price": "cheap"}
    answer = client.post("/items", json={"items": [new]})
    assert answer.status_code == 422
    assert "'price' of item 'new' must be a number" in answer.json()["error"]
    assert len(listed(client, "price >= 0 and in_stock")) == 9


def test_no_change_is_lost_beside_others_and_reloads(texts, ask):
    client = ask(texts)
    client.post("/items", json={"items": [{"item": "new", "title": "zzz", "price": 0}]})

    def change(column, start):
        for value in range(start, start + 3):
            change = {"items": [{"item": "new", column: value}]}
            assert client.patch("/items", json=change).status_code == 200
            assert client.post("/reload").status_code == 200
            assert "new" in listed(client)

    threads = [threading.Thread(target=change, args=("price", at)) for at in (10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get("/health").json()["version"] == 2 + 12
    assert set(listed(client, "price == 12 or price == 22")) == {"new"}


def test_an_index_is_not_built_again_for_another_price(texts, monkeypatch):
    pytest.importorskip("faiss")
    shelf = Shelf(texts, index=True)
    monkeypatch.setattr("irllrec_pyg.serving.served.IndexedRanker.__init__", None)
    before = shelf.current.lists.recommend("u1", k=3)
    served = shelf.change_items([{"item": "001", "price": 50}])
    pd.testing.assert_frame_equal(served.lists.recommend("u1", k=3), before)
    assert served.lists.item_table["price"]["001"] == 50
    for at in range(3):  # what stands behind it is the first one, however many changes there were
        served = shelf.change_items([{"item": "001", "price": at}])
    assert served.origin.origin is None


def test_a_model_without_a_table_says_so(shop, ask):
    answer = ask(EASE(shop)).patch("/items", json={"items": [{"item": "001", "price": 1}]})
    assert answer.status_code == 422
    assert "no table of its items" in answer.json()["error"]


def test_assistants_change_items_too(texts):
    pytest.importorskip("mcp")
    change = {"items": [{"item": "001", "price": 99}]}
    ask = {"users": ["u1"], "exclude": "none", "filters": {"where": "price > 20"}}
    _, (changed, found) = talk(texts, ("change_items", change), ("recommend", ask))
    assert changed.structured_content == {"version": 2, "changed": 1, "items": 9}
    assert [row["id"] for row in found.structured_content["lists"][0]["items"]] == ["001"]


def test_rows_keep_the_kinds_of_their_columns():
    table = pd.DataFrame(
        {"n": [1, 2], "f": [0.5, np.nan], "t": [True, False], "s": ["x", ""], "o": [(1,), None]},
        index=pd.Index(["a", "b"], name="item"),
    )
    rows = {"a": {"n": "7", "t": "FALSE", "s": 5, "more": 1}, "c": {"n": 3, "o": (2,)}, "d": {}}
    found = with_rows(table, {name: rows[name] for name in ("a", "c")})
    assert found["n"].tolist() == [7, 2, 3]
    assert found["t"].tolist() == [False, False, False]
    assert found["s"].tolist() == ["5", "", ""]
    assert found["o"].tolist() == [(1,), None, (2,)]
    assert [found[name].dtype for name in "nft"] == [table[name].dtype for name in "nft"]
    assert table["n"].tolist() == [1, 2]  # the old one is as it was
    assert with_rows(table, rows)["n"].isna().tolist() == [False, False, False, True]
    assert with_rows(table, {"a": {"n": 1e300}, "b": {"n": 10**30}})["n"].tolist() == [1e300, 1e30]
    for row in ({"n": "x"}, {"f": True}, {"t": 2}, {"n": 10**400}):
        with pytest.raises(ValueError, match="of item 'a' must be"):
            with_rows(table, {"a": row})


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_halves_of_characters_are_refused(texts, ask, method):
    item = "new" if method == "POST" else "001"
    body = {"items": [{"item": item, "title": "\ud800"}]}
    answer = ask(texts).request(
        method, "/items", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422, answer.text
    assert "'title' must be text in Unicode" in answer.json()["error"]


def test_a_body_that_is_no_json_is_told_so(texts, ask):
    client, kind = ask(texts), {"Content-Type": "application/json"}
    plain = client.patch("/items", content=b'{"items": []}')
    assert plain.status_code == 422
    assert "with the header Content-Type: application/json" in plain.json()["error"]
    for body in (b"\xff", b"[" * 100_000, b'{"items": [{"item": "001", "price": ' + b"9" * 5000):
        answer = client.patch("/items", content=body, headers=kind)
        assert answer.status_code in (400, 422), answer.text
        assert "The body is no JSON" in answer.json()["error"]
