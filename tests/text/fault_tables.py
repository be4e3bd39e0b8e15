"""What may go wrong with one item: what a server sends, and what stands in a batch's answers."""

import json
from collections.abc import Callable
from typing import Any

from tests.text.raw_server import GOOD, Action, completion, dripping, hang, http, packed, says

OK = says(json.dumps(GOOD))
BODY = json.dumps(completion(json.dumps(GOOD))).encode()
HEAD = b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n"
DEEP = "[" * 100_000
HALF = "\\ud800"
BOMB = b" " * (1 << 22)


def error(status: int, code: str = "x", **headers: str) -> bytes:
    return http(json.dumps({"error": {"message": "no", "code": code}}), status, **headers)


def answer(**fields: Any) -> bytes:
    return says(json.dumps(GOOD | fields))


async def drop(writer: Any) -> None:
    writer.transport.abort()


# Name -> what the server does in turn, what becomes of the item, and how often it is asked; two
# retries and one repair are left to each.
SERVER: dict[str, tuple[list[Action], str, int]] = {
    "no fault": ([OK], "ok", 1),
    "429 with Retry-After": ([error(429, retry_after="0.02"), OK], "ok", 2),
    "429 with Retry-After: 0": ([error(429, retry_after="0")], "transport", 3),
    "429 with Retry-After: -1": ([error(429, retry_after="-1"), OK], "ok", 2),
    "429 with Retry-After: soon": ([error(429, retry_after="soon"), OK], "ok", 2),
    "429 with Retry-After: nan": ([error(429, retry_after="nan"), OK], "ok", 2),
    "429 with Retry-After: inf": ([error(429, retry_after="inf")], "transport", 1),
    "429 without": ([error(429), OK], "ok", 2),
    "429 for too long": ([error(429, retry_after="4000")], "transport", 1),
    "500": ([error(500), OK], "ok", 2),
    "500 for ever": ([error(500)], "transport", 3),
    "503 with Retry-After": ([error(503, retry_after="0.02"), OK], "ok", 2),
    "502 of a proxy": ([http("<html>bad gateway", 502, content_type="text/html"), OK], "ok", 2),
    "408": ([error(408), OK], "ok", 2),
    "400": ([error(400, "context_length_exceeded")], "request", 1),
    "400 that says a megabyte": ([http("x" * (1 << 20), 400)], "transport", 1),
    "403 for one": ([error(403, "flagged")], "request", 1),
    "404 for one": ([error(404, "model_not_found")], "request", 1),
    "422": ([error(422)], "request", 1),
    "204": ([http("", 204), OK], "ok", 2),
    "time-out": ([hang, OK], "ok", 2),
    "dripping body": ([dripping(HEAD + b"\r\n{"), OK], "ok", 2),
    "dripping for ever": ([dripping(HEAD + b"\r\n{")], "transport", 3),
    "dripping headers": ([dripping(HEAD, b"X-A: b\r\n"), OK], "ok", 2),
    "endless body": ([dripping(HEAD + b"\r\n", b" " * 65536, 0.0)], "transport", 1),
    "gzip": ([packed(BODY)], "ok", 1),
    "deflate": ([packed(BODY, 15, "deflate")], "ok", 1),
    "gzip bomb": ([packed(BODY + BOMB)], "transport", 1),
    "gzip bomb with status 500": ([packed(BOMB, status=500)], "transport", 1),
    "gzip that is none": ([http(BODY, content_encoding="gzip"), OK], "ok", 2),
    "brotli": ([http(BODY, content_encoding="br")], "transport", 3),
    "dropped connection": ([drop, OK], "ok", 2),
    "body cut short": ([HEAD + b'Content-Length: 900\r\n\r\n{"id', OK], "ok", 2),
    "chunks that are none": ([HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}", OK], "ok", 2),
    "no HTTP": ([b"220 mail.example ESMTP\r\n", OK], "ok", 2),
    "nothing at all": ([b"", OK], "ok", 2),
    "body that is not JSON": ([http("{nonsense"), OK], "ok", 2),
    "JSON as text/plain": ([http(BODY, content_type="text/plain")], "ok", 1),
    "empty body": ([http(""), OK], "ok", 2),
    "page instead of JSON": ([http("<html>", content_type="text/html"), OK], "ok", 2),
    "invalid UTF-8": ([http(b'{"choices": "\xff\xfe"}'), OK], "ok", 2),
    "deep body": ([http(DEEP)], "transport", 3),
    "JSON of another kind": ([http("[1, 2]"), OK], "ok", 2),
    "null": ([http("null"), OK], "ok", 2),
    "error with status 200": ([http('{"error": "overloaded"}'), OK], "ok", 2),
    "no choices": ([http('{"choices": []}'), OK], "ok", 2),
    "choices by name": ([http('{"choices": {"0": 1}}'), OK], "ok", 2),
    "choice without message": ([http('{"choices": [{}]}'), OK], "ok", 2),
    "choice that is null": ([http('{"choices": [null]}'), OK], "ok", 2),
    "message that is a list": ([http('{"choices": [{"message": [1]}]}'), OK], "ok", 2),
    "content that is a list": ([says([{"type": "text"}]), OK], "ok", 2),
    "content that is a number": ([says(17), OK], "ok", 2),
    "usage that is nonsense": ([says(json.dumps(GOOD), usage={"prompt_tokens": "x"})], "ok", 1),
    "usage beyond all": ([says(json.dumps(GOOD), usage={"prompt_tokens": 10**400})], "ok", 1),
    "usage that is a list": ([says(json.dumps(GOOD), usage=[1])], "ok", 1),
    "finish that is a list": ([says(json.dumps(GOOD), finish=[1])], "ok", 1),
    "malformed answer": ([says('{"reasoning": "x", '), OK], "ok", 2),
    "answer against the schema": ([answer(summarization=3), OK], "ok", 2),
    "prose": ([says("I would say drama."), OK], "ok", 2),
    "empty answer": ([says(""), OK], "ok", 2),
    "null answer": ([says(None), OK], "ok", 2),
    "cut answer": ([says('{"reasoning": "x', "length"), OK], "ok", 2),
    "never a usable answer": ([says("no")], "answer", 2),
    "always cut": ([says('{"reasoning": "x', "length")], "answer", 2),
    "refusal": ([says(None, refusal="I cannot")], "refused", 1),
    "refusal with half a character": ([says(None, refusal="no \ud800")], "refused", 1),
    "content filter": ([says("", "content_filter")], "refused", 1),
    "deep answer": ([says('{"reasoning": ' + DEEP)], "answer", 2),
    "thoughts without end": ([says("<think>" * 50_000)], "answer", 2),
    "thousands of thoughts": ([says("<think></think>" * 20_000 + json.dumps(GOOD))], "ok", 1),
    "half a character": ([http(BODY.replace(b"Fans", HALF.encode()))], "answer", 2),
    "half a character, escaped twice": ([answer(summarization="\ud800")], "answer", 2),
    "half a character in a name": ([answer(**{"\ud800": "x"})], "answer", 2),
    "half a character in prose": ([says("no \ud800")], "answer", 2),
    "thousands of digits": ([says('{"reasoning": ' + "9" * 10_000)], "answer", 2),
    "not a number": ([says('{"reasoning": NaN, "summarization": "x"}')], "answer", 2),
    "ends of lines": ([answer(reasoning="a\u2028b\x85c\x0bd\x1ce\x00f")], "ok", 1),
}
LINE_ENDS = "a\u2028b\x85c\x0bd\x1ce"


def entry(**changes: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda line: json.dumps(line | changes).encode()


def body(**changes: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda line: json.dumps(
        line | {"response": {"status_code": 200, "body": line["response"]["body"] | changes}}
    ).encode()


def content(text: str, escaped: bool = True) -> Callable[[dict[str, Any]], bytes]:
    def change(line: dict[str, Any]) -> bytes:
        line["response"]["body"] = completion(text)
        return json.dumps(line, ensure_ascii=escaped).encode("utf-8", "surrogatepass")

    return change


# Name -> what becomes of a line of a batch's answers, and what becomes of the item.
BATCH: dict[str, tuple[Callable[[dict[str, Any]], bytes], str]] = {
    "batch: ends of lines": (content(json.dumps(GOOD | {"reasoning": LINE_ENDS}), False), "ok"),
    "batch: ends of lines, raw": (
        content(json.dumps(GOOD | {"reasoning": "a\u2028b\x85"}, ensure_ascii=False), False),
        "ok",
    ),
    "batch: cut line": (lambda line: json.dumps(line).encode()[:-40], "open"),
    "batch: no line": (lambda line: b"", "open"),
    "batch: a list": (lambda line: b"[1, 2]", "open"),
    "batch: a text": (lambda line: b'"done"', "open"),
    "batch: null": (lambda line: b"null", "open"),
    "batch: invalid UTF-8": (lambda line: b'{"custom_id": "\xff"}', "open"),
    "batch: deep": (lambda line: DEEP.encode(), "open"),
    "batch: another's id": (entry(custom_id="ab" * 32), "open"),
    "batch: id that is no hash": (entry(custom_id="x"), "open"),
    "batch: id that is a number": (entry(custom_id=7), "open"),
    "batch: response that is a list": (entry(response=[1]), "open"),
    "batch: choices that are gone": (body(choices=[]), "open"),
    "batch: no response": (entry(response=None), "request"),
    "batch: an error": (entry(error={"message": "too long"}, response=None), "request"),
    "batch: status 500": (entry(response={"status_code": 500, "body": "busy"}), "request"),
    "batch: usage that is a list": (body(usage=[1]), "ok"),
    "batch: prose": (content("no"), "answer"),
    "batch: half a character": (content("no \ud800", False), "answer"),
    "batch: deep answer": (content('{"reasoning": ' + DEEP), "answer"),
    "batch: twice": (lambda line: b"\n".join([json.dumps(line).encode()] * 2), "ok"),
}
