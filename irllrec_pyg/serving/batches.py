"""Requests that wait are answered together: a list costs less among others than alone."""

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from typing import Any

import anyio.to_thread

from . import answers
from .limits import Limits
from .messages import RecommendRequest
from .served import Served, Shelf

TOGETHER = 64  # requests that are answered at once
FEW = 8  # people of a request up to which it joins others: it shall not keep them waiting


class Batches:
    """Answers requests for lists, as many at once as have come while others were answered.

    A request that comes alone does not wait.

    Args:
        shelf (Shelf): The model.
        limits (Limits): What one request may ask for.
    """

    def __init__(self, shelf: Shelf, limits: Limits) -> None:
        self.shelf, self.limits = shelf, limits
        self.free = limits.threads or os.cpu_count() or 1
        self.waiting: deque[tuple[RecommendRequest, asyncio.Future[dict[str, Any]]]] = deque()
        self.tasks: set[asyncio.Task[None]] = set()

    async def answer(self, request: RecommendRequest) -> dict[str, Any]:
        """The answer to one request; see :func:`irllrec_pyg.serving.answers.recommend`."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.waiting.append((request, answer))
        if self.free:
            self.free -= 1
            task = asyncio.create_task(self._work())
            self.tasks.add(task)  # or it might be collected while it runs
            task.add_done_callback(self.tasks.discard)
        return await answer

    async def _work(self) -> None:
        try:
            while self.waiting:
                count = min(TOGETHER, len(self.waiting))
                batch = [self.waiting.popleft() for _ in range(count)]
                requests = [request for request, _ in batch]
                found: Sequence[dict[str, Any] | Exception]
                try:
                    found = await anyio.to_thread.run_sync(self._answer, requests)
                except Exception as error:  # such as that no thread can be started
                    found = [error] * count
                for (_, answer), result in zip(batch, found, strict=True):
                    if answer.done():  # who asked has gone
                        continue
                    if isinstance(result, Exception):
                        answer.set_exception(result)
                    else:
                        answer.set_result(result)
        finally:
            self.free += 1

    def _answer(self, requests: list[RecommendRequest]) -> list[dict[str, Any] | Exception]:
        served = self.shelf.current
        found: dict[int, dict[str, Any] | Exception] = {}
        alike: dict[tuple[int, str], list[int]] = {}
        for at, request in enumerate(requests):
            few = len(request.users) <= FEW and not request.histories
            if few and request.users and request.filters is None:
                alike.setdefault((request.k, request.exclude), []).append(at)
        for places in alike.values():
            if len(places) > 1:
                found |= self._together(served, {at: requests[at] for at in places})
        for at, request in enumerate(requests):
            if at not in found:
                try:
                    found[at] = answers.recommend(served, request, self.limits)
                except Exception as error:  # of this request, and not of others
                    found[at] = error
        return [found[at] for at in range(len(requests))]

    def _together(
        self, served: Served, requests: dict[int, RecommendRequest]
    ) -> dict[int, dict[str, Any]]:
        """Answers of requests that differ in their users alone; none if one of them is wrong."""
        users = [user for request in requests.values() for user in request.users]
        first = next(iter(requests.values()))
        try:
            whole = answers.recommend(
                served,
                first.model_copy(update={"users": users}),
                self.limits.replace(max_batch=max(len(users), self.limits.max_batch)),
            )
        except Exception:  # each is answered alone, and told what is wrong with it
            return {}
        found, lists = {}, iter(whole["lists"])
        for at, request in requests.items():
            found[at] = {**whole, "lists": [next(lists) for _ in request.users]}
        return found
