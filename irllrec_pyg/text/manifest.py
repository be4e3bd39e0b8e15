r"""Plans before a run, and the manifest after it: what was made, from what, with what."""

import hashlib
import json
import platform
import time
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..files import write_text
from .embeddings import Embedder
from .pipeline import TextPipeline
from .prompts import STEPS, TEXT_FIELD, StepName
from .redaction import public_url
from .store import Store, states

FAILURE = ("step", "id", "reason")
VERSIONS = ("irllrec_pyg", "openai", "jinja2", "torch", "wordllama", "sentence-transformers")
# What is told of the data, and the attribute of the source that tells it.
DATA = {
    **{"name": "name", "users": "num_users", "items": "num_items", "training_pairs": "num_pairs"},
    **{"split_sha256": "split_hash", "texts_sha256": "text_hash"},
    "reviews_outside_training_left_out": "dropped_reviews",
    "training_pairs_held_out_as_well": "held_out_twice",
    "rows_of_unknown_items": "unknown_items",
}
# A text of an earlier step that is not there yet counts as this many words in an estimate.
ASSUMED_WORDS = {"item_profile": 130, "user_profile": 80, "item_intent": 70, "user_intent": 70}
# The other fields of an answer (reasoning, lists), in tokens.
OTHER_TOKENS = {"item_profile": 80, "user_profile": 80, "item_intent": 110, "user_intent": 120}
#: So many prompts are rendered, and so many answers looked at, for an estimate.
SAMPLE = 500


def plan(
    pipeline: TextPipeline, limit: int | None = None, prices: tuple[float, float] | None = None
) -> pd.DataFrame:
    r"""What a run would do, without doing it.

    Up to 500 prompts of a step are counted; more are estimated from a sample of 500. Where a step
    has answers, tokens are the mean of what the server counted for a sample of them.

    Args:
        pipeline (TextPipeline): The pipeline.
        limit (int, optional): As for :meth:`TextPipeline.run_step`. (default: ``None``)
        prices (tuple, optional): Prices of a million prompt tokens and a million answer tokens.
            (default: ``None``, no cost)

    Returns:
        A row a step: counts of nodes, and estimates of tokens and cost for those to do.
    """

    def text(step: StepName, node: int) -> str:
        made_up = " ".join(["lorem"] * ASSUMED_WORDS[step])
        return (pipeline.generated(step, node) or made_up) if step in pipeline.chat else ""

    rows = []
    for step in (s for s in STEPS if s in pipeline.chat):
        counts, kinds = pipeline.counts(step), pipeline.kinds(step)
        nodes = [n for n in pipeline.order(step, limit) if kinds.get(n) != "no_text"][:limit]
        nodes = [n for n in nodes if kinds.get(n, "open") in ("open", "transport")]
        chosen = nodes
        if len(nodes) > SAMPLE:
            chosen = np.random.default_rng(0).choice(nodes, SAMPLE, replace=False).tolist()
        found = [pipeline.request(step, node, text) for node in chosen]
        unknown = {r.key: r for r in found if r is not None and pipeline.find(r) is None}
        to_ask = round(len(unknown) * len(nodes) / max(1, len(chosen)))
        prompt = float(np.mean([r.prompt_tokens for r in unknown.values()] or [0]))
        answer = float(int(ASSUMED_WORDS[step] * 1.4) + OTHER_TOKENS[step])
        if measured := _measured(pipeline.store, step):
            prompt, answer = measured
        row: dict[str, Any] = {
            "step": step,
            "nodes": pipeline.num_nodes(step),
            **states(counts),
            "to_ask": to_ask,
            "prompt_tokens": round(to_ask * prompt),
            "answer_tokens": round(to_ask * answer),
            "tokens_from": "answers" if measured else "prompts",
        }
        if prices is not None:
            row["cost"] = round(to_ask * (prompt * prices[0] + answer * prices[1]) / 1e6, 4)
        rows.append(row)
    table = pd.DataFrame(rows)
    if len(rows):
        sums = table.drop(columns=["step", "tokens_from"]).sum()
        table.loc["total"] = {"step": "total", "tokens_from": "", **sums}
    return table.reset_index(drop=True)


def write_manifest(
    pipeline: TextPipeline, embedder: Embedder | None = None, files: Path | None = None
) -> Path:
    r"""Writes ``manifest.json``.

    Args:
        pipeline (TextPipeline): The pipeline.
        embedder (Embedder, optional): The embeddings, where they are made.
            (default: ``None``)
        files (pathlib.Path, optional): A folder whose files are listed with their SHA-256.
            (default: ``None``)
    """
    source = pipeline.source
    content: dict[str, Any] = {
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "data": {theirs: getattr(source, ours) for theirs, ours in DATA.items()},
        "prompts": {"set": pipeline.prompts.name, "sha256": pipeline.prompts.hashes},
        "sampling": vars(pipeline.sampling),
        "steps": {step: _step(pipeline, step) for step in STEPS if step in pipeline.chat},
        "failures": [dict(zip(FAILURE, row, strict=True)) for row in pipeline.failures()],
        "versions": {"python": platform.python_version()},
    }
    for name in VERSIONS:
        with suppress(metadata.PackageNotFoundError):
            content["versions"][name] = metadata.version(name)
    if embedder is not None:
        content["embeddings"] = {
            "encoders": {field: encoder.name for field, encoder in embedder.encoders.items()},
            "normalized": embedder.normalize,
            "made_from": embedder.counts(),
        }
    if files is not None:
        named = sorted(path for path in files.iterdir() if path.suffix in (".pkl", ".json"))
        content["files"] = {path.name: _digest(path) for path in named}
    path = pipeline.folder / "manifest.json"
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n")
    return path


def _step(pipeline: TextPipeline, step: StepName) -> dict[str, Any]:
    chat = asdict(pipeline.chat[step])
    chat["endpoint"]["base_url"] = public_url(chat["endpoint"]["base_url"])
    return {
        "chat": chat,
        "text": TEXT_FIELD[step],
        "nodes": pipeline.num_nodes(step),
        **states(pipeline.counts(step)),
        "cut_to_the_limit": sum("cut" in record for _, record in pipeline.records(step)),
        # All that was asked, also with earlier prompts or models.
        "used": dict(
            zip(("calls", "prompt", "completion"), pipeline.store.used(step), strict=True)
        ),
    }


def _measured(store: Store, step: StepName) -> tuple[float, float] | None:
    """The mean prompt and answer tokens of answers to a step, where the server counted them."""
    prompt, answer = store.run(
        "SELECT avg(json_extract(body, '$.usage.prompt')), "
        "avg(json_extract(body, '$.usage.completion')) FROM (SELECT body FROM nodes "
        "JOIN answers USING (key) WHERE step = ? AND nodes.kind = 'ok' "
        "AND typeof(body) = 'text' AND json_valid(body) LIMIT ?)",
        *(step, SAMPLE),
    ).fetchone()
    return (prompt, answer) if prompt and answer else None


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
