"""What every request passes: the key, the size of its body, the clock."""

import asyncio
import hmac
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.exceptions import HTTPException

from .served import Shelf

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

DOCS_FILES = "/docs/files"  # scripts and styles of the documentation
#: Paths without a key: they tell nothing of the data but sizes.
OPEN = re.compile(rf"/health|/openapi\.json|/docs|{DOCS_FILES}/[\w.-]+")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Counts and times in Prometheus's format.

    Args:
        shelf (Shelf): What is served.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "irllrec_requests",
            "Answers by route and status",
            ["route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "irllrec_request_seconds",
            "Seconds from the head of a request to the end of its answer",
            ["route"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.running = Gauge(
            "irllrec_requests_running", "Requests without an answer yet", registry=self.registry
        )
        for name, said, value in (
            (
                "version",
                "Version of the model: 1, and one more for each change",
                lambda: shelf.current.version,
            ),
            ("items", "Items that can be listed", lambda: shelf.current.ranker.num_items),
            ("users", "Users of the model", lambda: shelf.current.ranker.num_users),
        ):
            Gauge(f"irllrec_model_{name}", said, registry=self.registry).set_function(value)


class Guard:
    """Refuses requests without the key, or with too large or too slow a body while this arrives,
    and measures.

    Args:
        app (callable): What answers, an ASGI application.
        metrics (Metrics): Where it is counted.
        max_body (int): Bytes of a body.
        max_seconds (float): Seconds until the whole body is there.
        key (str, optional): What ``X-API-Key`` or ``Authorization: Bearer`` must say.
            (default: ``None``)
    """

    def __init__(
        self, app: Any, metrics: Metrics, max_body: int, max_seconds: float, key: str | None = None
    ) -> None:
        self.app, self.metrics = app, metrics
        self.max_body, self.max_seconds = max_body, max_seconds
        self.key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.metrics.running.inc()
        try:
            headers = dict(scope["headers"])
            if not OPEN.fullmatch(scope["path"]) and not self._knows_key(headers):
                answer = problem(
                    401, "The key is missing or wrong; send it as the header X-API-Key."
                )
                await answer(scope, receive, watched)
            elif _stated_length(headers) > self.max_body:
                await self._too_large()(scope, receive, watched)
            else:
                await self.app(scope, self._counted(receive), watched)
        finally:
            # Paths that are no route would be as many as somebody likes.
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.running.dec()
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - began)

    def _knows_key(self, headers: dict[bytes, bytes]) -> bool:
        if self.key is None:
            return True
        scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        given = headers.get(b"x-api-key") or (bearer if scheme.lower() == b"bearer" else b"")
        return hmac.compare_digest(given, self.key)

    def _counted(self, receive: Receive) -> Receive:
        size, more = 0, True
        last = asyncio.get_running_loop().time() + self.max_seconds

        async def counted() -> MutableMapping[str, Any]:
            nonlocal size, more
            if not more:  # what is awaited now is that the client goes
                return await receive()
            try:
                async with asyncio.timeout_at(last):
                    message = await receive()
            except TimeoutError:
                said = f"The body took more than {self.max_seconds:g} seconds to arrive."
                raise HTTPException(408, said, {"Connection": "close"}) from None
            more = message.get("more_body", False)
            size += len(message.get("body", b""))
            if size > self.max_body:
                raise HTTPException(413, self._too_large_text())
            return message

        return counted

    def _too_large(self) -> JSONResponse:
        return problem(413, self._too_large_text())

    def _too_large_text(self) -> str:
        return f"The body may have {self.max_body} bytes; send several smaller requests."


def problem(status: int, error: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """What is wrong, as JSON."""
    return JSONResponse({"error": error}, status, headers)


def _stated_length(headers: dict[bytes, bytes]) -> int:
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0
