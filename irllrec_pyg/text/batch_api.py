r"""The Batch API of OpenAI: half the price, answers within a day. Write, submit, poll, collect."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..files import atomic_path
from .answers import AnswerSchema
from .chat import ChatSettings, Request, read_completion
from .client import classify
from .engine import RunStopped
from .limits import CallError, run_coroutine
from .records import clean, judged
from .redaction import Redactor
from .store import Record, Store

T = TypeVar("T")
# The service's own limits for one file.
MAX_REQUESTS = 50_000
MAX_BYTES = 190_000_000
ENDED = {"completed", "failed", "expired", "cancelled"}
ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
MARK = "irllrec_sha256"


@dataclass
class BatchJob:
    r"""The batches of one step; each part of the work can be done by another process.

    Args:
        store (Store): What knows of the batches and takes the answers.
        folder (pathlib.Path): Where the files of requests go.
        step (str): The step.
        chat (ChatSettings): The model.
        schema (AnswerSchema): What answers must follow.
        redactor (Redactor): What takes keys out of what is kept.
    """

    store: Store
    folder: Path
    step: str
    chat: ChatSettings
    schema: AnswerSchema
    redactor: Redactor

    def parts(self) -> list[dict[str, Any]]:
        """Each file of requests: its name, hash, batch, and where that stands."""
        names = ("name", "sha256", "id", "status", "error")
        query = f"SELECT {', '.join(names)} FROM batches WHERE step = ? ORDER BY name"
        return [dict(zip(names, row, strict=True)) for row in self.store.rows(query, self.step)]

    def write(self, requests: Iterable[Request], max_requests: int = MAX_REQUESTS) -> int:
        r"""Writes the requests into files, equal ones once.

        Args:
            requests (iterable): What to ask.
            max_requests (int): Requests a file. (default: the service's limit)

        Returns:
            How many requests were written.
        """
        lines: dict[bytes, bytes] = {}
        nodes: list[tuple[int, bytes]] = []
        size = total = 0
        for request in requests:
            if request.key not in lines:
                body = {**request.parameters, "messages": request.messages}
                line = {"custom_id": request.key.hex(), "method": "POST", "url": ENDPOINT}
                text = json.dumps(line | {"body": body}).encode() + b"\n"
                if lines and (len(lines) == max_requests or size + len(text) > MAX_BYTES):
                    self._write_part(lines, nodes)
                    lines, nodes, size = {}, [], 0
                lines[request.key] = text
                size, total = size + len(text), total + 1
            nodes.append((request.node, request.key))
        if lines:
            self._write_part(lines, nodes)
        return total

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
        """
        with self.store.claim():
            return self._talk(self._collect)

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

    def _write_part(self, lines: dict[bytes, bytes], nodes: list[tuple[int, bytes]]) -> None:
        name = f"{self.step}-{len(self.parts()):03d}.jsonl"
        content = b"".join(lines.values())
        with atomic_path(self.folder / name) as path:
            path.write_bytes(content)
        with self.store.transaction():
            self._set(name, hashlib.sha256(content).hexdigest(), None, "written")
            self.store.run_many(
                "INSERT INTO batch_keys VALUES (?, ?)", ((name, key) for key in lines)
            )
            for node, key in nodes:
                self.store.note(self.step, node, key, "batch")

    async def _submit(self) -> int:
        started = 0
        async with self.chat.endpoint.client(files=True) as client:
            waiting = [part for part in self.parts() if part["status"] == "written"]
            if not waiting:
                return 0
            # A process killed between the start of a batch and its note here must not start, and
            # pay for, the same batch again. One that is noted was of another time.
            noted = {row[0] for row in self.store.rows("SELECT id FROM batches")}
            known = {
                (batch.metadata or {}).get(MARK): batch
                async for batch in client.batches.list(limit=100)
                if batch.id not in noted and batch.status not in ("failed", "cancelled")
            }
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

    async def _poll(self) -> list[str]:
        lines = []
        async with self.chat.endpoint.client(files=True) as client:
            for part in self.parts():
                if part["status"] == "written":
                    lines.append(f"{part['name']}: written, not submitted")
                elif part["status"] != "collected":
                    batch = await client.batches.retrieve(part["id"])
                    n = batch.request_counts
                    done = f", {n.completed + n.failed} of {n.total}" if n else ""
                    line = f"{part['name']}: {batch.id} {batch.status}{done}"
                    lines.append(self.redactor.message(line))
        return lines

    async def _collect(self) -> dict[str, int]:
        counts = Counter(ok=0, failed=0, unanswered=0)
        async with self.chat.endpoint.client(files=True) as client:
            for part in self.parts():
                if part["status"] in ("collected", "written"):
                    continue
                batch = await client.batches.retrieve(part["id"])
                if batch.status not in ENDED:
                    continue
                files = [batch.output_file_id, batch.error_file_id]
                contents = [(await client.files.content(f)).content for f in files if f]
                error = batch.errors.data[0].message if batch.errors and batch.errors.data else ""
                keep = "SELECT key FROM batch_keys WHERE name = ?"
                waiting = {row[0] for row in self.store.rows(keep, part["name"])}
                # All of a part or nothing: a process killed before its end collects it again.
                with self.store.transaction():
                    # Only at line feeds: an answer may hold other characters that end lines.
                    for line in b"\n".join(contents).split(b"\n"):
                        key, record = self._read(line, waiting)
                        if key is not None:
                            waiting.discard(key)
                            counts["ok" if record["kind"] == "ok" else "failed"] += 1
                            self.store.put(key, record)
                            self.store.spend(self.step, record)
                    counts["unanswered"] += len(waiting)
                    self._end(part["name"], self.redactor.message(str(error)))
        return dict(counts)

    def _read(self, line: bytes, waiting: set[bytes]) -> tuple[bytes | None, Record]:
        """A line of a batch's file: the request's key, if it waits for one, and the record."""
        try:
            entry = json.loads(line)
            key, response = bytes.fromhex(entry["custom_id"]), entry.get("response") or {}
            if key not in waiting:
                return None, {}
            if entry.get("error") or response.get("status_code") != 200:
                reason = entry.get("error") or response.get("body") or "no answer"
                record: Record = {"kind": "request", "reason": f"batch: {json.dumps(reason)}"[:600]}
                usage = None
            else:
                reply = read_completion(response.get("body"))
                record, usage = judged(reply, self.schema, trim=True), reply.usage
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError, CallError):
            return None, {}  # it is cut, or something else: its request is asked again
        tokens = {"prompt": usage.prompt, "completion": usage.completion} if usage else {}
        extra = {"model": self.chat.model, "usage": tokens, "calls": 1, "batch": True}
        return key, clean(record, self.redactor) | extra

    def _end(self, name: str, error: str) -> None:
        """Ends the waiting for a part: its nodes are what their answers are, or open."""
        with self.store.transaction():
            ended = "UPDATE batches SET status = 'collected', error = ? WHERE name = ?"
            self.store.run(ended, error, name)
            self.store.run(
                "UPDATE nodes SET kind = coalesce("
                "(SELECT kind FROM answers WHERE answers.key = nodes.key), 'open') "
                "WHERE step = ? AND kind = 'batch' "
                "AND key IN (SELECT key FROM batch_keys WHERE name = ?)",
                *(self.step, name),
            )

    def _set(self, name: str, digest: str, batch: str | None, status: str) -> None:
        row = (name, self.step, digest, batch, status, None)
        self.store.run("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?, ?)", *row)
