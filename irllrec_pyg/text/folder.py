r"""A folder of texts: what became of the nodes of each step, and who may write it."""

import hashlib
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .chat import ChatSettings
from .imports import import_files, open_store
from .profiles import Sampling
from .prompts import NEEDS, STEPS, TEXT_FIELD, PromptSet, StepName
from .source import Side, TrainingTexts
from .store import FAILED, Record, is_whole


class PipelineError(ValueError):
    """A step that cannot be run as asked."""


class TextFolder:
    r"""What a folder holds of the texts of all users and items.

    Args:
        source (TrainingTexts): What the prompts may see.
        folder (str or pathlib.Path): The folder.
        chat (ChatSettings or dict, optional): The model, or one a step. (default: ``None``)
        prompts (str, pathlib.Path or PromptSet): The prompts. (default: ``"neutral"``)
        sampling (Sampling, optional): How much goes into a prompt. (default: ``None``)

    Raises:
        PipelineError: If the folder was made with another split, or lacks the record of its split.
        StoreError: If the folder's file is damaged.
    """

    def __init__(
        self,
        source: TrainingTexts,
        folder: str | Path,
        chat: ChatSettings | Mapping[StepName, ChatSettings] | None = None,
        prompts: str | Path | PromptSet = "neutral",
        sampling: Sampling | None = None,
    ) -> None:
        self.source, self.folder, self.sampling = source, Path(folder), sampling or Sampling()
        self.chat: dict[StepName, ChatSettings] = (
            dict.fromkeys(STEPS, chat) if isinstance(chat, ChatSettings) else dict(chat or {})
        )
        self.prompts = prompts if isinstance(prompts, PromptSet) else PromptSet(prompts)
        self.options: dict[str, Any] | None = None  # of a command line, kept with what they make
        self.store, self._checked = open_store(self.folder), False
        self._versions: dict[StepName, str] = {}
        self._check_split()

    def side(self, step: StepName) -> Side:
        """Whether a step is about users or items."""
        return "item" if step.startswith("item") else "user"

    def num_nodes(self, step: StepName) -> int:
        """How many nodes a step is about."""
        return self.source.num_nodes(self.side(step))

    def kinds(self, step: StepName) -> dict[int, str]:
        r"""What became of the nodes of a step: ``"ok"``, a kind of failure, ``"no_text"``, where
        nothing can be asked, ``"batch"`` or ``"open"``. Nodes never looked at are left out.
        """
        rows = self.store.rows("SELECT node, kind FROM nodes WHERE step = ?", step)
        return {node: sys.intern(kind) for node, kind in rows} if self._is_live(step) else {}

    def counts(self, step: StepName) -> Counter[str]:
        """How many nodes of a step are of each kind; ``"open"`` are those to ask for."""
        return self.store.counts(step, self.num_nodes(step), self._is_live(step))

    def record(self, step: StepName, node: int) -> Record | None:
        """The answer about a node, or how it failed."""
        query = "SELECT key FROM nodes WHERE step = ? AND node = ? AND key NOT NULL"
        row = self.store.run(query, step, node).fetchone() if self._is_live(step) else None
        return self.store.answer(row[0]) if row else None

    def records(
        self, step: StepName, kinds: Sequence[str] = ("ok",)
    ) -> Iterator[tuple[int, Record]]:
        """Nodes whose records are of these kinds, ascending, and the records."""
        query = (
            "SELECT node, body, key, sum FROM nodes JOIN answers USING (key, kind) WHERE step = ? "
            f"AND node > ? AND kind IN ({', '.join('?' * len(kinds))}) ORDER BY node LIMIT 1000"
        )
        last = -1 if self._is_live(step) else self.num_nodes(step)
        # Page by page: while a query is open, what is written meanwhile piles up beside the file.
        while page := self.store.run(query, step, last, *kinds).fetchall():
            whole = ((node, body) for node, body, key, found in page if is_whole(key, body, found))
            yield from ((node, json.loads(body)) for node, body in whole)
            last = page[-1][0]

    def texts(self, step: StepName) -> dict[int, str]:
        """The generated texts of a step by node."""
        return {node: found["answer"][TEXT_FIELD[step]] for node, found in self.records(step)}

    def generated(self, step: StepName, node: int) -> str:
        """The generated text of a step and a node, or an empty string."""
        record = self.record(step, node) or {}
        return str(record["answer"][TEXT_FIELD[step]]) if "answer" in record else ""

    def failures(self) -> list[tuple[StepName, Any, str]]:
        """Step, the owner's id, and the reason of every failure that stands."""
        return [
            (step, self.source.raw_id(self.side(step), node), record["reason"])
            for step in self.chat
            for node, record in self.records(step, FAILED)
        ]

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Lets this process alone write the folder, and notes the split that it is for."""
        before, old = (self.folder / name for name in ("manifest.json", "journal"))
        if not self.store.exists and before.exists() and not old.exists():
            raise PipelineError(
                f"{self.store.path} is missing, which held the answers that manifest.json "
                "tells of: put it back, or delete manifest.json to begin anew."
            )
        with self.store.claim():
            import_files(self.store, self.folder)
            self._check_split()
            split = {"data": self.source.name, "split": self.source.split_hash}
            nodes = {step: self.num_nodes(step) for step in STEPS}
            with self.store.transaction():
                for name, value in {
                    "split": split,
                    "nodes": nodes,
                    "options": self.options,
                }.items():
                    if value is not None:
                        self.store.set(name, value)
            if not self._checked and (damaged := self.store.drop_damaged()):
                what = f"{damaged} answers in {self.store.path} were damaged"
                warnings.warn(f"{what}: they are asked for again.", stacklevel=2)
            self._checked = True
            yield

    def _chat(self, step: StepName) -> ChatSettings:
        if step not in self.chat:
            raise PipelineError(f"No chat model is set for step {step!r}.")
        return self.chat[step]

    def _version(self, step: StepName) -> str:
        """A hash of everything that the prompts of a step are made from, but for the answers."""
        if step not in self._versions:
            chat = self._chat(step)
            asked = [chat.parameters(self.prompts.schemas[step]), chat.response_format]
            shown = [self.source.split_hash, self.source.text_hash, vars(self.sampling)]
            needs = [self._version(need) for need in NEEDS[step] if need in self.chat]
            text = json.dumps([self.prompts.hashes, asked, shown, needs], sort_keys=True)
            self._versions[step] = hashlib.sha256(text.encode()).hexdigest()
        return self._versions[step]

    def _is_live(self, step: StepName) -> bool:
        """Whether what the store says of a step is about the present prompts and model."""
        kept = self.store.get(f"version of {step}")
        return step in self.chat and kept in (None, self._version(step))

    def renew(self, step: StepName, refresh: bool = False) -> None:
        """Forgets what became of the nodes where their prompts may be others now; the answers
        stay, and are found again by their prompts.
        """
        name, version = f"version of {step}", self._version(step)
        if refresh or self.store.get(name) != version:
            with self.store.transaction():
                self.store.run("DELETE FROM nodes WHERE step = ?", step)
                self.store.set(name, version)

    def _check_split(self) -> None:
        """One folder, one split: texts of another split could tell what is held out."""
        kept = self.store.get("split")
        if kept is None and self.store.run("SELECT 1 FROM answers").fetchone():
            raise PipelineError(
                f"{self.store.path} holds answers, but not what split they are of: put back "
                "a copy, or use another folder, so that nothing held out leaks in."
            )
        if kept is not None and kept["split"] != self.source.split_hash:
            raise PipelineError(
                f"The texts in {self.folder} were made from another split of the "
                "data: use another folder, so that nothing held out leaks in."
            )

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.source!r}, folder={str(self.folder)!r})"
