r"""The four steps from tables to texts; each can be run, stopped, resumed and looked at."""

import hashlib
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .batch_api import BatchJob
from .chat import ChatClient, ChatSettings, OpenAIChat, Request, Usage
from .engine import Budget, ChatEngine
from .fallbacks import Origin, fallback_text
from .imports import import_files, open_store
from .limits import RunSettings
from .profiles import Sampling, Texts, context
from .prompts import NEEDS, STEPS, TEXT_FIELD, PromptSet, StepName
from .redaction import Redactor
from .source import Side, TrainingTexts
from .store import FAILED, Record, Store

#: Failures that say something about the node; "transport" says that a server was busy or away.
FINAL = FAILED[1:]


class PipelineError(ValueError):
    """A step that cannot be run as asked."""


class TextPipeline:
    r"""Makes profiles and intents of all users and items.

    .. code-block:: python

        source = TrainingTexts(data, items, reviews)
        pipeline = TextPipeline(source, "texts", ChatSettings("gpt-4o-mini"), prompts="movies")
        print(plan(pipeline))
        for step in STEPS:
            pipeline.run_step(step)
        Embedder(pipeline, WordLlamaEncoder()).attach(data)

    A node that was answered stays answered until the prompts, the model or the tables change, also
    where an earlier step has got new texts since; ``refresh`` looks at every prompt again.

    Args:
        source (TrainingTexts): What the prompts may see.
        folder (str or pathlib.Path): Where answers and results go.
        chat (ChatSettings or dict, optional): The model, or one a step. Nodes of a step without a
            model have no generated text. (default: ``None``)
        prompts (str, pathlib.Path or PromptSet): The prompts. (default: ``"neutral"``)
        run (RunSettings, optional): How hard to try. (default: ``None``)
        sampling (Sampling, optional): How much goes into a prompt. (default: ``None``)
        client (ChatClient, optional): What asks the model. (default: ``None``, the openai client)
        cache (str or pathlib.Path, optional): A file of answers that several folders and users
            share: what stands there is not asked again. (default: ``None``)
        budget (Budget, optional): What may be spent on this folder. (default: ``None``)

    Raises:
        PipelineError: If the folder was made with another split, or lacks the record of its split.
        StoreError: If the folder's file, or the cache, is damaged.
    """

    def __init__(
        self,
        source: TrainingTexts,
        folder: str | Path,
        chat: ChatSettings | Mapping[StepName, ChatSettings] | None = None,
        prompts: str | Path | PromptSet = "neutral",
        run: RunSettings | None = None,
        sampling: Sampling | None = None,
        client: ChatClient | None = None,
        cache: str | Path | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.source, self.folder = source, Path(folder)
        self.chat: dict[StepName, ChatSettings] = (
            dict.fromkeys(STEPS, chat) if isinstance(chat, ChatSettings) else dict(chat or {})
        )
        self.prompts = prompts if isinstance(prompts, PromptSet) else PromptSet(prompts)
        self.run_settings, self.sampling = run or RunSettings(), sampling or Sampling()
        self.client, self.budget = client, budget
        self.options: dict[str, Any] | None = None  # of a command line, kept with what they make
        self.store, self._checked = open_store(self.folder), False
        self._versions: dict[StepName, str] = {}
        self.cache = Store(Path(cache), shared=True) if cache is not None else None
        self._check_split()

    # Looking ======================================================================================

    def side(self, step: StepName) -> Side:
        """Whether a step is about users or items."""
        return "item" if step.startswith("item") else "user"

    def num_nodes(self, step: StepName) -> int:
        """How many nodes a step is about."""
        return self.source.num_nodes(self.side(step))

    def request(self, step: StepName, node: int, texts: Texts | None = None) -> Request | None:
        r"""What is asked about a node, or ``None`` if nothing is known of it.

        Args:
            step (str): The step.
            node (int): The node.
            texts (callable, optional): Generated texts of earlier steps to use instead of the
                store's. (default: ``None``)
        """
        chat = self._chat(step)
        found = context(step, self.source, self.sampling, node, texts or self.generated)
        if found is None:
            return None
        schema = self.prompts.schemas[step]
        messages = self.prompts.messages(step, found, chat.response_format == "none")
        return Request(step, node, messages, chat.parameters(schema), schema, chat.tokens_parameter)

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
        row = self.store.run(
            "SELECT key FROM nodes WHERE step = ? AND node = ?", step, node
        ).fetchone()
        return self.store.answer(row[0]) if row and row[0] and self._is_live(step) else None

    def answers(self, step: StepName) -> Iterator[tuple[int, dict[str, Any]]]:
        """Nodes that have an answer, ascending, and the answers."""
        rows = self.store.rows(
            "SELECT node, body FROM nodes JOIN answers USING (key) "
            "WHERE step = ? AND nodes.kind = 'ok' ORDER BY node",
            step,
        )
        for node, body in rows if self._is_live(step) else ():
            yield node, json.loads(body)["answer"]

    def texts(self, step: StepName) -> dict[int, str]:
        """The generated texts of a step by node."""
        return {node: answer[TEXT_FIELD[step]] for node, answer in self.answers(step)}

    def all_texts(self, step: StepName) -> Iterator[tuple[str, Origin | None, dict[str, Any]]]:
        """For each node its text, where it is from (the model, its attributes, or nowhere), and the
        answer.
        """
        answers = self.answers(step)
        at, answer = next(answers, (-1, {}))
        for node in range(self.num_nodes(step)):
            if node == at:
                yield answer[TEXT_FIELD[step]], "model", answer
                at, answer = next(answers, (-1, {}))
            else:
                text = fallback_text(self.source, step, node)
                yield text, "attributes" if text else None, {}

    def failures(self) -> list[tuple[StepName, Any, str]]:
        """Step, the owner's id, and the reason of every failure that stands."""
        return [
            (step, self.source.raw_id(self.side(step), node), json.loads(body)["reason"])
            for step in self.chat
            for node, body in self.store.rows(
                "SELECT node, body FROM nodes JOIN answers USING (key) WHERE step = ? AND "
                "nodes.kind IN ('transport', 'request', 'answer', 'refused') ORDER BY node",
                step,
            )
        ]

    # Running ======================================================================================

    def run_step(
        self,
        step: StepName,
        limit: int | None = None,
        retry_failed: bool = False,
        allow_incomplete: bool = False,
        progress: bool = True,
        refresh: bool = False,
    ) -> Counter[str]:
        r"""Asks for every node that has no answer yet.

        Args:
            step (str): The step.
            limit (int, optional): Ask for the first so many nodes of a seeded random order only;
                those that are done count. (default: ``None``)
            retry_failed (bool): Ask again also for what failed for good. (default: ``False``)
            allow_incomplete (bool): Run although nodes of an earlier step are still to be asked
                for; implied by ``limit``. (default: ``False``)
            progress (bool): Show a bar. (default: ``True``)
            refresh (bool): Look at all prompts again, and ask for those that have changed, such as
                those of users whose items have got profiles since. (default: ``False``)

        Returns:
            The :meth:`counts` after it.

        Raises:
            PipelineError: If an earlier step is incomplete.
            RunStopped: If the run had to stop.
        """
        client = self.client or OpenAIChat(self._chat(step).endpoint)
        if not allow_incomplete and limit is None:
            self.check_complete(NEEDS[step])
        with self.claim():
            self._renew(step, refresh)
            counts = self.counts(step)
            total = counts["open"] + counts["transport"]
            total += sum(counts[kind] for kind in FINAL) if retry_failed else 0
            if self.budget:
                used = Usage(*self.store.used()[1:])
                self.budget.spent = max(self.budget.spent, self.budget.cost(used))
            engine = ChatEngine(client, self.run_settings, self._redactor(step), self.budget)
            failed: set[bytes] = set()
            with tqdm(
                total=min(total, limit or total), desc=step, unit="node", disable=not progress
            ) as bar:

                def known(request: Request) -> bool:
                    again = retry_failed and request.key not in failed
                    found = self._find(request, again) or request.key in failed
                    bar.update(found)
                    return found

                def book(request: Request, record: Record) -> None:
                    self._book(request, record)
                    if record["kind"] != "ok":
                        failed.add(request.key)
                        bar.set_postfix(failed=len(failed), refresh=False)
                    bar.update()

                engine.run(self._requests(step, limit, retry_failed), book, known)
        return self.counts(step)

    def batch(self, step: StepName) -> BatchJob:
        """The step's job for the Batch API."""
        chat, folder = self._chat(step), self.folder / "batch"
        return BatchJob(
            self.store, folder, step, chat, self.prompts.schemas[step], self._redactor(step)
        )

    def batch_requests(
        self, step: StepName, limit: int | None = None, retry_failed: bool = False
    ) -> Iterator[Request]:
        """What a batch of the step would ask; to be read while the folder is claimed."""
        self.check_complete(NEEDS[step])
        self._renew(step)
        for request in self._requests(step, limit, retry_failed):
            if not self._find(request, retry_failed):
                yield request

    def check_complete(self, steps: Iterable[StepName]) -> None:
        """Raises where a step that has a model still has nodes to ask for."""
        for step in steps:
            if step not in self.chat:
                continue
            counts = self.counts(step)
            if waiting := counts["open"] + counts["transport"] + counts["batch"]:
                raise PipelineError(
                    f"{waiting} of {self.num_nodes(step)} nodes of step {step!r} "
                    "have no answer yet: run that step first, or pass allow_incomplete=True "
                    "(--allow-incomplete), and their attributes stand in."
                )

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
            with self.store.transaction():
                self.store.set("split", split)
                self.store.set("nodes", {step: self.num_nodes(step) for step in STEPS})
                if self.options is not None:
                    self.store.set("options", self.options)
            if not self._checked and (damaged := self.store.drop_damaged()):
                warnings.warn(
                    f"{damaged} answers in {self.store.path} were damaged: they are asked for "
                    "again.",
                    stacklevel=2,
                )
            self._checked = True
            yield

    # Inside =======================================================================================

    def _chat(self, step: StepName) -> ChatSettings:
        if step not in self.chat:
            raise PipelineError(f"No chat model is set for step {step!r}.")
        return self.chat[step]

    def _redactor(self, step: StepName) -> Redactor:
        return Redactor(self._chat(step).endpoint.key() if self.client is None else "")

    def generated(self, step: StepName, node: int) -> str:
        """The generated text of a step and a node, or an empty string."""
        query = (
            "SELECT body FROM nodes JOIN answers USING (key) WHERE step = ? AND node = ? "
            "AND nodes.kind = 'ok'"
        )
        row = self.store.run(query, step, node).fetchone() if self._is_live(step) else None
        return str(json.loads(row[0])["answer"][TEXT_FIELD[step]]) if row else ""

    def _requests(self, step: StepName, limit: int | None, retry_failed: bool) -> Iterator[Request]:
        """Requests for the nodes that have no answer, each rendered when its turn comes."""
        kinds, texts = self.kinds(step), lru_cache(maxsize=1 << 16)(self.generated)
        again = {"open", "transport", *(FINAL if retry_failed else ())}
        left = self.num_nodes(step) if limit is None else limit
        for node in self.order(step, limit):
            kind = kinds.get(node, "open")
            if not left:
                return
            left -= kind != "no_text"
            if kind in again:
                request = self.request(step, node, texts)
                if request is not None:
                    yield request
                else:
                    self.store.note(step, node, None, "no_text")
                    left += 1

    def order(self, step: StepName, limit: int | None) -> Iterable[int]:
        """The nodes in the order in which they are asked for: seeded, where that is for some."""
        nodes = self.num_nodes(step)
        if limit is None:
            return range(nodes)
        seed = [self.sampling.seed, STEPS.index(step)]
        return (int(node) for node in np.random.default_rng(seed).permutation(nodes))

    def _find(self, request: Request, again: bool) -> bool:
        """Whether a request need not be asked; notes what is known of its node."""
        record = self.find(request, again)
        if record is not None:
            with self.store.transaction():
                if record.pop("cached", False):
                    self.store.put(request.key, record)
                self.store.note(request.step, request.node, request.key, record["kind"])
        return record is not None

    def find(self, request: Request, again: bool = False) -> Record | None:
        """What is known of a request, in the folder or in the cache; final failures, unless they
        are asked for again.
        """
        record = self.store.answer(request.key)
        if record is not None and (
            record["kind"] == "ok" or (record["kind"] in FINAL and not again)
        ):
            return record
        if self.cache and (record := self.cache.answer(request.key)) and record["kind"] == "ok":
            return record | {"cached": True, "calls": 0}
        waiting = "SELECT 1 FROM batch_keys JOIN batches USING (name) WHERE key = ? AND status != ?"
        if self.store.run(waiting, request.key, "collected").fetchone():
            return {"kind": "batch"}
        return None

    def _book(self, request: Request, record: Record) -> None:
        with self.store.transaction():
            self.store.put(request.key, record)
            self.store.note(request.step, request.node, request.key, record["kind"])
            self.store.spend(request.step, record)
        if self.cache and record["kind"] == "ok":
            self.cache.put(request.key, record)

    def _version(self, step: StepName) -> str:
        """A hash of everything that the prompts of a step are made from, but for the answers."""
        if step not in self._versions:
            chat = self._chat(step)
            whole = [
                self.prompts.hashes,
                chat.parameters(self.prompts.schemas[step]),
                chat.response_format,
                vars(self.sampling),
                self.source.split_hash,
                self.source.text_hash,
                [self._version(need) for need in NEEDS[step] if need in self.chat],
            ]
            text = json.dumps(whole, sort_keys=True)
            self._versions[step] = hashlib.sha256(text.encode()).hexdigest()
        return self._versions[step]

    def _is_live(self, step: StepName) -> bool:
        """Whether what the store says of a step is about the present prompts and model."""
        kept = self.store.get(f"version of {step}")
        return step in self.chat and kept in (None, self._version(step))

    def _renew(self, step: StepName, refresh: bool = False) -> None:
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
