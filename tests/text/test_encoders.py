"""Encoders, and what is refused from them."""

import json
from typing import Any

import numpy as np
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response

from irllrec_pyg.text import Endpoint, EndpointEncoder, RunSettings, RunStopped
from irllrec_pyg.text.encoders import WordLlamaEncoder
from irllrec_pyg.text.encoding import Encoder, EncoderError, check
from tests.text.stub import StubServer

FAST = RunSettings(concurrency=2, retries=2, backoff=0.01)


def encode(encoder: Encoder, texts: list[str]) -> np.ndarray:
    """The array, and what is handed over by batches is the same."""
    found: dict[str, Any] = {}
    rows = encoder.encode(texts, lambda batch, part: found.update(zip(batch, part, strict=True)))
    np.testing.assert_array_equal(rows, np.stack([found[text] for text in texts]))
    return rows


def test_wordllama_knows_what_is_alike() -> None:
    pytest.importorskip("wordllama")
    encoder = WordLlamaEncoder(batch_size=2)
    rows = encode(
        encoder,
        [
            "a space adventure with robots",
            "science fiction about androids",
            "a cook book of Italian desserts",
        ],
    )
    assert rows.shape == (3, 256)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert rows[0] @ rows[1] > rows[0] @ rows[2]
    alone = encode(encoder, ["a space adventure with robots"])[0]
    np.testing.assert_allclose(alone / np.linalg.norm(alone), rows[0], rtol=1e-5, atol=1e-7)


def test_an_endpoint_in_batches(stub: StubServer) -> None:
    texts = [f"text {'x' * n}" for n in range(20)]
    encoder = EndpointEncoder("e", Endpoint(stub.url), batch_size=3, run=FAST)
    rows = encode(encoder, texts)
    expected = [[float(len(text) % (j + 2) + 1) for j in range(8)] for text in texts]
    np.testing.assert_array_equal(rows, np.array(expected, np.float32))
    assert set(stub.embedded.values()) == {1}


def answer(rows: list[Any]) -> Response:
    return Response(
        json.dumps(
            {
                "object": "list",
                "model": "e",
                "data": [
                    {"object": "embedding", "index": i, "embedding": row}
                    for i, row in enumerate(rows)
                ],
                "usage": {"prompt_tokens": 1, "total_tokens": 1},
            }
        ),
        content_type="application/json",
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[[1.0, 2.0], [3.0, 4.0]]], "Is it a chat model at"),
        ([[1.0], [2.0]], "1 texts and answered"),
        ([], "1 texts and answered"),
        ([[1.0, float("nan")]], "NaN or infinity"),
        ([[]], "shape"),
    ],
)
def test_what_is_no_embedding(rows: list[Any], message: str, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/v1/embeddings").respond_with_handler(lambda _: answer(rows))
    encoder = EndpointEncoder("e", Endpoint(httpserver.url_for("/v1")), run=FAST)
    with pytest.raises(EncoderError, match=message):
        encode(encoder, ["a"])


@pytest.mark.parametrize(
    "fault",
    [
        Response("{", 200, content_type="application/json"),
        Response("busy", 503),
        Response("wait", 429, {"Retry-After": "0.01"}),
    ],
)
def test_faults_that_pass(fault: Response, httpserver: HTTPServer) -> None:
    waiting = [fault]
    httpserver.expect_request("/v1/embeddings").respond_with_handler(
        lambda _: waiting.pop() if waiting else answer([[1.0, 2.0]])
    )
    encoder = EndpointEncoder("e", Endpoint(httpserver.url_for("/v1")), run=FAST)
    assert encode(encoder, ["a"]).tolist() == [[1.0, 2.0]]


def test_a_fault_that_stays_stops_with_a_reason(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/v1/embeddings").respond_with_data("down", 500)
    encoder = EndpointEncoder("e", Endpoint(httpserver.url_for("/v1")), run=FAST)
    with pytest.raises(RunStopped, match=r"HTTP 500.*run again"):
        encode(encoder, ["a"])


def test_width_is_asked_for(httpserver: HTTPServer) -> None:
    seen: list[dict[str, Any]] = []

    def handler(request: Received) -> Response:
        seen.append(json.loads(request.get_data()))
        return answer([[1.0]])

    httpserver.expect_request("/v1/embeddings").respond_with_handler(handler)
    encoder = EndpointEncoder("e", Endpoint(httpserver.url_for("/v1")), dimensions=64)
    encode(encoder, ["a"])
    assert (seen[0]["dimensions"], seen[0]["encoding_format"]) == (64, "float")
    assert encoder.name.endswith("e-64")


@pytest.mark.parametrize("vectors", [[[1.0], [2.0, 3.0]], [1.0, 2.0], None, [["a"], ["b"]]])
def test_check_refuses(vectors: Any) -> None:
    with pytest.raises(EncoderError):
        check(vectors, ["a", "b"], "e")


def test_a_model_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wordllama", None)
    with pytest.raises(ImportError, match=r"pip install 'irllrec_pyg\[encode\]'"):
        WordLlamaEncoder()
