r"""The Batch API of OpenAI: half the price, answers within a day. Write, submit, poll, collect."""

import hashlib
import json
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeVar

from .answers import AnswerError, AnswerSchema
from .chat import CallError, ChatSettings, Request, Usage, classify, read_completion
from .engine import RunStopped, run_coroutine, shared_record
from .files import atomic, write_json
from .journal import Journal, Record
from .redaction import Redactor

T = TypeVar("T")
# The service's own limits for one file.
MAX_REQUESTS = 50_000
MAX_BYTES = 190_000_000
ENDED = {"completed", "failed", "expired", "cancelled"}
ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"


class BatchJob:
    r"""The batches of one step, kept in files so that each part can be done by another process.

    Args:
        folder (pathlib.Path): Where the files go.
        step (str): The step.
        chat (ChatSettings): The model.
        schema (AnswerSchema): What answers must follow.
        journal (pathlib.Path): The step's journal.
        on_change (callable): Called after the journal or the job changed. (default: nothing)
    """

    def __init__(
        self,
        folder: Path,
        step: str,
        chat: ChatSettings,
        schema: AnswerSchema,
        journal: Path,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder, self.step, self.chat, self.schema = folder, step, chat, schema
        self._journal, self._on_change = journal, on_change
        self._path = folder / f"{step}.json"
        self.parts: list[dict[str, Any]] = (
            json.loads(self._path.read_text("utf-8"))["parts"] if self._path.exists() else []
        )

    def waiting_keys(self) -> set[str]:
        """Keys of requests that were written or submitted and not collected yet."""
        return {key for part in self.parts if not part["collected"] for key in part["nodes"]}

    def write(self, requests: Iterable[Request], max_requests: int = MAX_REQUESTS) -> int:
        r"""Writes the requests into files, equal ones once.

        Args:
            requests (iterable): What to ask.
            max_requests (int): Requests a file. (default: the service's limit)

        Returns:
            How many requests were written.
        """
        nodes: dict[str, list[int]] = {}
        lines: list[bytes] = []
        size = total = 0
        for request in requests:
            key = request.key
            if key in nodes:
                nodes[key].append(request.node)
                continue
            line = (
                json.dumps(
                    {
                        "custom_id": key,
                        "method": "POST",
                        "url": ENDPOINT,
                        "body": {**request.parameters, "messages": request.messages},
                    }
                ).encode()
                + b"\n"
            )
            if lines and (len(lines) == max_requests or size + len(line) > MAX_BYTES):
                self._write_part(lines, nodes)
                nodes, lines, size = {}, [], 0
            nodes[key] = [request.node]
            lines.append(line)
            size, total = size + len(line), total + 1
        if lines:
            self._write_part(lines, nodes)
        return total

    def submit(self) -> int:
        """Uploads what was written and starts it; returns how many batches were started."""
        return self._talk(self._submit)

    def poll(self) -> list[str]:
        """Asks how the batches are doing; returns a line for each that is not collected."""
        return self._talk(self._poll)

    def collect(self) -> dict[str, int]:
        r"""Fetches the answers of batches that ended and puts them into the journal.

        Returns:
            Counts of ``"ok"``, ``"failed"`` and ``"unanswered"`` requests. Failed ones stand in the
            journal; unanswered ones (of an expired batch) are to do again.
        """
        return self._talk(self._collect)

    def _talk(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        import openai

        try:
            return run_coroutine(make)
        except openai.OpenAIError as error:
            reason = Redactor(self.chat.endpoint.key()).message(classify(error).reason)
            raise RunStopped(
                f"The Batch API of step {self.step!r}: {reason}. What was done is "
                f"noted in {self._path}; run again to go on."
            ) from None

    def _write_part(self, lines: list[bytes], nodes: dict[str, list[int]]) -> None:
        content = b"".join(lines)
        name = f"{self.step}-{len(self.parts):03d}.jsonl"
        with atomic(self.folder / name) as file:
            file.write(content)
        self.parts.append(
            {
                "file": name,
                "sha256": hashlib.sha256(content).hexdigest(),
                "nodes": nodes,
                "batch": None,
                "status": "written",
                "collected": False,
            }
        )
        self._save()

    async def _submit(self) -> int:
        started = 0
        async with self.chat.endpoint.client() as client:
            known: dict[str, Any] | None = None
            for part in self.parts:
                if part["batch"] is not None or part["collected"]:
                    continue
                if known is None:
                    # A process killed between the start of a batch and its note here must not
                    # start, and pay for, the same batch again.
                    known = {
                        (batch.metadata or {}).get("irllrec_sha256", ""): batch
                        async for batch in client.batches.list(limit=100)
                    }
                batch = known.get(part["sha256"])
                if batch is None:
                    content = (self.folder / part["file"]).read_bytes()
                    file = await client.files.create(file=(part["file"], content), purpose="batch")
                    batch = await client.batches.create(
                        input_file_id=file.id,
                        endpoint=ENDPOINT,
                        completion_window="24h",
                        metadata={"irllrec_sha256": part["sha256"], "step": self.step},
                    )
                    started += 1
                part |= {"batch": batch.id, "status": batch.status}
                self._save()
        return started

    async def _poll(self) -> list[str]:
        lines = []
        async with self.chat.endpoint.client() as client:
            for part in self.parts:
                if part["collected"]:
                    continue
                if part["batch"] is None:
                    lines.append(f"{part['file']}: written, not submitted")
                    continue
                batch = await client.batches.retrieve(part["batch"])
                part["status"] = batch.status
                counts = batch.request_counts
                done = f", {counts.completed + counts.failed} of {counts.total}" if counts else ""
                lines.append(f"{part['file']}: {batch.id} {batch.status}{done}")
        self._save()
        return lines

    async def _collect(self) -> dict[str, int]:
        counts = {"ok": 0, "failed": 0, "unanswered": 0}
        redactor = Redactor(self.chat.endpoint.key())
        async with self.chat.endpoint.client() as client:
            for part in self.parts:
                if part["collected"] or part["batch"] is None:
                    continue
                batch = await client.batches.retrieve(part["batch"])
                part["status"] = batch.status
                if batch.status not in ENDED:
                    continue
                lines: list[str] = []
                for file_id in (batch.output_file_id, batch.error_file_id):
                    if file_id:
                        content = await client.files.content(file_id)
                        lines += content.text.splitlines()
                with Journal(self._journal, redactor=redactor) as journal:
                    answered = self._journal_lines(lines, part["nodes"], journal, redactor, counts)
                if batch.status == "failed" and batch.errors and batch.errors.data:
                    part["error"] = redactor.message(str(batch.errors.data[0].message))
                counts["unanswered"] += len(part["nodes"].keys() - answered)
                # Only now: a process killed before this collects again, into the same lines.
                part["collected"] = True
                self._save()
        return counts

    def _journal_lines(
        self,
        lines: list[str],
        nodes: dict[str, list[int]],
        journal: Journal,
        redactor: Redactor,
        counts: dict[str, int],
    ) -> set[str]:
        answered = set()
        for line in lines:
            if not line.strip():
                continue
            entry = json.loads(line)
            key = str(entry.get("custom_id"))
            if key not in nodes:
                continue
            answered.add(key)
            record = self._record(key, entry, redactor)
            counts[record["status"]] += 1
            for at, node in enumerate(nodes[key]):
                known = journal.get(key, node)
                if known is None or known["status"] != "ok":
                    journal.append(shared_record(record, node) if at else record | {"node": node})
        return answered

    def _record(self, key: str, entry: dict[str, Any], redactor: Redactor) -> Record:
        record: Record = {
            "key": key,
            "node": -1,
            "step": self.step,
            "model": self.chat.model,
            "batch": True,
            "calls": 1,
        }
        usage, content = Usage(), ""
        try:
            response = entry.get("response") or {}
            if entry.get("error") or response.get("status_code", 0) != 200:
                reason = entry.get("error") or response.get("body") or "no answer"
                raise CallError(f"batch: {json.dumps(reason)}"[:600], retry=False, kind="request")
            reply = read_completion(response.get("body"))
            usage.add(reply.usage)
            content = reply.content
            if reply.refusal or reply.finish == "content_filter":
                raise CallError(reply.refusal or "the content filter stopped the answer", False)
            answer, cut = self.schema.parse(content, trim=True)
            record |= {"status": "ok", "answer": answer} | ({"cut": cut} if cut else {})
        except CallError as error:
            record |= {
                "status": "failed",
                "kind": "request",
                "reason": redactor.message(error.reason),
            }
        except AnswerError as error:
            record |= {
                "status": "failed",
                "kind": "answer",
                "reason": str(error),
                "content": content[:4000],
            }
        return record | {"usage": asdict(usage)}

    def _save(self) -> None:
        write_json(self._path, {"parts": self.parts})
        self._on_change()
