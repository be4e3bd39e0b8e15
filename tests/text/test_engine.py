"""The engine against everything that goes wrong between it and a server."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response

from irllrec_pyg.text import ChatSettings, Endpoint, RunSettings, RunStopped
from irllrec_pyg.text.chat import OpenAIChat, Request
from irllrec_pyg.text.engine import ChatEngine
from irllrec_pyg.text.limits import RateLimiter, run_coroutine
from irllrec_pyg.text.prompts import PromptSet
from tests.text.stub import StubServer

PATH = "/v1/chat/completions"
GOOD = json.dumps({"reasoning": "because", "summarization": "Fans of drama."})
SCHEMA = PromptSet().schemas["item_profile"]
Handler = Callable[[Received], Response]


@pytest.fixture
def httpserver() -> Iterator[HTTPServer]:
    # One thread a request, as with a real server: a slow answer must not delay the next one.
    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        yield server


def completion(content: str | None, finish: str = "stop", **message: Any) -> Handler:
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }
    return raw(200, json.dumps(body))


def raw(status: int, body: str, kind: str = "application/json", **headers: str) -> Handler:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Response(body, status, names, content_type=kind)


def error(status: int, code: str = "x", **headers: str) -> Handler:
    return raw(status, json.dumps({"error": {"message": "no", "code": code}}), **headers)


def serve(server: HTTPServer, *handlers: Handler) -> list[dict[str, Any]]:
    """Answers with the handlers in turn, and with the last one from then on."""
    bodies: list[dict[str, Any]] = []

    def answer(request: Received) -> Response:
        bodies.append(json.loads(request.get_data()))
        return handlers[min(len(bodies), len(handlers)) - 1](request)

    server.expect_request(PATH, method="POST").respond_with_handler(answer)
    return bodies


def requests(count: int, chat: ChatSettings) -> Iterator[Request]:
    for node in range(count):
        messages = [{"role": "system", "content": "s"}, {"role": "user", "content": f"u {node}"}]
        yield Request("item_profile", node, messages, chat.parameters(SCHEMA), SCHEMA)


def ask(
    url: str,
    count: int = 1,
    timeout: float = 30.0,
    known: dict[int, dict[str, Any]] | None = None,
    proven: bool = False,
    **run: Any,
) -> dict[int, dict[str, Any]]:
    """What the engine books for each node, and what was known before it."""
    chat = ChatSettings("m", Endpoint(url.rstrip("/") + "/v1", timeout=timeout), max_tokens=100)
    settings = RunSettings(
        **({"concurrency": 1, "retries": 2, "repairs": 2, "backoff": 0.01} | run)
    )
    found = {} if known is None else known
    engine = ChatEngine(OpenAIChat(chat.endpoint), settings, proven=proven)
    engine.run(
        requests(count, chat),
        lambda request, record: found.__setitem__(request.node, record),
        lambda request: found.get(request.node, {}).get("kind") == "ok",
    )
    return found


GOOD_ANSWER = completion(GOOD)


@pytest.mark.parametrize(
    ("status", "code", "asked"),
    [
        (301, "x", 1),
        (401, "invalid_api_key", 1),
        (429, "insufficient_quota", 1),
        (403, "x", 3),
        (404, "model_not_found", 3),
    ],
)
def test_what_no_request_survives_stops_the_run(
    status: int, code: str, asked: int, httpserver: HTTPServer
) -> None:
    bodies, found = serve(httpserver, error(status, code)), {}  # type: ignore[var-annotated]
    with pytest.raises(RunStopped, match=f"HTTP {status}") as raised:
        ask(httpserver.url_for(""), 20, known=found, concurrency=2)
    assert len(bodies) <= asked + 1
    assert not found
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("refused", [[0], [1], [0, 1], [0, 2, 3, 5], [2, 3, 4, 5]])
@pytest.mark.parametrize("status", [403, 404])
def test_what_only_some_requests_do_not_survive_is_their_failure(
    refused: list[int], status: int, httpserver: HTTPServer
) -> None:
    flagged = error(status, "flagged")
    serve(httpserver, *(flagged if n in refused else GOOD_ANSWER for n in range(6)))
    found = ask(httpserver.url_for(""), 6)
    kinds = ["request" if n in refused else "ok" for n in range(6)]
    assert [found[n]["kind"] for n in range(6)] == kinds
    assert all(f"HTTP {status}" in found[n]["reason"] for n in refused)


def test_a_refusal_beside_which_nobody_was_answered_is_asked_again(httpserver: HTTPServer) -> None:
    serve(httpserver, error(403, "flagged"))
    assert ask(httpserver.url_for(""))[0]["kind"] == "transport"


def test_refusals_are_about_nodes_where_the_model_has_answered_before(
    httpserver: HTTPServer,
) -> None:
    serve(httpserver, error(403, "flagged"))
    found = ask(httpserver.url_for(""), 5, proven=True)
    assert [found[n]["kind"] for n in range(5)] == ["request"] * 5


def test_nodes_that_were_refused_when_a_key_lost_its_rights_are_open(
    httpserver: HTTPServer,
) -> None:
    found: dict[int, dict[str, Any]] = {}
    serve(httpserver, GOOD_ANSWER, error(403, "x"))
    with pytest.raises(RunStopped, match="7 requests in a row failed, the last one with: HTTP 403"):
        ask(httpserver.url_for(""), 20, known=found, give_up_after=7)
    assert list(found) == [0]


def test_a_repair_shows_the_answer_and_what_is_wrong(httpserver: HTTPServer) -> None:
    bodies = serve(httpserver, completion('{"reasoning": 3}'), completion(""), GOOD_ANSWER)
    line = ask(httpserver.url_for(""))[0]
    first, second, third = (body["messages"] for body in bodies)
    assert second[:2] == third[:2] == first
    assert second[2] == {"role": "assistant", "content": '{"reasoning": 3}'}
    assert "summarization: Field required" in second[3]["content"]
    assert len(third) == 3
    assert "is empty" in third[2]["content"]
    assert line["usage"] == {"prompt": 33, "completion": 21}


def test_a_cut_answer_gets_more_room(httpserver: HTTPServer) -> None:
    bodies = serve(httpserver, completion("{", "length"), completion("{", "length"), GOOD_ANSWER)
    ask(httpserver.url_for(""))
    assert [body["max_tokens"] for body in bodies] == [100, 200, 400]
    assert all(len(body["messages"]) == 2 for body in bodies)


def test_an_answer_that_stays_too_long_is_cut(httpserver: HTTPServer) -> None:
    long = json.dumps({"reasoning": "r", "summarization": "A short sentence. " * 100})
    bodies = serve(httpserver, completion(long))
    line = ask(httpserver.url_for(""))[0]
    assert len(bodies) == 3
    assert line["cut"] == ["summarization"]
    assert len(line["answer"]["summarization"].split()) <= 200


def test_retry_after_holds_everybody_back(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(RateLimiter, "pause", lambda self, seconds: pauses.append(seconds))
    serve(httpserver, error(429, retry_after="7"), error(503, retry_after_ms="1500"), GOOD_ANSWER)
    ask(httpserver.url_for(""))
    assert pauses == [7.0, 1.5]


def test_a_server_that_dies_halfway() -> None:
    found: dict[int, dict[str, Any]] = {}
    with StubServer() as first:
        url = first.url.removesuffix("/v1")
        ask(url, 10, known=found)
    with pytest.raises(RunStopped, match=r"5 requests in a row failed.*no connection"):
        ask(url, 30, known=found, retries=1, give_up_after=5)
    assert {node for node, record in found.items() if record["kind"] == "ok"} == set(range(10))
    with StubServer() as second:
        ask(second.url.removesuffix("/v1"), 30, known=found, concurrency=4)
        assert sum(second.asked.values()) == 20
    assert {node for node, record in found.items() if record["kind"] == "ok"} == set(range(30))


def test_a_run_of_failures_stops(httpserver: HTTPServer) -> None:
    bodies = serve(httpserver, error(400))
    with pytest.raises(RunStopped, match="7 requests in a row failed"):
        ask(httpserver.url_for(""), 100, give_up_after=7)
    assert len(bodies) == 7


@pytest.mark.parametrize("concurrency", [1, 6])
def test_requests_in_flight(concurrency: int) -> None:
    with StubServer(delay=0.2) as stub:
        assert len(ask(stub.url.removesuffix("/v1"), 12, concurrency=concurrency)) == 12
        assert stub.most_in_flight == concurrency


@pytest.mark.parametrize(
    ("form", "sent"),
    [
        (
            "json_schema",
            {
                "type": "json_schema",
                "json_schema": {
                    "name": "item_profile",
                    "schema": SCHEMA.sent(True),
                    "strict": True,
                },
            },
        ),
        ("json_object", {"type": "json_object", "schema": SCHEMA.sent(False)}),
        ("none", None),
    ],
)
def test_how_the_form_is_told(form: Any, sent: object, httpserver: HTTPServer) -> None:
    bodies = serve(httpserver, GOOD_ANSWER)
    chat = ChatSettings(
        "m",
        Endpoint(httpserver.url_for("/v1")),
        temperature=0.3,
        seed=5,
        response_format=form,
        tokens_parameter="max_completion_tokens",
        extra={"top_k": 3},
    )
    ChatEngine(OpenAIChat(chat.endpoint)).run(requests(1, chat), lambda request, record: None)
    (body,) = bodies
    assert body.pop("messages")
    assert body.pop("response_format", None) == sent
    assert body == {
        "model": "m",
        "max_completion_tokens": 800,
        "temperature": 0.3,
        "seed": 5,
        "top_k": 3,
    }


def test_runs_where_a_loop_is_running_already(httpserver: HTTPServer) -> None:
    serve(httpserver, GOOD_ANSWER)

    async def notebook() -> dict[int, dict[str, Any]]:
        return ask(httpserver.url_for(""))

    assert run_coroutine(notebook)[0]["kind"] == "ok"


@pytest.mark.parametrize(
    "url", ["ftp://x/v1", "localhost:8000", "http://me:pass@x/v1", "http://x/v1?key=1"]
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url must"):
        Endpoint(url)
