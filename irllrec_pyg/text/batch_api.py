r"""The Batch API of OpenAI: half the price, answers within a day. Write, submit, poll, collect."""

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .batches import ENDPOINT, Batches
from .client import classify
from .engine import RunStopped
from .limits import run_coroutine
from .records import read_line

T = TypeVar("T")
ENDED = {"completed", "failed", "expired", "cancelled"}
MARK = "irllrec_sha256"


class BatchJob(Batches):
    """What is asked of the server about the batches of one step."""

    def submit(self) -> int:
        """Uploads what was written and starts it; returns how many batches were started."""
        with self.store.claim():
            return self._talk(self._submit)

    def poll(self) -> list[str]:
        """Asks how the batches are doing; returns a line for each that is not collected."""
        return self._talk(self._poll)

    def collect(self) -> dict[str, int]:
        r"""Fetches the answers of batches that ended.

        Returns:
            Counts of ``"ok"``, ``"failed"`` and ``"unanswered"`` requests. Failed ones are kept
            with their reason; unanswered ones, of an expired batch or a damaged line, are to do
            again.

        Raises:
            RunStopped: If a batch or its answers cannot be had; the others are collected.
        """
        with self.store.claim():
            counts, left = self._talk(self._collect)
        if left:
            done = ", ".join(f"{count} {what}" for what, count in counts.items())
            more = f"; and {len(left) - 3} more" if len(left) > 3 else ""
            raise RunStopped(f"{done}, but not of all batches: {'; '.join(left[:3])}{more}.")
        return counts

    def drop(self, name: str | None = None, force: bool = False) -> list[str]:
        r"""Gives up batches whose answers the server no longer has: their nodes are open again.

        Args:
            name (str, optional): The file of requests. (default: each that was submitted)
            force (bool): Give it up whatever the server says, which may have charged for it.
                (default: ``False``)

        Returns:
            A line for each.

        Raises:
            ValueError: If there is no such file, or it was collected.
            RunStopped: If the one that is named may still be collected.
        """
        with self.store.claim():
            over = ("collected",) if name else ("collected", "written")
            parts = [part for part in self.parts() if part["status"] not in over]
            parts = [part for part in parts if name in (None, part["name"])]
            if name and not parts:
                raise ValueError(f"No batch of step {self.step!r} waits for {name}.")
            kept = dict[str, str]() if force else self._talk(lambda: self._kept(parts))
            if name in kept:
                raise RunStopped(f"{name} is kept: {kept[name]}. --force gives it up all the same.")
            for part in parts:
                if part["name"] not in kept:
                    self._end(part["name"], "it was given up")
        gone = "given up, what it was to answer is open again"
        names = [part["name"] for part in parts]
        return [f"{n}: {'kept: ' + kept[n] if n in kept else gone}" for n in names]

    def _talk(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return run_coroutine(make)
        except Exception as error:
            # Of the disk, the store, the settings; anything else is what a server's nonsense does.
            ours = isinstance(error, RunStopped | ValueError | OSError | ImportError)
            if ours and not isinstance(error, TimeoutError | json.JSONDecodeError | UnicodeError):
                raise
            raise RunStopped(
                f"The Batch API of step {self.step!r}: "
                f"{self.redactor.message(classify(error).reason)}. What was done is "
                f"noted in {self.store.path}; run again to go on."
            ) from None

    async def _submit(self) -> int:
        started = 0
        async with self.chat.endpoint.client(files=True) as client:
            waiting = [part for part in self.parts() if part["status"] == "written"]
            if not waiting:
                return 0
            known = self._started([batch async for batch in client.batches.list(limit=100)])
            for part in waiting:
                name, digest = part["name"], part["sha256"]
                batch = known.get(digest)
                if batch is None:
                    path = self.folder / name
                    content = path.read_bytes() if path.exists() else b""
                    if hashlib.sha256(content).hexdigest() != digest:
                        what = "damaged" if path.exists() else "missing"
                        self._end(name, f"its file was {what}")
                        raise RunStopped(f"{path} is {what}: write its requests again.")
                    file = await client.files.create(file=(name, content), purpose="batch")
                    # Tried once: where its answer was lost, the next submit finds the batch.
                    batch = await client.with_options(max_retries=0).batches.create(
                        input_file_id=file.id,
                        endpoint=ENDPOINT,
                        completion_window="24h",
                        metadata={MARK: digest, "step": self.step},
                    )
                    started += 1
                self._set(name, digest, batch.id, batch.status)
        return started

    def _started(self, listed: list[Any]) -> dict[str | None, Any]:
        """Batches of the server, by the hash of their requests, that are not noted here.

        A process killed between the start of a batch and its note must not start, and pay for,
        the same batch again. One that is noted was of another time.
        """
        noted = self._noted()
        return {
            (batch.metadata or {}).get(MARK): batch
            for batch in listed
            if batch.id not in noted and batch.status not in ("failed", "cancelled")
        }

    async def _poll(self) -> list[str]:
        lines = []
        async with self.chat.endpoint.client(files=True) as client:
            for part in self.parts():
                if part["status"] == "written":
                    lines.append(f"{part['name']}: written, not submitted")
                elif part["status"] != "collected":
                    try:
                        batch = await client.batches.retrieve(part["id"])
                    except Exception as error:
                        lines.append(self._why_not(part, error))
                        continue
                    n = batch.request_counts
                    done = f", {n.completed + n.failed} of {n.total}" if n else ""
                    line = f"{part['name']}: {batch.id} {batch.status}{done}"
                    lines.append(self.redactor.message(line))
        return lines

    async def _kept(self, parts: list[dict[str, Any]]) -> dict[str, str]:
        """Those of the parts that may still be collected, and how they stand."""
        kept = {}
        async with self.chat.endpoint.client(files=True) as client:
            listed = [batch async for batch in client.batches.list(limit=100)]
            started, ids = self._started(listed), {batch.id for batch in listed}
            # Another step may have another key.
            here = any(part["id"] in ids for part in self.parts())
            for part in parts:
                if part["status"] != "written":
                    stands = await self._stands(client, part, part["id"] in ids)
                    if not stands and not here:
                        stands = (
                            "the server knows no batch of this step, as one does that is asked "
                            "with another key or project, or at another URL"
                        )
                elif batch := started.get(part["sha256"]):
                    stands = f"it was started as {batch.id}; batch-submit notes that"
                else:
                    stands = ""
                if stands:
                    kept[part["name"]] = self.redactor.message(stands)
        return kept

    async def _stands(self, client: Any, part: dict[str, Any], listed: bool) -> str:
        """How a batch stands at the server; nothing where it, or what it answered, is gone."""
        from openai import NotFoundError

        batch = None
        try:
            batch = await client.batches.retrieve(part["id"])
            await _contents(client, batch)
        except NotFoundError:
            return "the server lists it, but does not give it" if listed and not batch else ""
        except Exception as error:
            return f"the server does not say how it stands ({classify(error).reason})"
        return f"{batch.id} is {batch.status}"

    def _why_not(self, part: dict[str, Any], error: Exception) -> str:
        """What a server says in the place of a batch; what it would say of every one is raised."""
        found = classify(error)
        if found.fatal:
            raise error
        gone = "HTTP 404" in found.reason
        advice = "; unless another key or URL has it, batch-drop gives it up" if gone else ""
        return self.redactor.message(f"{part['name']}: {part['id']}: {found.reason}{advice}")

    async def _collect(self) -> tuple[dict[str, int], list[str]]:
        counts, left = Counter(ok=0, failed=0, unanswered=0), list[str]()
        async with self.chat.endpoint.client(files=True) as client:
            for part in self.parts():
                if part["status"] in ("collected", "written"):
                    continue
                try:
                    batch = await client.batches.retrieve(part["id"])
                    contents = await _contents(client, batch)
                    errors = batch.errors.data if batch.errors else None
                    failure = errors[0].message if errors else ""
                except Exception as error:
                    left.append(self._why_not(part, error))
                    continue
                if batch.status not in ENDED:
                    continue
                keep = "SELECT key FROM batch_keys WHERE name = ?"
                waiting = {row[0] for row in self.store.rows(keep, part["name"])}
                # Only at line feeds: an answer may hold other characters that end lines.
                lines = list(filter(None, b"\n".join(contents).split(b"\n")))
                read = [read_line(line, self.schema, self.redactor) for line in lines]
                unread = [line for line, (key, _) in zip(lines, read, strict=True) if not key]
                answered = batch.request_counts is None or batch.request_counts.completed
                if batch.output_file_id and answered and len(unread) == len(lines):
                    # Such as a page that a proxy gives in its place: what was paid is still there.
                    begin = b"\n".join(unread)[:60].decode("utf-8", "replace")
                    what = f"{part['name']}: {part['id']}: its answers cannot be read: {begin!r}"
                    left.append(self.redactor.message(what))
                    continue
                # All of a part or nothing: a process killed before its end collects it again.
                with self.store.transaction():
                    for key, record in read:
                        if key in waiting:
                            record["model"] = self.chat.model
                            waiting.discard(key)
                            counts["ok" if record["kind"] == "ok" else "failed"] += 1
                            known = self.store.answer(key) or record
                            if record["kind"] == "ok" or known["kind"] != "ok":
                                self.store.put(key, record)
                            self.store.spend(self.step, record)
                    counts["unanswered"] += len(waiting)
                    self._end(part["name"], self.redactor.message(str(failure)))
                if unread:
                    shown = self.redactor.message(unread[0][:200].decode("utf-8", "replace"))
                    warnings.warn(
                        f"{len(unread)} lines of what {part['id']} answered cannot be used, and "
                        f"their requests are open again; the first one begins with {shown!r}.",
                        stacklevel=2,
                    )
        return dict(counts), left


async def _contents(client: Any, batch: Any) -> list[bytes]:
    """What a batch that ended has answered, in files of lines."""
    from openai import NotFoundError

    contents = list[bytes]()
    files = [batch.output_file_id, batch.error_file_id] if batch.status in ENDED else []
    for file in filter(None, files):
        try:
            contents.append((await client.files.content(file)).content)
        except NotFoundError:
            if not contents:  # the answers; without the file of failures they are as good
                raise
    return contents
