"""What other people's servers really answered, played back."""

import json
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from irllrec_pyg.text import Endpoint, EndpointEncoder, RunStopped
from tests.text.test_encoders import encode
from tests.text.test_engine import ask

TRANSCRIPT = Path(__file__).parent / "transcripts" / "transformers_serve.json"
PROSE, PINNED, NO_EMBEDDINGS = json.loads(TRANSCRIPT.read_text("utf-8"))["exchanges"]


def play(server: HTTPServer, exchange: dict[str, Any]) -> str:
    server.expect_request(exchange["path"]).respond_with_json(
        exchange["response"], status=exchange["status"]
    )
    return server.url_for("")


def test_prose_in_spite_of_the_format(httpserver: HTTPServer) -> None:
    line = ask(play(httpserver, PROSE), repairs=1)[0]
    assert (line["kind"], line["calls"]) == ("answer", 2)
    assert "no JSON object (the answer was cut at the limit of tokens)" in line["reason"]
    assert line["usage"] == {"prompt": 72, "completion": 48}
    assert line["content"] == PROSE["response"]["choices"][0]["message"]["content"]


def test_an_error_without_an_error_field(httpserver: HTTPServer) -> None:
    line = ask(play(httpserver, PINNED))[0]
    assert line["kind"] == "request"
    assert "requested 'other'" in line["reason"]


def test_an_endpoint_that_is_not_there(httpserver: HTTPServer) -> None:
    encoder = EndpointEncoder("e", Endpoint(play(httpserver, NO_EMBEDDINGS) + "v1"))
    with pytest.raises(RunStopped, match="HTTP 404"):
        encode(encoder, ["a"])
