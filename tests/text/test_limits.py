"""Rates and waits on a clock that the test moves."""

import asyncio
import email.utils

import pytest

from irllrec_pyg.text.limits import (
    CallError,
    RateLimiter,
    RunSettings,
    estimate_tokens,
    patiently,
    retry_after,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def starts(requests: int, tokens: int, **limits: float) -> list[float]:
    clock = Clock()
    limiter = RateLimiter(**limits, clock=clock, sleep=clock.sleep)

    async def run() -> list[float]:
        times = []
        for _ in range(requests):
            await limiter.acquire(tokens)
            times.append(clock.now)
        return times

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("limits", "tokens", "in_a_minute"),
    [({"rpm": 30}, 10, 30), ({"tpm": 1000}, 50, 20), ({"rpm": 10, "tpm": 1000}, 10, 10)],
)
def test_no_minute_holds_more_than_the_limit(
    limits: dict[str, float], tokens: int, in_a_minute: int
) -> None:
    times = starts(100, tokens, **limits)
    for start in times:
        assert sum(start <= time < start + 59.999 for time in times) <= in_a_minute
    assert times[-1] == pytest.approx(99 * 60 / in_a_minute)


def test_without_limits_nothing_waits() -> None:
    assert starts(10, 10) == [0.0] * 10


def test_a_pause_holds_all_back_and_real_tokens_are_booked() -> None:
    clock = Clock()
    limiter = RateLimiter(tpm=60, clock=clock, sleep=clock.sleep)

    async def run() -> None:
        await limiter.acquire(1)
        limiter.correct(1, 5)
        await limiter.acquire(1)
        assert clock.now == 5
        limiter.pause(30)
        await limiter.acquire(1)
        assert clock.now == 35

    asyncio.run(run())


@pytest.mark.parametrize("limit", [{"rpm": 0}, {"tpm": -1}])
def test_a_rate_is_above_zero(limit: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        RateLimiter(**limit)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": email.utils.formatdate(1000, usegmt=True)}, 100.0),
        ({"retry-after": email.utils.formatdate(800, usegmt=True)}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, 0.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=lambda: 900.0) == seconds


def test_waits_double_up_to_their_limit_and_a_server_can_lengthen_them_only() -> None:
    clock, waits = Clock(), []
    limiter = RateLimiter(clock=clock, sleep=clock.sleep)
    settings = RunSettings(retries=6, backoff=1.0, longest_wait=10.0)

    async def tries(wait: float | None) -> None:
        waits.clear()
        last = clock.now

        async def ask() -> None:
            nonlocal last
            waits.append(clock.now - last)
            last = clock.now
            raise CallError("busy", retry=True, wait=wait)

        with pytest.raises(CallError):
            await patiently(ask, settings, limiter, 1, clock.sleep)

    for wait in (None, 0.0, 3.0):
        asyncio.run(tries(wait))
        assert len(waits) == 7
        for waited, whole in zip(waits[1:], [1, 2, 4, 8, 10, 10], strict=True):
            assert max(whole / 2, wait or 0) <= waited <= max(whole, wait or 0) + 1e-9


def test_tokens_of_scripts() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("abcdefgh") == 2
    assert estimate_tokens("漢字") == 2
