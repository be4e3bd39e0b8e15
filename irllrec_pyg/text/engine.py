r"""Asks many questions at once, and writes every answer down before anything else happens."""

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

from .answers import AnswerError
from .chat import CallError, ChatSettings, Reply, Request, Usage, call
from .journal import Journal, Record
from .limits import Backoff, RateLimiter
from .redaction import Redactor

T = TypeVar("T")
FailureKind = Literal["transport", "request", "answer", "refused"]
REPAIR = (
    "Your answer could not be used: {error}. Answer again with one JSON object that follows "
    "the schema, and with nothing else."
)


class RunStopped(RuntimeError):
    """A run that had to stop; what was answered is in the journal."""


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
        for name in ("concurrency", "give_up_after"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name!r} must be at least 1, got {getattr(self, name)}.")


class ChatEngine:
    r"""Answers requests with a chat model.

    Args:
        chat (ChatSettings): The model.
        run (RunSettings, optional): How hard to try. (default: ``None``)
    """

    def __init__(self, chat: ChatSettings, run: RunSettings | None = None) -> None:
        self.chat, self.run_settings = chat, run or RunSettings()
        self.redactor = Redactor(chat.endpoint.key())

    def run(
        self,
        requests: Iterable[Request],
        journal: Journal,
        on_record: Callable[[Record], None] = lambda record: None,
    ) -> None:
        r"""Answers the requests; each answer and each failure is a line of the journal.

        Requests are taken one by one as workers get free. On an interrupt (or SIGTERM) no new
        request goes out and those in flight are waited for; a second one drops them.

        Args:
            requests (iterable): What to ask; equal requests that are in flight together are asked
                once.
            journal (Journal): Open for writing.
            on_record (callable): Called with each line. (default: nothing)

        Raises:
            RunStopped: If the run was interrupted, or the server can answer none of the requests.
        """
        run_coroutine(lambda: self._run(iter(requests), journal, on_record))

    async def _run(
        self, requests: Iterator[Request], journal: Journal, on_record: Callable[[Record], None]
    ) -> None:
        settings = self.run_settings
        self._limiter = RateLimiter(settings.rpm, settings.tpm, sleep=self._sleep)
        self._backoff = Backoff(settings.backoff, settings.longest_wait)
        self._stop, self._stopping = "", asyncio.Event()
        failed_in_a_row = 0
        flying: dict[str, asyncio.Event] = {}

        async def worker() -> None:
            nonlocal failed_in_a_row
            for request in requests:
                key = request.key
                while key in flying:
                    await flying[key].wait()
                known = journal.get_key(key)
                if known is not None:
                    record = shared_record(known, request.node)
                else:
                    flying[key] = asyncio.Event()
                    try:
                        record = await self._answer(request, key)
                    except _Dropped:
                        return
                    finally:
                        flying.pop(key).set()
                journal.append(record)
                failed_in_a_row = 0 if record["status"] == "ok" else failed_in_a_row + 1
                if failed_in_a_row >= settings.give_up_after:
                    self._stop_because(
                        f"{failed_in_a_row} requests in a row failed, the last one "
                        f"with: {record['reason']}"
                    )
                on_record(record)
                if self._stop:
                    return

        async with self.chat.endpoint.client() as client:
            self._client = client
            with self._interrupts():
                workers = [asyncio.create_task(worker()) for _ in range(settings.concurrency)]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for task in workers:
                        task.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)
        if self._stop:
            raise RunStopped(
                f"The run stopped: {self._stop}. What was answered is in "
                f"{journal.path}; run again to go on."
            )

    async def _answer(self, request: Request, key: str) -> Record:
        """Asks, repairs, and makes the line of the journal."""
        started, usage = time.time(), Usage()
        record: Record = {
            "key": key,
            "node": request.node,
            "step": request.step,
            "model": self.chat.model,
            "status": "ok",
        }
        counts = {"calls": 0}
        try:
            answer, cut = await self._repaired(request, usage, counts)
            record["answer"] = answer
            if cut:
                record["cut"] = cut
        except CallError as error:
            if error.fatal:
                # It says nothing about this node, so no line: the next run asks again.
                self._stop_because(self.redactor.message(error.reason))
                raise _Dropped from None
            record |= self._failure(error.kind, error.reason)
        except _UnusableError as error:
            record |= self._failure(error.kind, str(error)) | {"content": error.content[:4000]}
        return record | {
            "usage": asdict(usage),
            **counts,
            "time": round(started, 3),
            "seconds": round(time.time() - started, 3),
        }

    def _failure(self, kind: FailureKind, reason: str) -> Record:
        return {"status": "failed", "kind": kind, "reason": self.redactor.message(reason)}

    async def _repaired(
        self, request: Request, usage: Usage, counts: dict[str, int]
    ) -> tuple[dict[str, Any], list[str]]:
        messages, parameters = request.messages, request.parameters
        for repairs_left in range(self.run_settings.repairs, -1, -1):
            reply = await self._reply(request, messages, parameters, counts)
            usage.add(reply.usage)
            if reply.refusal or reply.finish == "content_filter":
                raise _UnusableError(
                    "refused",
                    reply.refusal or "the content filter stopped the answer",
                    reply.content,
                )
            try:
                return request.schema.parse(reply.content, trim=not repairs_left)
            except AnswerError as error:
                cut_off = reply.finish == "length"
                reason = str(error)
                if cut_off:
                    reason += " (the answer was cut at the limit of tokens)"
                if not repairs_left:
                    raise _UnusableError("answer", reason, reply.content) from None
            if cut_off:
                name = self.chat.tokens_parameter
                parameters = parameters | {name: 2 * parameters[name]}
            else:
                messages = [*request.messages]
                if reply.content:
                    messages.append({"role": "assistant", "content": reply.content})
                messages.append({"role": "user", "content": REPAIR.format(error=reason)})
        raise AssertionError("unreachable")

    async def _reply(
        self,
        request: Request,
        messages: list[dict[str, str]],
        parameters: dict[str, Any],
        counts: dict[str, int],
    ) -> Reply:
        """One call with its retries, within the limits."""
        estimate = request.prompt_tokens + self.chat.max_tokens // 2
        attempt = 0
        while True:
            await self._limiter.acquire(estimate)
            if self._stop:
                raise _Dropped
            counts["calls"] += 1
            try:
                reply = await call(self._client, messages, parameters)
            except CallError as error:
                if not error.retry or attempt == self.run_settings.retries:
                    raise
                if error.wait is None:
                    await self._sleep(self._backoff.wait(attempt))
                elif error.wait > self.run_settings.longest_wait:
                    raise CallError(
                        f"{error.reason} (the server asks to wait {error.wait:.0f} seconds)",
                        retry=False,
                    ) from None
                else:
                    self._limiter.pause(error.wait)
                attempt += 1
            else:
                spent = Usage()
                spent.add(reply.usage)
                self._limiter.correct(estimate, spent.total or estimate)
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

    @contextlib.contextmanager
    def _interrupts(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupted(name: str) -> None:
            if self._stop:
                task.cancel()
            self._stop_because(f"it was interrupted ({name})")

        numbers = [signal.SIGINT, signal.SIGTERM]
        try:
            for number in numbers:
                loop.add_signal_handler(number, interrupted, number.name)
        except NotImplementedError:  # pragma: no cover - Windows
            numbers = []
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


class _Dropped(Exception):
    """Not an error: the run is stopping, and this request is left for the next one."""


class _UnusableError(Exception):
    def __init__(self, kind: FailureKind, reason: str, content: str) -> None:
        super().__init__(reason)
        self.kind, self.content = kind, content


def shared_record(record: Record, node: int) -> Record:
    """The line of a node whose request equals one that is answered already."""
    return record | {"node": node, "shared": True, "calls": 0, "usage": asdict(Usage())}


def run_coroutine(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine to its end, also where a loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(asyncio.run(make()))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
