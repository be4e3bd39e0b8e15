"""A chat server on loopback that counts what it is asked; it answers by the schema it is sent."""

import asyncio
import json
from collections import Counter
from typing import Any

from aiohttp import web

from tests.text.loop_server import LoopServer


def answer_for(schema: dict[str, Any], text: str) -> dict[str, Any]:
    """An answer of the right form that carries the last words of the prompt."""

    def value(part: dict[str, Any]) -> Any:
        return [f"aspect {i}" for i in range(2)] if part["type"] == "array" else text

    return {key: value(part) for key, part in schema["properties"].items()}


class StubServer(LoopServer):
    """Chat, embeddings and the Batch API; ``with StubServer() as stub: stub.url``."""

    def __init__(self, delay: float = 0.0, width: int = 8) -> None:
        self.delay, self.width = delay, width
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.keep_bodies = True
        self.answered = self.in_flight = self.most_in_flight = 0
        self.embedded: Counter[str] = Counter()
        self.embeddings = self.embeddings_again = 0
        self.headers: list[dict[str, str]] = []
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}

    async def start(self) -> int:
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_post("/v1/batches", self._start)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{id}", self._batch)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return int(site._server.sockets[0].getsockname()[1])  # type: ignore[union-attr]

    async def stop(self) -> None:
        await self._runner.cleanup()

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        form = body["response_format"]
        schema = form.get("schema") or form["json_schema"]["schema"]
        prompt = body["messages"][-1]["content"]
        content = json.dumps(answer_for(schema, "about " + " ".join(prompt.split()[-6:])))
        return {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": content},
                }
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        }

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked[json.dumps(body["messages"])] += 1
        if self.keep_bodies:
            self.bodies.append(body)
            self.headers.append(dict(request.headers))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.delay)
            self.answered += 1
            return web.json_response(self.complete(body))
        finally:
            self.in_flight -= 1

    async def _embeddings(self, request: web.Request) -> web.Response:
        texts = (await request.json())["input"]
        new = any(text not in self.embedded for text in texts)
        self.embedded.update(texts)
        self.embeddings += 1
        self.embeddings_again += not new
        rows = [
            {
                "index": i,
                "object": "embedding",
                "embedding": [float(len(text) % (j + 2) + 1) for j in range(self.width)],
            }
            for i, text in enumerate(texts)
        ]
        # The order is the index's, not the list's.
        return web.json_response(
            {
                "object": "list",
                "data": rows[::-1],
                "model": "stub",
                "usage": {"prompt_tokens": 1, "total_tokens": 1},
            }
        )

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()  # type: ignore[union-attr]
        return web.json_response(
            {
                "id": name,
                "object": "file",
                "bytes": 1,
                "created_at": 0,
                "filename": "f",
                "purpose": "batch",
                "status": "processed",
            }
        )

    async def _content(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in self.files:
            raise web.HTTPNotFound
        return web.Response(body=self.files[request.match_info["id"]])

    async def _start(self, request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(self.delay)
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": body["endpoint"],
            "created_at": 0,
            "input_file_id": body["input_file_id"],
            "completion_window": "24h",
            "status": "in_progress",
            "metadata": body.get("metadata"),
        }
        return web.json_response(self.batches[name])

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"object": "list", "data": list(self.batches.values()), "has_more": False}
        )

    async def _batch(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in self.batches:
            raise web.HTTPNotFound
        return web.json_response(self.batches[request.match_info["id"]])

    def finish_batches(self, fail_first: bool = False) -> None:
        """Answers every request of every batch."""
        for batch in self.batches.values():
            good, bad = [], []
            for number, line in enumerate(self.files[batch["input_file_id"]].splitlines()):
                entry = json.loads(line)
                self.asked[json.dumps(entry["body"]["messages"])] += 1
                if fail_first and number == 0:
                    bad.append(
                        {
                            "custom_id": entry["custom_id"],
                            "response": {
                                "status_code": 400,
                                "body": {"error": {"message": "too long"}},
                            },
                        }
                    )
                else:
                    good.append(
                        {
                            "custom_id": entry["custom_id"],
                            "error": None,
                            "response": {"status_code": 200, "body": self.complete(entry["body"])},
                        }
                    )
            batch["status"] = "completed"
            for field, lines in (("output_file_id", good), ("error_file_id", bad)):
                if lines:
                    name = f"file-{len(self.files)}"
                    self.files[name] = "\n".join(map(json.dumps, lines)).encode()
                    batch[field] = name
