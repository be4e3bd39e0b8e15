"""Requests that are wrong, too large or not allowed."""

import json

import pytest

from irllrec_pyg.config import ConfigError
from irllrec_pyg.linear import EASE
from irllrec_pyg.serving import create_app

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/recommend", {"users": ["nobody"]}, 404, "Unknown user 'nobody'"),
        ("/recommend", {"users": [7]}, 404, "Unknown user 7"),
        ("/recommend", {"users": [10**30]}, 404, "Unknown user"),
        ("/recommend", {"users": [True]}, 422, "users.0"),
        ("/recommend", {"users": [1.5]}, 422, "users.0"),
        ("/recommend", {"users": ["\ud800"]}, 422, "users.0"),
        ("/recommend", {"users": ["u" * 2000]}, 422, "users.0"),
        ("/recommend", {}, 422, "'users', 'histories' or both"),
        ("/recommend", [], 422, "the body"),
        ("/recommend", {"users": ["u1"], "k": 0}, 422, "'k'"),
        ("/recommend", {"users": ["u1"], "k": 10**9}, 422, "'k' must be at most 1000"),
        ("/recommend", {"users": ["u1"], "kk": 3}, 422, "'kk'"),
        ("/recommend", {"users": ["u1"] * 300}, 422, "There may be 256"),
        ("/recommend", {"histories": [{"items": []}]}, 422, "histories.0.items"),
        ("/recommend", {"histories": [{"items": ["x"]}]}, 404, "Unknown item 'x'"),
        ("/recommend", {"histories": [{"items": ["001"], "weights": [1, 2]}]}, 422, "2 weights"),
        ("/recommend", {"histories": [{"items": ["001"], "weights": [-1]}]}, 422, "weights.0"),
        ("/recommend", {"histories": [{"items": ["001"] * 10_001}]}, 422, "There may be 10000"),
        ("/recommend", {"users": ["u1"], "exclude": "all"}, 422, "'exclude'"),
        ("/recommend", {"users": ["u1"], "filters": {"where": "__import__('os')"}}, 422, "'where'"),
        ("/recommend", {"users": ["u1"], "filters": {"where": "price <"}}, 422, "'where'"),
        ("/recommend", {"users": ["u1"], "filters": {"where": "colour == 1"}}, 422, "no column"),
        ("/recommend", {"users": ["u1"], "filters": {"where": "a" * 1001}}, 422, "filters.where"),
        (
            "/recommend",
            {"users": ["u1"], "filters": {"where": "author == 'a' * 9999999999"}},
            422,
            "'where'",
        ),
        ("/recommend", {"users": ["u1"], "filters": {"diversity": 2}}, 422, "diversity"),
        ("/recommend", {"users": ["u1"], "filters": {"max_per": {"x": 0}}}, 422, "max_per.x"),
        ("/similar", {"items": ["001"], "users": ["u1"]}, 422, "'items' or 'users'"),
        ("/similar", {"items": ["nothing"]}, 404, "Unknown item"),
        ("/explain", {"item": "001"}, 422, "'user' or 'history'"),
        ("/explain", {"user": "u1", "item": "nothing"}, 404, "Unknown item"),
        ("/explain", {"user": "u1", "item": "001", "by": "parts"}, 501, "'parts'"),
        ("/items", {"items": []}, 422, "'items'"),
        ("/nowhere", {}, 404, "/docs says"),
        ("/health", {}, 405, "/docs says"),
    ],
)
def test_an_error_says_what_is_wrong(folder, ask, path, body, status, said):
    answer = ask(folder).post(path, content=json.dumps(body), headers=JSON)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert len(answer.json()["error"]) < 600


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b'{"users": ["u1"], "k": NaN}',
        b'{"histories": [{"items": ["001"], "weights": [NaN]}]}',
        b'{"histories": [{"items": ["001"], "weights": [Infinity]}]}',
        b'{"histories": [{"items": ["001"], "weights": [1e999]}]}',
        b'{"users": ["u1"], "filters": {"diversity": NaN}}',
        b'{"users": [' + b"9" * 5000 + b"]}",
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_is_refused(folder, ask, body):
    answer = ask(folder).post("/recommend", content=body, headers=JSON)
    assert answer.status_code in (400, 422), answer.text
    assert list(answer.json()) == ["error"]


def test_a_large_body_is_refused_by_its_length_and_while_it_arrives(folder, ask):
    client = ask(folder, {"max_body": 2000})
    large = json.dumps({"users": ["u1"] * 1000}).encode()
    assert client.post("/recommend", content=large, headers=JSON).status_code == 413
    sent = 0

    def pieces():
        nonlocal sent
        for at in range(0, len(large), 500):
            sent += 1
            yield large[at : at + 500]

    answer = client.post("/recommend", content=pieces(), headers=JSON)
    assert answer.status_code == 413
    assert "2000 bytes" in answer.json()["error"]
    assert client.post("/recommend", json={"users": ["u1"]}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/recommend", {"users": [1.5] * 9999}),
        ("/recommend", {"histories": [7] * 9999}),
        ("/recommend", {"histories": [{"items": ["001"], "weights": [-1] * 9999}]}),
        ("/recommend", {"users": ["u1"], "filters": {"deny": [None] * 9999}}),
        (
            "/recommend",
            {"users": ["u1"], "filters": {"max_per": dict.fromkeys(map(str, range(9999)))}},
        ),
        ("/recommend", dict.fromkeys(map(str, range(9999)))),
        ("/items", {"items": [7] * 9999}),
        ("/items", {"items": [{"item": "x", **{str(at): [at] for at in range(9999)}}]}),
    ],
)
def test_a_thousand_faults_are_not_written_down(folder, ask, path, body):
    answer = ask(folder).post(path, json=body)
    assert answer.status_code == 422
    assert "more problems" not in answer.text


def test_requests_need_the_key_of_the_environment(folder, ask, monkeypatch):
    monkeypatch.setenv("IRLLREC_API_KEY", "sésame")
    client, body = ask(folder), {"users": ["u1"]}
    right = "sésame".encode()
    for headers in (
        {},
        {"X-API-Key": "wrong"},
        {"Authorization": "Bearer"},
        {"X-API-Key": ""},
        {"Authorization": right},
        {"Authorization": b"Basic " + right},
    ):
        for answer in (
            client.post("/recommend", json=body, headers=headers),
            client.get("/metrics", headers=headers),
            client.post("/recommend?key=s%C3%A9same&X-API-Key=s%C3%A9same", json=body),
        ):
            assert answer.status_code == 401
            assert "X-API-Key" in answer.json()["error"]
            assert "sésame" not in answer.text
    for headers in (
        {"X-API-Key": right},
        {"Authorization": b"Bearer " + right},
        {"Authorization": b"bearer " + right},
    ):
        assert client.post("/recommend", json=body, headers=headers).status_code == 200
    assert client.get("/health").status_code == client.get("/docs").status_code == 200
    assert "sésame" not in client.get("/openapi.json").text
    monkeypatch.setenv("IRLLREC_API_KEY", " ")
    with pytest.raises(ConfigError, match="empty"):
        create_app(folder)


def test_a_fault_shows_no_traceback(ease, ask, monkeypatch):
    def fail(self, user):
        raise TypeError("secret of the code")

    monkeypatch.setattr(EASE, "score", fail)
    answer = ask(ease).post("/recommend", json={"users": ["u1"]})
    assert (answer.status_code, list(answer.json())) == (500, ["error"])
    assert "secret" not in answer.text
