r"""The four steps from tables to texts; each can be run, stopped, resumed and looked at."""

import hashlib
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .batch_api import BatchJob
from .budget import Budget
from .chat import ChatClient, ChatSettings, OpenAIChat, Request, Usage
from .engine import ChatEngine
from .fallbacks import Origin, fallback_text
from .folder import PipelineError, TextFolder
from .limits import RunSettings
from .profiles import Sampling, Texts, context
from .prompts import NEEDS, STEPS, TEXT_FIELD, PromptSet, StepName
from .redaction import Redactor
from .source import TrainingTexts
from .store import FAILED, Record, Store

#: Failures that say something about the node; "transport" says that a server was busy or away.
FINAL = FAILED[1:]


class TextPipeline(TextFolder):
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
            share: what stands there is not asked again, and what another process is asking is
            waited for, up to five minutes; batches do not wait. (default: ``None``)
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
        super().__init__(source, folder, chat, prompts, sampling)
        self.run_settings, self.client, self.budget = run or RunSettings(), client, budget
        self.cache = Store(Path(cache), shared=True) if cache is not None else None
        # Whose requests are in flight; after a kill the folder's next run asks them at once.
        place = f"{platform.node()} {self.folder.absolute()}"
        self._me = hashlib.sha256(place.encode()).hexdigest()

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

    def all_texts(self, step: StepName) -> Iterator[tuple[str, Origin | None, dict[str, Any]]]:
        """For each node its text, where it is from (the model, its attributes, or nowhere), and the
        answer.
        """
        none: tuple[int, Record] = (-1, {})
        records = self.records(step)
        at, record = next(records, none)
        for node in range(self.num_nodes(step)):
            if node == at:
                yield record["answer"][TEXT_FIELD[step]], "model", record["answer"]
                at, record = next(records, none)
            else:
                text = fallback_text(self.source, step, node)
                yield text, "attributes" if text else None, {}

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
            self.renew(step, refresh)
            if self.budget:
                used = Usage(*self.store.used()[1:])
                self.budget.spent = max(self.budget.spent, self.budget.cost(used))
            how = (self.run_settings, self._redactor(step), self.budget)
            engine = ChatEngine(client, *how, proven=self.counts(step)["ok"] > 0)
            failed: set[bytes] = set()
            elsewhere: list[Request] = []  # that another process is asking
            left = limit or self.counts(step)["open"]
            with tqdm(total=left, desc=step, unit="node", disable=not progress) as bar:

                def known(request: Request) -> bool:
                    again = retry_failed and request.key not in failed
                    found = self._find(request, again) or request.key in failed
                    if self.cache and not found:
                        if not self.cache.lease(request.key, self._me):
                            elsewhere.append(request)
                            return True
                        if found := self._find(request, again):  # it was answered since
                            self.cache.release(self._me, request.key)
                    bar.update(found)
                    return found

                def book(request: Request, record: Record) -> None:
                    self._book(request, record)
                    if record["kind"] != "ok":
                        failed.add(request.key)
                        bar.set_postfix(failed=len(failed), refresh=False)
                    bar.update()

                def requests() -> Iterator[Request | None]:
                    yield from self._requests(step, limit, retry_failed)
                    while elsewhere:
                        waiting = elsewhere.copy()
                        elsewhere.clear()
                        yield from waiting
                        if elsewhere:
                            yield None

                try:
                    engine.run(requests(), book, known)
                finally:
                    if self.cache:
                        self.cache.release(self._me)
        return self.counts(step)

    def batch(self, step: StepName) -> BatchJob:
        """The step's job for the Batch API."""
        where, schema = (self.store, self.folder / "batch", step), self.prompts.schemas[step]
        return BatchJob(*where, self._chat(step), schema, self._redactor(step))

    def batch_requests(
        self, step: StepName, limit: int | None = None, retry_failed: bool = False
    ) -> Iterator[Request]:
        """What a batch of the step would ask; to be read while the folder is claimed."""
        self.check_complete(NEEDS[step])
        self.renew(step)
        for request in self._requests(step, limit, retry_failed):
            if not self._find(request, retry_failed):
                yield request

    def check_complete(self, steps: Iterable[StepName]) -> None:
        """Raises where a step that has a model still has nodes to ask for."""
        for step in steps:
            counts = self.counts(step)
            waiting = counts["open"] + counts["transport"] + counts["batch"]
            if step in self.chat and waiting:
                raise PipelineError(
                    f"{waiting} of {self.num_nodes(step)} nodes of step {step!r} "
                    "have no answer yet: run that step first, or pass allow_incomplete=True "
                    "(--allow-incomplete), and their attributes stand in."
                )

    def _redactor(self, step: StepName) -> Redactor:
        return Redactor(self._chat(step).endpoint.key() if self.client is None else "")

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
                if request := self.request(step, node, texts):
                    yield request
                else:
                    self.store.note(step, node, None, "no_text")
                    left += 1

    def order(self, step: StepName, limit: int | None) -> Iterable[int]:
        """The nodes in the order in which they are asked for: seeded, where that is for some."""
        if limit is not None and limit < 0:
            raise PipelineError(f"The limit (--limit) must be at least 0, got {limit}.")
        nodes, seed = self.num_nodes(step), [self.sampling.seed, STEPS.index(step)]
        if limit is None:
            return range(nodes)
        return np.random.default_rng(seed).permutation(nodes).tolist()  # type: ignore[no-any-return]

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
        if record and record["kind"] in (("ok",) if again else ("ok", *FINAL)):
            return record
        if self.cache and (record := self.cache.answer(request.key)):  # failures are not kept there
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
        if self.cache:
            with self.cache.transaction():
                if record["kind"] == "ok":
                    self.cache.put(request.key, record)
                self.cache.release(self._me, request.key)
