r"""The four steps from tables to embeddings; each can be run, stopped, resumed and looked at."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .batch_api import BatchJob
from .chat import ChatSettings, Request
from .engine import ChatEngine, RunSettings
from .fallbacks import Origin, fallback_text
from .files import write_json
from .intents import item_intent_context, user_intent_context
from .journal import Journal, Record
from .profiles import Context, Sampling, item_context, user_context
from .prompts import STEPS, TEXT_FIELD, PromptSet, StepName
from .source import Side, TrainingTexts

NEEDS: dict[StepName, tuple[StepName, ...]] = {
    "item_profile": (),
    "user_profile": ("item_profile",),
    "item_intent": ("item_profile",),
    "user_intent": ("item_profile", "user_profile"),
}


class PipelineError(ValueError):
    """A step that cannot be run as asked."""


@dataclass
class StepState:
    r"""Where a step stands; every node is in exactly one of the lists.

    Args:
        done (dict): Node to the journal's record of its answer.
        failed (dict): Node to the record of its failure.
        in_batch (list): Nodes whose request is with the Batch API.
        to_do (list): Nodes that have not been asked for.
        no_text (list): Nodes about which nothing is known, so that nothing can be asked.
    """

    done: dict[int, Record] = field(default_factory=dict)
    failed: dict[int, Record] = field(default_factory=dict)
    in_batch: list[int] = field(default_factory=list)
    to_do: list[int] = field(default_factory=list)
    no_text: list[int] = field(default_factory=list)

    def retryable(self) -> list[int]:
        """Failures that say nothing about the node: time-outs, lost connections, busy servers."""
        return [node for node, record in self.failed.items() if record["kind"] == "transport"]


class TextPipeline:
    r"""Makes profiles and intents of all users and items.

    .. code-block:: python

        source = TrainingTexts(data, items, reviews)
        pipeline = TextPipeline(source, "texts", ChatSettings("gpt-4o-mini"), prompts="movies")
        print(pipeline.plan())
        for step in STEPS:
            pipeline.run_step(step)
        Embedder(pipeline, WordLlamaEncoder()).attach(data)

    Args:
        source (TrainingTexts): What the prompts may see.
        folder (str or pathlib.Path): Where journals and results go.
        chat (ChatSettings or dict, optional): The model, or one a step. Nodes of a step without a
            model have no generated text. (default: ``None``)
        prompts (str, pathlib.Path or PromptSet): The prompts. (default: ``"neutral"``)
        run (RunSettings, optional): How hard to try. (default: ``None``)
        sampling (Sampling, optional): How much goes into a prompt. (default: ``None``)

    Raises:
        PipelineError: If the folder was made with another split.
    """

    def __init__(
        self,
        source: TrainingTexts,
        folder: str | Path,
        chat: ChatSettings | Mapping[StepName, ChatSettings] | None = None,
        prompts: str | Path | PromptSet = "neutral",
        run: RunSettings | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self.source, self.folder = source, Path(folder)
        self.chat: dict[StepName, ChatSettings] = (
            dict.fromkeys(STEPS, chat) if isinstance(chat, ChatSettings) else dict(chat or {})
        )
        self.prompts = prompts if isinstance(prompts, PromptSet) else PromptSet(prompts)
        self.run_settings, self.sampling = run or RunSettings(), sampling or Sampling()
        self._states: dict[StepName, StepState] = {}
        self._check_split()

    # Looking ======================================================================================

    def side(self, step: StepName) -> Side:
        """Whether a step is about users or items."""
        return "item" if step.startswith("item") else "user"

    def journal_path(self, step: StepName) -> Path:
        """Where the answers of a step are."""
        return self.folder / "journal" / f"{step}.jsonl"

    def request(
        self, step: StepName, node: int, texts: Mapping[StepName, Mapping[int, str]] | None = None
    ) -> Request | None:
        r"""What is asked about a node, or ``None`` if nothing is known of it.

        Args:
            step (str): The step.
            node (int): The node.
            texts (dict, optional): Generated texts of earlier steps to use instead of the
                journal's. (default: ``None``)
        """
        chat = self.chat.get(step)
        if chat is None:
            raise PipelineError(f"No chat model is set for step {step!r}.")
        found = texts if texts is not None else {need: self.texts(need) for need in NEEDS[step]}
        context = self._context(step, node, found)
        if context is None:
            return None
        schema = self.prompts.schemas[step]
        messages = self.prompts.messages(step, context, chat.response_format == "none")
        return Request(step, node, messages, chat.parameters(schema), schema)

    def state(self, step: StepName) -> StepState:
        """Where a step stands, by its journal and the present prompts."""
        if step not in self._states:
            self._states[step] = self._find_state(step)
        return self._states[step]

    def texts(self, step: StepName) -> dict[int, str]:
        """The generated texts of a step by node."""
        if step not in self.chat:
            return {}
        name = TEXT_FIELD[step]
        return {node: record["answer"][name] for node, record in self.state(step).done.items()}

    def text(self, step: StepName, node: int) -> tuple[str, Origin | None]:
        """A node's text and where it is from: the model, or its attributes, or nowhere."""
        generated = self.texts(step).get(node)
        if generated is not None:
            return generated, "model"
        fallback = fallback_text(self.source, step, node)
        return fallback, "attributes" if fallback else None

    def failures(self) -> list[tuple[StepName, Any, str]]:
        """Step, the owner's id, and the reason of every failure that stands."""
        return [
            (step, self.source.raw_id(self.side(step), node), record["reason"])
            for step in self.chat
            for node, record in sorted(self.state(step).failed.items())
        ]

    # Running ======================================================================================

    def run_step(
        self,
        step: StepName,
        limit: int | None = None,
        retry_failed: bool = False,
        allow_incomplete: bool = False,
        progress: bool = True,
    ) -> StepState:
        r"""Asks for every node that has no answer yet.

        Args:
            step (str): The step.
            limit (int, optional): Ask for the first so many nodes of a seeded random order only;
                those that are done count. (default: ``None``)
            retry_failed (bool): Ask again also for what failed for good. (default: ``False``)
            allow_incomplete (bool): Run although nodes of an earlier step are still to be asked
                for; implied by ``limit``. (default: ``False``)
            progress (bool): Show a bar. (default: ``True``)

        Raises:
            PipelineError: If an earlier step is incomplete.
            RunStopped: If the run had to stop.
        """
        if step not in self.chat:
            raise PipelineError(f"No chat model is set for step {step!r}.")
        if not allow_incomplete and limit is None:
            self.check_complete(NEEDS[step])
        nodes = self.to_ask(step, limit, retry_failed)
        if not nodes:
            return self.state(step)
        texts = {need: self.texts(need) for need in NEEDS[step]}
        self.claim_folder()
        engine = ChatEngine(self.chat[step], self.run_settings)
        failed = 0
        try:
            with (
                Journal(self.journal_path(step), redactor=engine.redactor) as journal,
                tqdm(total=len(nodes), desc=step, unit="node", disable=not progress) as bar,
            ):

                def on_record(record: Record) -> None:
                    nonlocal failed
                    failed += record["status"] != "ok"
                    bar.set_postfix(failed=failed, refresh=False)
                    bar.update()

                engine.run(self._requests(step, nodes, texts), journal, on_record)
        finally:
            self._states.clear()
        return self.state(step)

    def to_ask(self, step: StepName, limit: int | None, retry_failed: bool) -> list[int]:
        """The nodes that a run would ask for, ascending."""
        state = self.state(step)
        again = state.failed if retry_failed else state.retryable()
        nodes = {*state.to_do, *again}
        if limit is not None:
            order = np.random.default_rng([self.sampling.seed, STEPS.index(step)]).permutation(
                self.source.num_nodes(self.side(step))
            )
            without = set(state.no_text)
            chosen = [int(node) for node in order if int(node) not in without][:limit]
            nodes &= set(chosen)
        return sorted(nodes)

    def batch(self, step: StepName) -> BatchJob:
        """The step's job for the Batch API."""
        if step not in self.chat:
            raise PipelineError(f"No chat model is set for step {step!r}.")
        return BatchJob(
            self.folder / "batch",
            step,
            self.chat[step],
            self.prompts.schemas[step],
            self.journal_path(step),
            on_change=self._states.clear,
        )

    def batch_requests(
        self, step: StepName, limit: int | None = None, retry_failed: bool = False
    ) -> Iterator[Request]:
        """What a batch of the step would ask."""
        self.check_complete(NEEDS[step])
        self.claim_folder()
        texts = {need: self.texts(need) for need in NEEDS[step]}
        return self._requests(step, self.to_ask(step, limit, retry_failed), texts)

    def check_complete(self, steps: Iterable[StepName]) -> None:
        """Raises where a step that has a model still has nodes to ask for."""
        for step in steps:
            if step not in self.chat:
                continue
            state = self.state(step)
            waiting = len(state.to_do) + len(state.retryable()) + len(state.in_batch)
            if waiting:
                raise PipelineError(
                    f"{waiting} of {self.source.num_nodes(self.side(step))} nodes of step {step!r} "
                    "have no answer yet: run that step first, or pass allow_incomplete=True "
                    "(--allow-incomplete), and their attributes stand in."
                )

    def claim_folder(self) -> None:
        """Notes the split that the folder's texts are made from; done before anything else is."""
        self._check_split()
        write_json(self._split_path, {"data": self.source.name, "split": self.source.split_hash})

    # Inside =======================================================================================

    def _context(
        self, step: StepName, node: int, texts: Mapping[StepName, Mapping[int, str]]
    ) -> Context | None:
        if step == "item_profile":
            return item_context(self.source, self.sampling, node)
        if step == "user_profile":
            return user_context(self.source, self.sampling, node, texts["item_profile"])
        if step == "item_intent":
            return item_intent_context(self.source, self.sampling, node, texts["item_profile"])
        return user_intent_context(
            self.source, self.sampling, node, texts["item_profile"], texts["user_profile"]
        )

    def _requests(
        self, step: StepName, nodes: Iterable[int], texts: Mapping[StepName, Mapping[int, str]]
    ) -> Iterator[Request]:
        for node in nodes:
            request = self.request(step, node, texts)
            if request is not None:
                yield request

    def _find_state(self, step: StepName) -> StepState:
        state, journal = StepState(), Journal(self.journal_path(step))
        in_batch = self.batch(step).waiting_keys()
        texts = {need: self.texts(need) for need in NEEDS[step]}
        for node in range(self.source.num_nodes(self.side(step))):
            request = self.request(step, node, texts)
            if request is None:
                state.no_text.append(node)
                continue
            key = request.key
            record = journal.get(key, node)
            if record is not None and record["status"] == "ok":
                state.done[node] = record
            elif key in in_batch:
                state.in_batch.append(node)
            elif record is not None:
                state.failed[node] = record
            else:
                state.to_do.append(node)
        return state

    @property
    def _split_path(self) -> Path:
        return self.folder / "split.json"

    def _check_split(self) -> None:
        """One folder, one split: texts of another split could tell what is held out."""
        if self._split_path.exists() and (
            json.loads(self._split_path.read_text("utf-8"))["split"] != self.source.split_hash
        ):
            raise PipelineError(
                f"The texts in {self.folder} were made from another split of the "
                "data: use another folder, so that nothing held out leaks in."
            )

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.source!r}, folder={str(self.folder)!r})"
