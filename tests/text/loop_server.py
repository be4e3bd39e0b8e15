"""A server on loopback in a thread of its own, with an event loop of its own."""

import asyncio
import threading
from typing import Self


class LoopServer:
    """``with Server() as server: server.url``; a subclass starts and stops what listens."""

    port: int

    async def start(self) -> int:
        """Listens; gives the port."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Listens no more."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self.start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
