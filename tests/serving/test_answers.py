"""Answers over HTTP are those of the model."""

import asyncio

import pytest
import torch

from irllrec_pyg import build_model
from irllrec_pyg.linear import EASE, TextMean
from irllrec_pyg.ranking import Filters
from irllrec_pyg.serving import Limits, Shelf, answers
from irllrec_pyg.serving import messages as m
from irllrec_pyg.serving.batches import Batches


def rows(table, value="score"):
    return list(zip(table["item"], table["rank"], table[value], strict=True))


def listed(answer):
    return [(row["id"], row["rank"], pytest.approx(row["score"])) for row in answer["items"]]


def test_lists_of_users_and_histories_in_the_order_of_the_request(folder, ease, ask):
    body = {
        "users": ["u7", "u3", "u7"],
        "histories": [
            {"items": ["001", "é3"], "label": "ann"},
            {"items": ["002"], "weights": [2.5]},
        ],
        "k": 3,
    }
    answer = ask(folder).post("/recommend", json=body)
    assert answer.status_code == 200
    m.RecommendAnswer.model_validate(answer.json())
    lists = answer.json()["lists"]
    assert [one["user"] for one in lists] == ["u7", "u3", "u7", "ann", None]
    expected = [ease.recommend(user, k=3) for user in ("u7", "u3", "u7")]
    expected.append(ease.recommend(history=["001", "é3"], k=3))
    expected.append(ease.recommend(history=["002"], weights=[2.5], k=3))
    for own, table in zip(lists, expected, strict=True):
        assert rows(table) == listed(own)
        for row in own["items"]:
            assert row["title"] == ease.item_table["title"][row["id"]]


def test_rules_and_what_is_left_out(folder, ease, ask):
    client = ask(folder)
    rules = {"where": "price > 2", "max_per": {"author": 1}, "deny": ["004"]}
    body = {"users": ["u1", "u2"], "k": 9, "exclude": "none", "filters": rules}
    found = client.post("/recommend", json=body).json()["lists"]
    table = ease.recommend(["u1", "u2"], 9, None, filters=Filters(**rules))
    assert [listed(one) for one in found] == [
        rows(table[table["user"] == user]) for user in ("u1", "u2")
    ]
    body = {"histories": [{"items": ["001"]}, {"items": ["002"]}], "filters": {"diversity": 0.5}}
    found = client.post("/recommend", json=body).json()["lists"]
    for item, own in zip(("001", "002"), found, strict=True):
        table = ease.recommend(history=[item], filters=Filters(diversity=0.5))
        assert listed(own) == rows(table)


def test_similar_items_and_users(folder, ease, ask):
    client = ask(folder)
    answer = client.post("/similar", json={"items": ["002", "é0"], "k": 3})
    m.SimilarAnswer.model_validate(answer.json())
    for one in answer.json()["lists"]:
        table = ease.similar(one["of"], k=3)
        assert [row["id"] for row in one["similar"]] == table["id"].tolist()
        assert [row["score"] for row in one["similar"]] == pytest.approx(table["similarity"])
    answer = client.post("/similar", json={"users": ["u4"], "k": 2}).json()["lists"][0]
    assert [row["id"] for row in answer["similar"]] == ease.similar(user="u4", k=2)["id"].tolist()
    assert "title" not in answer["similar"][0]


def test_explanations_with_their_parts(blend, ask):
    client = ask(blend)
    for body in ({"user": "u3"}, {"history": {"items": ["001", "é3"], "weights": [1, 2]}}):
        answer = client.post("/explain", json={**body, "item": "004", "k": 2})
        assert answer.status_code == 200, answer.text
        found = m.ExplainAnswer.model_validate(answer.json())
        assert found.adds_up
        assert sum(one.value for one in found.reasons) == pytest.approx(found.score, rel=1e-3)
        assert set(found.parts) >= {"L3AE", "TextMean", "TextMean/words"}
        assert found.text.startswith("The score of item '004'")


@pytest.mark.parametrize("backbone", ["lightgcn", "alpharec"])
def test_a_trained_model_and_its_index_answer_alike(shop, ask, backbone):
    pytest.importorskip("faiss")
    torch.manual_seed(0)
    model = build_model(backbone, shop).eval()
    body = {"users": ["u1", "u5"], "histories": [{"items": ["001", "004"]}], "k": 4}
    plain, fast = (ask(model, index=index).post("/recommend", json=body) for index in (False, True))
    assert plain.status_code == fast.status_code == 200
    expected = model.recommend(["u1", "u5"], k=4)["item"].tolist()
    expected += model.recommend(history=["001", "004"], k=4)["item"].tolist()
    for answer in (plain, fast):
        assert [row["id"] for one in answer.json()["lists"] for row in one["items"]] == expected


def test_what_is_computed_once_is_not_kept_from_before(shop, ask, monkeypatch):
    """A settled model does not propagate again, and a grown one does."""
    torch.manual_seed(0)
    model = build_model("alpharec", shop).eval()
    model.text_encoder = lambda texts: torch.full((len(texts), 6), 0.1).numpy()
    client, calls = ask(model), 0
    forward = type(model.backbone).forward

    def counted(*arguments):
        nonlocal calls
        calls += 1
        return forward(*arguments)

    monkeypatch.setattr(type(model.backbone), "forward", counted)
    for _ in range(3):
        assert client.post("/recommend", json={"users": ["u1"]}).status_code == 200
    assert calls == 0
    answer = client.post("/items", json={"items": [{"item": "new", "title": "x"}]})
    assert answer.json() == {"added": 1, "items": 10, "version": 2}
    answer = client.post("/recommend", json={"histories": [{"items": ["new"]}]})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["lists"][0]["items"]) == 9


def test_new_items_are_listed_and_may_be_filtered(blend, ask):
    client = ask(blend)
    new = {"item": "neu", "title": "lighthouse", "author": "a", "price": 3, "unknown": True}
    assert client.post("/items", json={"items": [new]}).json()["items"] == 10
    body = {"users": ["u1"], "filters": {"where": "price == 3", "deny": ["é3"]}}
    answer = client.post("/recommend", json=body).json()
    (row,) = answer["lists"][0]["items"]
    assert (answer["version"], row["id"], row["title"]) == (2, "neu", "lighthouse")
    assert blend.num_items == 9  # the one that was handed over is as it was
    for body, said in (
        ([new], "is there already"),
        ([{"item": "z"}], "no column of texts"),
        ([{"item": 5, "title": "x"}], "ids of items are text"),
        ([{"item": "z", "title": ["x"]}], "must be a text"),
    ):
        answer = client.post("/items", json={"items": body})
        assert (answer.status_code, said in answer.json()["error"]) == (422, True), answer.text
    assert client.get("/health").json()["items"] == 10


def test_requests_that_wait_are_answered_together_and_apart(ease, monkeypatch):
    calls, batches = [], Batches(Shelf(ease), Limits(threads=1, max_batch=9))
    recommend = EASE.recommend

    def counted(self, users=None, *arguments, **options):
        calls.append(users)
        return recommend(self, users, *arguments, **options)

    monkeypatch.setattr(EASE, "recommend", counted)
    bodies = [
        *({"users": [f"u{at}"], "k": 3} for at in (1, 2, 2, 5)),
        {"users": ["nobody"], "k": 2},
        {"users": ["u3", "u4"], "k": 2},
        {"users": ["u6"], "k": 3, "exclude": "none"},
        {"users": ["u1"], "k": 3, "filters": {"deny": ["001"]}},
        {"histories": [{"items": ["001"]}], "k": 3},
        {"users": ["u1"] * 10, "k": 3},
    ]

    async def ask_all():
        requests = [m.RecommendRequest(**body) for body in bodies]
        waiting = [batches.answer(request) for request in requests]
        return await asyncio.gather(*waiting, return_exceptions=True)

    found = asyncio.run(ask_all())
    assert ["u1", "u2", "u5"] in calls
    assert isinstance(found[4], KeyError)
    assert "There may be 9" in str(found[-1])
    for body, answer in list(zip(bodies, found, strict=True))[:-1]:
        if answer is found[4]:
            continue
        expected = answers.recommend(batches.shelf.current, m.RecommendRequest(**body), Limits())
        assert answer == expected
    assert batches.free == 1


def test_nobody_waits_for_ever_where_no_thread_can_be_started(ease, monkeypatch):
    async def fail(*arguments):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("anyio.to_thread.run_sync", fail)
    batches, request = Batches(Shelf(ease), Limits(threads=1)), m.RecommendRequest(users=["u1"])
    for _ in range(2):
        with pytest.raises(RuntimeError, match="new thread"):
            asyncio.run(asyncio.wait_for(batches.answer(request), 2))
    assert batches.free == 1


def test_what_a_model_cannot_do_it_says(folder, shop, ask):
    torch.manual_seed(0)
    answer = ask(folder).post("/items", json={"items": [{"item": "x", "title": "y"}]})
    assert answer.status_code == 501
    assert "texts alone" in answer.json()["error"]
    text = TextMean(shop)
    answer = ask(text).post("/items", json={"items": [{"item": "x", "title": "y"}]})
    assert answer.status_code == 422
    assert "--with-data" in answer.json()["error"]
    model = build_model("lightgcn", shop, layer_num=0).eval()
    answer = ask(model).post("/recommend", json={"histories": [{"items": ["001"]}]})
    assert answer.status_code == 501
