r"""Plans before a run, and the manifest after it: what was made, from what, with what."""

import hashlib
import platform
import time
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from .chat import ChatSettings
from .embeddings import Embedder
from .files import write_json
from .journal import Journal
from .pipeline import NEEDS, TextPipeline
from .prompts import STEPS, TEXT_FIELD, StepName
from .redaction import public_url

VERSIONS = (
    "irllrec_pyg",
    "openai",
    "pydantic",
    "jinja2",
    "numpy",
    "pandas",
    "torch",
    "torch-geometric",
    "wordllama",
    "sentence-transformers",
)
# A text of an earlier step that is not there yet counts as this many words in an estimate.
ASSUMED_WORDS = {"item_profile": 130, "user_profile": 80, "item_intent": 70, "user_intent": 70}
# The other fields of an answer (reasoning, lists), in tokens.
OTHER_TOKENS = {"item_profile": 80, "user_profile": 80, "item_intent": 110, "user_intent": 120}


def plan(
    pipeline: TextPipeline, limit: int | None = None, prices: tuple[float, float] | None = None
) -> pd.DataFrame:
    r"""What a run would do, without doing it.

    Args:
        pipeline (TextPipeline): The pipeline.
        limit (int, optional): As for :meth:`TextPipeline.run_step`. (default: ``None``)
        prices (tuple, optional): Prices of a million prompt tokens and a million answer tokens.
            (default: ``None``, no cost)

    Returns:
        A row a step: counts of nodes, and estimates of tokens and cost for those to do.
    """
    rows = []
    texts: dict[StepName, dict[int, str]] = {}
    for step in (s for s in STEPS if s in pipeline.chat):
        state = pipeline.state(step)
        nodes = pipeline.to_ask(step, limit, retry_failed=False)
        made_up = " ".join(["lorem"] * ASSUMED_WORDS[step])
        texts[step] = dict.fromkeys(nodes, made_up) | pipeline.texts(step)
        found = {need: texts.get(need, {}) for need in NEEDS[step]}
        requests = [r for node in nodes if (r := pipeline.request(step, node, found)) is not None]
        sent = sum(request.prompt_tokens for request in requests)
        answered = len(requests) * (int(ASSUMED_WORDS[step] * 1.4) + OTHER_TOKENS[step])
        row: dict[str, Any] = {
            "step": step,
            "nodes": pipeline.source.num_nodes(pipeline.side(step)),
            "done": len(state.done),
            "failed": len(state.failed),
            "in_batch": len(state.in_batch),
            "no_text": len(state.no_text),
            "to_ask": len(nodes),
            "prompt_tokens": sent,
            "answer_tokens": answered,
        }
        if prices is not None:
            row["cost"] = round((sent * prices[0] + answered * prices[1]) / 1e6, 4)
        rows.append(row)
    table = pd.DataFrame(rows)
    if len(rows):
        table.loc["total"] = {"step": "total"} | {
            name: table[name].sum() for name in table.columns if name != "step"
        }
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
        "data": {
            "name": source.name,
            "users": source.num_users,
            "items": source.num_items,
            "training_pairs": source.num_pairs,
            "split_sha256": source.split_hash,
            "texts_sha256": source.text_hash(),
            "reviews_outside_training_left_out": source.dropped_reviews,
            "training_pairs_held_out_as_well": source.held_out_twice,
            "rows_of_unknown_items": source.unknown_items,
        },
        "prompts": {"set": pipeline.prompts.name, "sha256": pipeline.prompts.hashes()},
        "sampling": vars(pipeline.sampling),
        "steps": {step: _step(pipeline, step) for step in STEPS if step in pipeline.chat},
        "failures": [
            {"step": step, "id": raw, "reason": reason} for step, raw, reason in pipeline.failures()
        ],
        "versions": {"python": platform.python_version()} | _versions(),
    }
    if embedder is not None:
        content["embeddings"] = {
            "encoders": {field: encoder.name for field, encoder in embedder.encoders.items()},
            "normalized": embedder.normalize,
            "made_from": embedder.counts(),
        }
    if files is not None:
        content["files"] = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(files.iterdir())
            if path.suffix in (".pkl", ".json")
        }
    path = pipeline.folder / "manifest.json"
    write_json(path, content)
    return path


def _step(pipeline: TextPipeline, step: StepName) -> dict[str, Any]:
    state, journal = pipeline.state(step), Journal(pipeline.journal_path(step))
    used = Counter[str]()
    for record in journal:
        used.update({"calls": record.get("calls", 0), **record.get("usage", {})})
    return {
        "chat": _chat(pipeline.chat[step]),
        "text": TEXT_FIELD[step],
        "nodes": pipeline.source.num_nodes(pipeline.side(step)),
        "done": len(state.done),
        "cut_to_the_limit": sum("cut" in record for record in state.done.values()),
        "failed": len(state.failed),
        "to_do": len(state.to_do),
        "in_batch": len(state.in_batch),
        "no_text": len(state.no_text),
        # Of the whole journal, also of answers to earlier prompts or models.
        "used": dict(used),
    }


def _chat(chat: ChatSettings) -> dict[str, Any]:
    settings = chat.public()
    settings["endpoint"]["base_url"] = public_url(chat.endpoint.base_url)
    return settings


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
