"""A key comes from the environment and shows up in nothing that is written."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response

from irllrec_pyg.cli import main
from irllrec_pyg.text import ChatSettings, Endpoint, EndpointEncoder
from irllrec_pyg.text.redaction import Redactor, check_no_key, public_url
from tests.text.conftest import make_data, make_items, records, reviews_of
from tests.text.stub import StubServer

KEY = "sk-proj-THE-KEY-0123456789abcdef"


def tables(folder: Path) -> list[str]:
    """Tables on the disk, and the arguments that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    data = make_data()
    pairs = data["user", "rates", "item"].edge_index.t().tolist()
    rows = "".join(f"{data['user'].raw_id[u]},{data['item'].raw_id[i]}\n" for u, i in pairs)
    (folder / "pairs.csv").write_text("user,item\n" + rows)
    make_items().to_csv(folder / "items.csv", index=False)
    # Reviews make every user's prompt another one, although histories may be equal.
    reviews_of(data, "edge_index", "Loved it").to_csv(folder / "reviews.csv", index=False)
    return [
        "--interactions",
        str(folder / "pairs.csv"),
        "--items",
        str(folder / "items.csv"),
        "--reviews",
        str(folder / "reviews.csv"),
        "--drop-outside-training",
    ]


def nowhere(key: str, folder: Path, *texts: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path
    for text in texts:
        assert key not in text


def test_the_key_is_sent_and_not_written(
    stub: StubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    complete = stub.complete

    def echo(body: dict[str, Any]) -> dict[str, Any]:
        """A model that repeats the key."""
        answer = complete(body)
        message = answer["choices"][0]["message"]
        message["content"] = message["content"].replace("about", f"about {KEY}")
        return answer

    stub.complete = echo  # type: ignore[method-assign]
    arguments = [
        "texts",
        "run",
        "--out",
        str(tmp_path / "out"),
        "--model",
        "m",
        "--base-url",
        stub.url,
        "--key-variable",
        "MY_KEY",
        "--encoder",
        "openai:e",
        "--encoder-url",
        stub.url,
        "--encoder-key-variable",
        "MY_KEY",
        *tables(tmp_path / "in"),
    ]
    assert main(arguments) == 0
    assert {h["Authorization"] for h in stub.headers} == {f"Bearer {KEY}"}
    assert (
        main(
            [
                *arguments[:1],
                "batch-write",
                "--step",
                "item_profile",
                "--temperature",
                "0.9",
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    printed = capsys.readouterr()
    assert "[key removed]" in str(records(tmp_path / "out", "user_profile"))
    nowhere(KEY, tmp_path, printed.out, printed.err, caplog.text)


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
def test_a_server_that_echoes_the_key_in_its_errors(
    status: int,
    httpserver: HTTPServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def echo(request: Received) -> Response:
        said = f"Incorrect key {request.headers['Authorization']}, or {KEY[:-4]}****"
        return Response(
            json.dumps({"error": {"message": said}}), status, content_type="application/json"
        )

    httpserver.expect_request("/v1/chat/completions").respond_with_handler(echo)
    httpserver.expect_request("/v1/embeddings").respond_with_handler(echo)
    arguments = [
        "texts",
        "items",
        "--out",
        str(tmp_path / "out"),
        "--model",
        "m",
        "--base-url",
        httpserver.url_for("/v1"),
        "--limit",
        "2",
        "--retries",
        "0",
        *tables(tmp_path / "in"),
    ]
    main(arguments)
    main(
        [
            "texts",
            "embed",
            "--allow-incomplete",
            "--out",
            str(tmp_path / "out"),
            "--encoder",
            "openai:e",
            "--encoder-url",
            httpserver.url_for("/v1"),
            "--retries",
            "0",
        ]
    )
    printed = capsys.readouterr()
    everything = [printed.out, printed.err, caplog.text]
    nowhere(KEY, tmp_path, *everything)
    nowhere(KEY[:-4], tmp_path, *everything)
    assert "[key removed]" in printed.out + printed.err


def test_there_is_no_argument_for_a_key() -> None:
    with pytest.raises(TypeError):
        Endpoint("http://127.0.0.1/v1", api_key=KEY)  # type: ignore[call-arg]


def test_settings_do_not_know_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    settings = ChatSettings("m")
    assert settings.endpoint.key() == KEY
    assert KEY not in repr(settings) + json.dumps(asdict(settings))
    assert KEY not in EndpointEncoder("e").name


def test_a_missing_key_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(ValueError, match="SOME_KEY is not set"):
        Endpoint(key_variable="SOME_KEY").key()
    assert Endpoint("http://127.0.0.1:1/v1", "SOME_KEY").key() == "none"


@pytest.mark.parametrize(
    "text",
    ["Incorrect API key provided: sk-abc12345***wxyz.", "Bearer abcdefgh12345", "hf_abcdefghijkl"],
)
def test_what_looks_like_a_key_is_taken_out_of_messages(text: str) -> None:
    shown = Redactor().message(text)
    assert "[key removed]" in shown
    assert not [part for part in ("abc12345", "abcdefgh12345", "abcdefghijkl") if part in shown]


@pytest.mark.parametrize(
    "echo",
    [
        KEY,
        KEY[:-3],
        KEY[4:],
        KEY[5:20],
        f"{KEY[:9]}",
        quote("ab/cd+ef==9182736450/xyz", ""),
        quote("ab/cd+ef==9182736450/xyz", "").lower(),
        "cd+ef==9182",
    ],
)
def test_echoes_of_a_key_in_parts_or_encoded(echo: str) -> None:
    redactor = Redactor(KEY, "ab/cd+ef==9182736450/xyz")
    for shown in (redactor.message(f"said <{echo}> here"), redactor.exact(f"said <{echo}> here")):
        assert shown == "said <[key removed]> here" or echo.islower()
    assert redactor.message(f"said <{echo}> here") == "said <[key removed]> here"


def test_words_of_a_text_are_no_keys() -> None:
    redactor = Redactor("recommendations", KEY)
    text = "Fans of recommending, of THE KEY and of 0123."
    assert redactor.exact(text) == text


def test_public_urls() -> None:
    assert public_url("http://me:pw@h:8/v1?key=x#f") == "http://h:8/v1"
    assert public_url("http://[::1]:8/v1") == "http://[::1]:8/v1"
    assert public_url(None) is None


PLAIN = "0123456789abcdef0123456789abcdef"
GOOGLE = "AIzaSyA1234567890abcdefghijklmnopqrstuv"


@pytest.mark.parametrize(
    "extra",
    [
        {"key": PLAIN},
        {"auth": PLAIN},
        {"headers": {"Ocp-Apim-Subscription-Key": PLAIN}},
        {"api_key": [PLAIN]},
        {"token": {"value": PLAIN}},
        {"user": GOOGLE},
        {KEY: 1},
        {"user": f"me-{KEY}"},
        {"user": quote("it is " + PLAIN)},
    ],
)
def test_a_key_among_the_fields_of_a_request_is_refused(
    extra: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", PLAIN)
    with pytest.raises(ValueError, match="'extra' seems to hold an API key") as raised:
        ChatSettings("m", extra=extra)
    assert not [key for key in (KEY, PLAIN, GOOGLE) if key in str(raised.value)]


def test_fields_that_hold_no_key() -> None:
    ChatSettings("m", extra={"top_k": 3, "keywords": ["a"], "max_tokens_a_key": 1, "top_p": None})
    ChatSettings("m", extra={"prompt_cache_key": "shop", "author": "me"})


def test_a_path_that_only_begins_like_a_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("tables/hf_items_2024.csv", "key_features.parquet", "sk-learn/answers.sqlite"):
        check_no_key("cache", path, least=30)
    monkeypatch.setenv("MY_KEY", PLAIN)
    with pytest.raises(ValueError, match="'cache' seems to hold"):
        check_no_key("cache", f"/mnt/{PLAIN}/answers", "MY_KEY", least=30)


def test_the_key_in_use_is_refused_in_a_url_or_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", PLAIN)
    with pytest.raises(ValueError, match="'base_url' seems to hold"):
        Endpoint(f"http://127.0.0.1/v1/{PLAIN}", "MY_KEY")
    with pytest.raises(ValueError, match="'model' seems to hold"):
        ChatSettings(PLAIN, Endpoint(None, "MY_KEY"))
    with pytest.raises(ValueError, match="not the key itself"):
        Endpoint("http://127.0.0.1/v1", f"ABCDEF{PLAIN.upper()}")
