r"""Asks many questions at once, and hands every answer over before anything else happens."""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from .budget import Budget
from .chat import ChatClient, Reply, Request, Usage
from .limits import (
    CallError,
    RateLimiter,
    RunSettings,
    estimate_tokens,
    in_parallel,
    patiently,
    run_coroutine,
)
from .prompts import Message
from .records import KEPT, FailureKind, clean, judged
from .redaction import Redactor
from .store import Record

Book = Callable[[Request, Record], None]
Known = Callable[[Request], bool]
Parameters = Mapping[str, Any]
REPAIR = (
    "Your answer could not be used: {reason}. Answer again with one JSON object that follows "
    "the schema, and with nothing else."
)
#: So many different nodes that are refused before any is answered: it is the key or the model.
REFUSED = 3
#: Seconds of a pause.
PAUSE = 0.5


class RunStopped(RuntimeError):
    """A run that had to stop; what was answered is kept."""


@dataclass
class ChatEngine:
    r"""Answers requests with a chat model.

    Args:
        client (ChatClient): What asks the model.
        run_settings (RunSettings): How hard to try. (default: its defaults)
        redactor (Redactor): What takes keys out of what is kept. (default: one that knows none)
        budget (Budget, optional): What may be spent. (default: ``None``, no limit)
        proven (bool): Whether the model has answered such requests before. (default: ``False``)
    """

    client: ChatClient
    run_settings: RunSettings = field(default_factory=RunSettings)
    redactor: Redactor = field(default_factory=Redactor)
    budget: Budget | None = None
    proven: bool = False

    def run(
        self, requests: Iterable[Request | None], book: Book, known: Known = lambda request: False
    ) -> None:
        r"""Answers the requests.

        Requests are taken one by one as workers get free. On an interrupt (or SIGTERM) no new
        request goes out and those in flight are waited for; a second one drops them.

        What a server refuses by 403 or 404 is that node's failure where others are, or were,
        answered; else, where the first three are refused, it is the key or the model, and the run
        stops.

        Args:
            requests (iterable): What to ask, ``None`` for a pause; equal requests that are in
                flight together are asked once.
            book (callable): Called with each request and its answer or failure, at once; with one
                that was refused when another node has been answered.
            known (callable): Whether a request need not be asked. (default: it always must)

        Raises:
            RunStopped: If the run was interrupted or has spent its budget, or the server can answer
                none of the requests.
        """
        run_coroutine(lambda: self._run(iter(requests), book, known))

    async def _run(self, requests: Iterator[Request | None], book: Book, known: Known) -> None:
        settings = self.run_settings
        self._limiter = RateLimiter(settings.rpm, settings.tpm, sleep=self._sleep)
        self._stop, self._stopping = "", asyncio.Event()
        self._answered, failed_in_a_row = self.proven, 0
        flying: dict[bytes, asyncio.Event] = {}
        refused: dict[bytes, tuple[Request, Record]] = {}

        def settle(kind: FailureKind) -> None:
            for request, record in refused.values():
                book(request, record | {"kind": kind})
            refused.clear()

        def take(request: Request, record: Record) -> None:
            nonlocal failed_in_a_row
            failed_in_a_row = 0 if record["kind"] == "ok" else failed_in_a_row + 1
            if record["kind"] == "in doubt":
                refused[request.key] = request, record
            else:
                book(request, record)
            if record["kind"] in ("ok", "answer", "refused"):
                settle("request")
            if not self._answered and len(refused) >= REFUSED:
                many = f"the first {len(refused)} nodes were refused (see to the key and the model)"
            elif failed_in_a_row >= settings.give_up_after:
                many = f"{failed_in_a_row} requests in a row failed"
            else:
                return
            self._stop_because(f"{many}, the last one with: {record['reason']}")

        async def worker() -> None:
            with contextlib.suppress(_Dropped):
                for request in requests:
                    if request is None:
                        await self._sleep(PAUSE)
                        continue
                    while request.key in flying:
                        await flying[request.key].wait()
                    if known(request):
                        await asyncio.sleep(0)  # thousands of known answers must not hold the loop
                        continue
                    flying[request.key] = asyncio.Event()
                    try:
                        # It is booked before an equal request can be taken for a new one.
                        take(request, await self._answer(request))
                    finally:
                        flying.pop(request.key).set()
                    if self._stop:
                        return

        async with AsyncExitStack() as stack:
            if isinstance(self.client, contextlib.AbstractAsyncContextManager):
                await stack.enter_async_context(self.client)
            self._catch_interrupts()
            try:
                await in_parallel(worker, settings.concurrency)
            except asyncio.CancelledError:  # at the second interrupt
                if not self._stop:
                    raise
        if self._stop:  # what was refused is open again: that says nothing of its nodes
            raise RunStopped(
                f"The run stopped: {self._stop}. What was answered is kept; run again to go on."
            )
        settle("request" if self._answered else "transport")

    async def _answer(self, request: Request) -> Record:
        """Asks and repairs."""
        started, usage = time.time(), Usage()
        try:
            record = await self._repaired(request, usage)
        except _Dropped:
            raise
        except CallError as error:
            if error.fatal:
                # It says nothing about this node: the next run asks again.
                self._stop_because(self.redactor.message(error.reason))
                raise _Dropped from None
            kind = "in doubt" if error.fatal is None else error.kind
            record = {"kind": kind, "reason": error.reason}
        except Exception as error:  # of a user's client, or an answer that nobody foresaw
            record = {"kind": "answer", "reason": f"{type(error).__name__}: {error}"[:600]}
        return clean(record, self.redactor) | {
            "model": request.parameters.get("model"),
            "usage": {"prompt": usage.prompt, "completion": usage.completion},
            "calls": usage.calls,
            "time": round(started, 3),
            "seconds": round(time.time() - started, 3),
        }

    async def _repaired(self, request: Request, usage: Usage) -> Record:
        messages, parameters = request.messages, request.parameters
        for repairs_left in range(self.run_settings.repairs, -1, -1):
            reply = await self._reply(request, messages, parameters, usage)
            record = judged(reply, request.schema, trim=not repairs_left)
            if record["kind"] != "answer" or not repairs_left:
                return record
            limit = request.tokens_parameter
            if reply.finish == "length" and limit in parameters:
                parameters = parameters | {limit: 2 * parameters[limit]}
            else:
                messages = [*request.messages]
                parts = {"assistant": reply.content[:KEPT], "user": REPAIR.format(**record)}
                messages += [
                    {"role": role, "content": part.encode("utf-8", "replace").decode()}
                    for role, part in parts.items()
                    if part
                ]
        raise AssertionError("unreachable")

    async def _reply(
        self, request: Request, messages: list[Message], parameters: Parameters, usage: Usage
    ) -> Reply:
        """One call with its retries, within the limits and the budget."""
        # No token is shorter than a byte.
        sent = len(json.dumps([messages, parameters.get("response_format")]).encode())
        most = Usage(sent, int(parameters.get(request.tokens_parameter, 0)))
        estimate = request.prompt_tokens + most.completion // 2

        async def once() -> Reply:
            if self._stop:
                raise _Dropped
            if self.budget and not self.budget.reserve(most):
                self._stop_because(
                    f"the next request could pass the budget of {self.budget.limit:g}: "
                    f"{self.budget.spent:.4f} is spent or in flight"
                )
                raise _Dropped
            usage.calls += 1
            used = most
            try:
                reply = await self.client.ask(messages, parameters)
                self._answered, used = True, _used(reply, request)
                usage.add(used)
                return reply
            except CallError as error:
                used = most if error.paid else Usage()
                raise
            finally:
                if self.budget:
                    self.budget.settle(most, used)

        before = usage.prompt + usage.completion
        reply = await patiently(once, self.run_settings, self._limiter, estimate, self._sleep)
        self._limiter.correct(estimate, usage.prompt + usage.completion - before)
        return reply

    async def _sleep(self, seconds: float) -> None:
        """Waits, but not while the run is stopping."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
            raise _Dropped

    def _stop_because(self, reason: str) -> None:
        if not self._stop:
            self._stop = reason
            self._stopping.set()

    def _catch_interrupts(self) -> None:
        """Until the loop is closed; elsewhere than in the main thread nothing interrupts."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupted(name: str) -> None:
            if self._stop:
                task.cancel()
            self._stop_because(f"it was interrupted ({name})")

        for number in (signal.SIGINT, signal.SIGTERM):
            # Windows has no such handlers.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, interrupted, number.name)


class _Dropped(Exception):
    """Not an error: the run is stopping, and this request is left for the next one."""


def _used(reply: Reply, request: Request) -> Usage:
    """The tokens that a server reports, or an estimate where it reports none."""
    if reply.usage is not None and reply.usage.prompt:
        return reply.usage
    return Usage(request.prompt_tokens, estimate_tokens(reply.content))
