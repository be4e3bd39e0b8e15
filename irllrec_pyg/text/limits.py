r"""How fast requests may go: rates, pauses and back-off."""

import asyncio
import email.utils
import random
import time
from collections.abc import Awaitable, Callable, Mapping


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


class Backoff:
    r"""Waits that double, with a random part so that clients do not come back together.

    Args:
        base (float): The first wait in seconds. (default: ``1.0``)
        longest (float): The longest wait in seconds. (default: ``60.0``)
        seed (int, optional): For the random part. (default: ``None``)
    """

    def __init__(self, base: float = 1.0, longest: float = 60.0, seed: int | None = None) -> None:
        self._base, self._longest = base, longest
        self._random = random.Random(seed)

    def wait(self, attempt: int) -> float:
        """Seconds before try ``attempt + 1``, counted from 0."""
        return min(self._longest, self._base * 2.0**attempt) * self._random.uniform(0.5, 1.0)


def retry_after(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """The seconds that a server asks to wait: a number or a date, or ``retry-after-ms``."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) * scale)
        except ValueError:
            try:
                return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now())
            except (TypeError, ValueError):
                continue
    return None


def estimate_tokens(text: str) -> int:
    """About how many tokens a text takes: four characters each, other scripts one each.

    No tokeniser fits all endpoints, and theirs are downloads; limits are corrected by what the
    server reports.
    """
    ascii_characters = sum(character.isascii() for character in text)
    return -(-ascii_characters // 4) + len(text) - ascii_characters
