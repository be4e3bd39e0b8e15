r"""Batches of one step: the files of their requests, and what became of them."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..files import atomic_path
from .answers import AnswerSchema
from .chat import ChatSettings, Request
from .redaction import Redactor
from .store import Store

# The service's own limits for one file.
MAX_REQUESTS = 50_000
MAX_BYTES = 190_000_000
ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"


@dataclass
class Batches:
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

    def _noted(self) -> set[str]:
        return {row[0] for row in self.store.rows("SELECT id FROM batches")}

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
