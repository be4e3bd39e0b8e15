"""A chat server that sends the very bytes it is told to, a script of them for each item."""

import asyncio
import json
import re
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from tests.text.loop_server import LoopServer

Action = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]
GOOD = {"reasoning": "because", "summarization": "Fans of drama."}


def http(body: bytes | str, status: int = 200, **headers: str) -> bytes:
    """A whole response."""
    content = body.encode() if isinstance(body, str) else body
    named = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} X", "Connection: close", *(f"{n}: {v}" for n, v in named.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


def completion(content: Any, finish: Any = "stop", usage: Any = None, **message: Any) -> dict:  # type: ignore[type-arg]
    """A chat completion."""
    said = {"role": "assistant", "content": content, **message}
    counted = {"prompt_tokens": 11, "completion_tokens": 7} if usage is None else usage
    return {"choices": [{"finish_reason": finish, "message": said}], "usage": counted}


def says(content: Any, finish: Any = "stop", usage: Any = None, **message: Any) -> bytes:
    """The response that holds a completion."""
    return http(json.dumps(completion(content, finish, usage, **message)))


def packed(body: bytes, kind: int = 31, encoding: str = "gzip", status: int = 200) -> bytes:
    """A compressed response."""
    packer = zlib.compressobj(wbits=kind)
    return http(packer.compress(body) + packer.flush(), status, Content_Encoding=encoding)


def dripping(head: bytes, part: bytes = b" ", pause: float = 0.01) -> Action:
    """Sends a beginning, and then for ever a little more."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)

    return drip


async def hang(writer: asyncio.StreamWriter) -> None:
    """Says nothing."""
    await asyncio.sleep(30)


class RawServer(LoopServer):
    """``script["Title 4"]`` holds what requests about that item get in turn, then the last."""

    def __init__(self, script: dict[str, list[Action]] | None = None) -> None:
        self.script, self.asked = script or {}, Counter[str]()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(size[1]) if size else 0)
            messages = json.loads(body)["messages"]
            (title,) = re.findall(r"Title: (Title \d+)", messages[1]["content"])
            self.asked[title] += 1
            script = self.script.get(title, [says(json.dumps(GOOD))])
            action = script[min(self.asked[title], len(script)) - 1]
            if isinstance(action, bytes):
                writer.write(action)
                await writer.drain()
            else:
                await action(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
