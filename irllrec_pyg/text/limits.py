r"""How fast requests may go and how often they are tried: rates, pauses, back-off."""

import asyncio
import email.utils
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class RunSettings:
    r"""How hard to try. Nothing here changes an answer.

    Args:
        concurrency (int): Requests in flight at most. (default: ``8``)
        rpm (float, optional): Requests a minute at most. (default: ``None``)
        tpm (float, optional): Tokens a minute at most. (default: ``None``)
        retries (int): Further tries after a time-out, a lost connection, a 429 or a server's
            error. (default: ``6``)
        repairs (int): Further questions after an answer that cannot be used. (default: ``2``)
        backoff (float): The first wait in seconds; it doubles up to ``longest_wait``.
            (default: ``1.0``)
        longest_wait (float): The longest wait in seconds, also one that a server asks for: beyond
            it the request fails. (default: ``600.0``)
        give_up_after (int): The run stops when so many requests have failed in a row.
            (default: ``50``)
    """

    concurrency: int = 8
    rpm: float | None = None
    tpm: float | None = None
    retries: int = 6
    repairs: int = 2
    backoff: float = 1.0
    longest_wait: float = 600.0
    give_up_after: int = 50

    def __post_init__(self) -> None:
        bounds = {"concurrency": 1, "give_up_after": 1, "retries": 0, "repairs": 0}
        for name, least in bounds.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name!r} must be at least {least}, got {getattr(self, name)}.")


class RateLimiter:
    r"""Spaces requests so that neither rate is passed in any minute.

    Every request gets the next free moment of a steady stream of ``rpm`` requests and ``tpm``
    tokens a minute; there are no bursts. A pause asked for by the server holds for all.

    Args:
        rpm (float, optional): Requests a minute. (default: ``None``, no limit)
        tpm (float, optional): Tokens a minute, prompts and answers. (default: ``None``)
        clock (callable): Seconds that only grow. (default: :func:`time.monotonic`)
        sleep (callable): Waits for seconds. (default: :func:`asyncio.sleep`)
    """

    def __init__(
        self,
        rpm: float | None = None,
        tpm: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        for name, rate in (("rpm", rpm), ("tpm", tpm)):
            if rate is not None and rate <= 0:
                raise ValueError(f"{name!r} must be above 0, or None, got {rate}.")
        self._per_request = 60 / rpm if rpm else 0.0
        self._per_token = 60 / tpm if tpm else 0.0
        self._clock, self._sleep = clock, sleep
        self._next_request = self._next_token = self._paused_until = float("-inf")

    async def acquire(self, tokens: int) -> None:
        """Waits until a request of so many tokens may go."""
        now = self._clock()
        request, token = max(now, self._next_request), max(now, self._next_token)
        self._next_request = request + self._per_request
        self._next_token = token + tokens * self._per_token
        ready = max(request, token)
        # Another answer may lengthen the pause while this request waits.
        while (wait := max(ready, self._paused_until) - self._clock()) > 0:
            await self._sleep(wait)

    def correct(self, estimated: int, actual: int) -> None:
        """Books the tokens that a request really took."""
        self._next_token += (actual - estimated) * self._per_token

    def pause(self, seconds: float) -> None:
        """Holds all requests back."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)


@dataclass(eq=False)
class CallError(Exception):
    r"""A call that gave no answer.

    Args:
        reason (str): Why.
        retry (bool): Whether another try may help.
        wait (float, optional): The seconds that the server asks to wait. (default: ``None``)
        fatal (bool, optional): Whether every other request would fail in the same way; ``None``
            where that cannot be told. (default: ``False``)
        kind (str): ``"transport"`` or ``"request"``. (default: ``"transport"``)
        paid (bool): Whether the server may have charged for it. (default: ``False``)
    """

    reason: str
    retry: bool
    wait: float | None = None
    fatal: bool | None = False
    kind: Literal["transport", "request"] = "transport"
    paid: bool = False

    def __str__(self) -> str:
        return self.reason


async def patiently(
    ask: Callable[[], Awaitable[T]],
    settings: RunSettings,
    limiter: RateLimiter,
    tokens: int,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    r"""Asks within the limits, and again after what may pass.

    The waits double, with a random part so that clients do not come back together. A wait that the
    server asks for holds all requests back, and is never shorter than that.

    Args:
        ask (callable): One try.
        settings (RunSettings): How often and how long.
        limiter (RateLimiter): What all requests go through.
        tokens (int): About how many tokens a try takes.
        sleep (callable): Waits for seconds. (default: :func:`asyncio.sleep`)

    Raises:
        CallError: That of the last try.
    """
    attempt = 0
    while True:
        await limiter.acquire(tokens)
        try:
            return await ask()
        except CallError as error:
            if not error.retry or attempt == settings.retries:
                raise
            if (error.wait or 0) > settings.longest_wait:
                asked = f"{error.reason} (the server asks to wait {error.wait:.0f} seconds)"
                raise CallError(asked, retry=False) from None
            wait = min(settings.longest_wait, settings.backoff * 2.0**attempt)
            wait *= random.uniform(0.5, 1.0)
            if error.wait is None:
                await sleep(wait)
            else:
                limiter.pause(max(wait, error.wait))
        attempt += 1


async def in_parallel(worker: Callable[[], Coroutine[Any, Any, None]], workers: int) -> None:
    """Runs so many workers to their end; where one fails, the others are stopped at once."""
    tasks = [asyncio.create_task(worker()) for _ in range(workers)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def run_coroutine(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine to its end, also where a loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(make())).result()


def retry_after(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """The seconds that a server asks to wait: a number or a date, or ``retry-after-ms``."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        with suppress(TypeError, ValueError):
            return max(0.0, float(value) * scale)
        with suppress(TypeError, ValueError):
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now())
    return None


def estimate_tokens(text: str) -> int:
    """About how many tokens a text takes: four characters each, other scripts one each.

    No tokeniser fits all endpoints, and theirs are downloads; limits are corrected by what the
    server reports.
    """
    ascii_characters = len(text.encode("ascii", "ignore"))
    return -(-ascii_characters // 4) + len(text) - ascii_characters
